import { assert, assertEquals } from "@std/assert";
import {
  attention,
  type AttentionOptions,
  type Gpu,
  type GpuLimits,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { compareHeads } from "../../cli/compare.ts";
import { attention as reference } from "../../reference/mod.ts";
import { planAttention } from "../../ops/attention/plan.ts";
import { attentionProblem } from "../../ops/attention/problem.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Numbers from -2 to 2 that are the same in every run (xorshift). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 30 - 2;
  };
}

interface Case {
  limits: Partial<GpuLimits>;
  /** B, T, S, Hq, Hkv, D, Dv. */
  shape: [number, number, number, number, number, number, number];
  dtype?: "f32" | "f16";
  schedule?: string;
  biased?: boolean;
  options?: Pick<AttentionOptions, "causal" | "window" | "softcap">;
}

/** How a plan was cut. */
interface Cuts {
  rounds: number;
  launches: number;
  parts: number;
}

/** Runs a case, asserts that it equals the reference, and tells how it was cut. */
async function cutsOf(gpu: Gpu, given: Case): Promise<Cuts> {
  const [batch, qLen, kvLen, heads, kvHeads, headDim, valueDim] = given.shape;
  const next = random(7);
  const make = (shape: number[], dtype = given.dtype) => {
    const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next);
    const data = dtype === "f16" ? new Float16Array(values) : new Float32Array(values);
    const tensor = gpu.tensor(data, shape) as Tensor<"f32" | "f16">;
    return { tensor, oracle: { data, shape } };
  };
  const q = make([batch, qLen, heads, headDim]);
  const k = make([batch, kvLen, kvHeads, headDim]);
  const v = make([batch, kvLen, kvHeads, valueDim]);
  const bias = given.biased ? make([batch, heads, qLen, kvLen], "f32") : null;
  const sinks = make([heads], "f32");
  const options = {
    ...given.options,
    sinks: sinks.tensor,
    ...(bias && { bias: bias.tensor }),
    ...(given.schedule && { schedule: given.schedule }),
    lse: true,
  };
  const { problem } = attentionProblem(q.tensor, k.tensor, v.tensor, options);
  const { rounds, tokens: { parts } } = planAttention(problem, gpu);
  const result = attention(q.tensor, k.tensor, v.tensor, options);
  const expected = reference(q.oracle, k.oracle, v.oracle, {
    ...given.options,
    sinks: sinks.oracle,
    ...(bias && { bias: bias.oracle }),
  });
  const out = compareHeads(await result.out.read(), expected.out.data, heads, valueDim);
  const tolerance = given.dtype === "f16" ? 2e-3 : 2e-5;
  assert(out.ratio <= tolerance, `out: ${JSON.stringify(out)}`);
  assert(result.lse !== undefined);
  const lse = compareHeads(await result.lse.read(), expected.lse.data, heads, 1);
  assert(lse.ratio <= 2e-5, `lse: ${JSON.stringify(lse)}`);
  for (const { tensor } of [q, k, v, sinks, ...(bias ? [bias] : [])]) tensor.dispose();
  result.out.dispose();
  result.lse.dispose();
  assertEquals(gpu.memory().bytes, 0);
  const launches = rounds.flatMap(({ launches }) => launches).length;
  return { rounds: rounds.length, launches, parts };
}

function testCuts(name: string, given: Case, check: (cuts: Cuts) => boolean): void {
  Deno.test({
    name: `attention() matches the reference ${name}`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ limits: given.limits, poison: true });
      const cuts = await cutsOf(gpu, given);
      assert(check(cuts), `cuts are ${JSON.stringify(cuts)}`);
    },
  });
}

// limits of bindings assume an alignment of 32 to 256 bytes, that costs up to 8 KiB at D 8
const WORKGROUP = "workgroup-16x16-4x4-16";

testCuts("cut by batch, causal with bias", {
  limits: { maxStorageBufferBindingSize: 16384 },
  shape: [5, 60, 50, 2, 1, 8, 8],
  schedule: WORKGROUP,
  biased: true,
  options: { causal: true },
}, ({ rounds, parts }) => rounds >= 2 && parts === 1);

testCuts("cut by queries, causal with bias", {
  limits: { maxStorageBufferBindingSize: 12288 },
  shape: [2, 250, 50, 2, 1, 8, 8],
  schedule: WORKGROUP,
  biased: true,
  options: { causal: true },
}, ({ rounds, parts }) => rounds > 2 && parts === 1);

testCuts("with keys divided and merged, causal with bias", {
  limits: { maxStorageBufferBindingSize: 12288 },
  shape: [2, 40, 700, 2, 1, 8, 8],
  schedule: WORKGROUP,
  biased: true,
  options: { causal: "top-left" },
}, ({ parts }) => parts > 1);

testCuts("in f16 with keys divided and merged, ragged value dim", {
  limits: { maxStorageBufferBindingSize: 8192, minStorageBufferOffsetAlignment: 256 },
  shape: [2, 33, 600, 2, 2, 8, 6],
  dtype: "f16",
  schedule: WORKGROUP,
  biased: true,
  options: { causal: true },
}, ({ parts }) => parts > 1);

testCuts("in f16 cut by batch and queries, ragged head dim", {
  limits: { maxStorageBufferBindingSize: 8192, minStorageBufferOffsetAlignment: 256 },
  shape: [3, 200, 40, 2, 2, 7, 8],
  dtype: "f16",
  schedule: WORKGROUP,
}, ({ rounds, parts }) => rounds > 3 && parts === 1);

testCuts("in one workgroup a dispatch, more dispatches than one submission holds", {
  limits: { maxComputeWorkgroupsPerDimension: 1 },
  shape: [4, 272, 40, 4, 2, 8, 8],
  schedule: WORKGROUP,
  biased: true,
  options: { causal: true },
}, ({ launches }) => launches > 256);

testCuts("with keys divided for the loop limit", {
  limits: { maxLoopIterations: 700 },
  shape: [1, 30, 300, 2, 1, 8, 8],
  schedule: WORKGROUP,
  biased: true,
  options: { window: { left: 170, right: 2 } },
}, ({ parts }) => parts > 1);

testCuts("in the split schedule with few workgroups", {
  limits: { maxComputeWorkgroupsPerDimension: 2 },
  shape: [3, 3, 700, 4, 2, 8, 8],
  schedule: "split",
  biased: true,
  options: { causal: true },
}, ({ launches, parts }) => parts > 1 && launches > 3);

testCuts("in the split schedule with small bindings, f16", {
  limits: { maxStorageBufferBindingSize: 12288 },
  shape: [2, 3, 900, 4, 2, 8, 8],
  dtype: "f16",
  schedule: "split",
  biased: true,
  options: { causal: true, softcap: 2 },
}, ({ parts }) => parts > 1);

testCuts("in the default schedule with the smallest dispatches and loops", {
  limits: { maxComputeWorkgroupsPerDimension: 3, maxLoopIterations: 30 },
  shape: [2, 100, 500, 4, 4, 8, 8],
  options: { causal: true },
}, ({ launches, parts }) => parts > 1 && launches > 3);

testCuts("without queries", {
  limits: {},
  shape: [2, 0, 5, 2, 1, 8, 8],
}, ({ rounds }) => rounds === 0);

testCuts("without keys", {
  limits: {},
  shape: [2, 5, 0, 2, 1, 8, 8],
}, ({ rounds, parts }) => rounds === 1 && parts === 1);
