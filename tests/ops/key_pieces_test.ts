import { assert, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { attention, type AttentionOptions, type Gpu, requestGpu, type Tensor } from "../../mod.ts";
import { IN_A_ROW, type KeyLayout } from "../../ops/attention/key_layout.ts";
import { attentionPrograms } from "../../ops/attention/launch.ts";
import { type AttentionPlan, planAttention } from "../../ops/attention/plan.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import { attentionSchedules, scheduleName } from "../../ops/attention/schedule.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { planDevice } from "./plan_device.ts";

const LLVMPIPE = planDevice("llvmpipe");
const CACHE: KeyLayout = {
  ...{ kind: "cache", layout: "rows", pageSize: 1, pages: 0, capacity: 6000 },
  ...{ lengthHeads: 1, tableHeads: 1, named: null },
};

/** One query of 8 heads of 128 f16 on 2 kv heads: 512 bytes of keys for each of them. */
function planOf(changes: Partial<AttentionProblem>): [AttentionProblem, AttentionPlan] {
  const problem: AttentionProblem = {
    ...{ batch: 1, qLen: 1, kvLen: 6000, heads: 8, kvHeads: 2, headDim: 128, valueDim: 128 },
    ...{ elem: "f16", scale: 1, band: null, additional: null, softcap: null, bias: null },
    ...{ sinks: null, gates: null, weight: WEIGHTS.softmax, hooks: NO_HOOKS, lse: false },
    ...{ copyable: true, schedule: "split", keys: IN_A_ROW },
    ...changes,
  };
  return [problem, planAttention(problem, LLVMPIPE)];
}

Deno.test("planAttention() copies the keys of few queries piece by piece, each once", () => {
  const sizes: Partial<AttentionProblem>[] = [
    { kvLen: 20_000 },
    { kvLen: 9_000, batch: 3 },
    { batch: 3, kvLen: 6000, keys: CACHE },
    { kvLen: 50_000, headDim: 64, elem: "f32" },
  ];
  for (const changes of sizes) {
    const [{ batch, kvLen, kvHeads, elem }, plan] = planOf(changes);
    const seen = new Uint8Array(batch * kvLen);
    for (const slice of plan.rounds.flatMap(({ launches }) => launches)) {
      const [first, end] = plan.tokens.keys(slice);
      const [b0, b1] = slice.batch;
      const rows = ((b1 - b0 - 1) * kvLen + end - first) * kvHeads;
      assert(rows * 128 * (elem === "f16" ? 2 : 4) <= 2 ** 22, `${rows} rows`);
      for (let b = b0; b < b1; b++) {
        for (let j = first; j < end; j++) {
          seen[b * kvLen + j] += slice.kvHeads[1] - slice.kvHeads[0];
        }
      }
    }
    assertEquals(seen, new Uint8Array(batch * kvLen).fill(kvHeads));
    assertEquals([plan.tokens.pieceBytes, plan.roomy], [2 ** 22, true]);
  }
});

Deno.test("planAttention() copies keys at once that are few, or that many queries pass over", () => {
  for (const changes of [{}, { kvLen: 20_000, qLen: 64, schedule: null }] as const) {
    assertEquals(planOf(changes)[1].tokens.pieceBytes, undefined);
  }
});

Deno.test("attentionPrograms() has the same texts for every length that is copied in pieces", () => {
  const texts = (kvLen: number, batch: number) =>
    attentionPrograms(...planOf({ kvLen, batch })).map(({ code }) => code);

  assertEquals(texts(9000, 1), texts(50_000, 2));
});

/** A call of a schedule, with keys of 3 MB for each of two batch entries. */
async function computed(gpu: Gpu, schedule: string, options: AttentionOptions) {
  const random = new Random(1);
  const normal = (...shape: number[]): Tensor<"f32"> => {
    const data = Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal());
    return gpu.tensor(Float32Array.from(data), shape);
  };
  using q = normal(2, 2, 8, 64);
  using k = normal(2, 3000, 4, 64);
  using v = normal(2, 3000, 4, 64);
  const { bytes } = gpu.memory();
  const { out, lse } = attention(q, k, v, { schedule, lse: true, ...options });
  assert(lse !== undefined);
  using _out = out;
  using _lse = lse;
  const scratch = gpu.memory().peakBytes - bytes;
  return { out: await out.read(), lse: await lse.read(), scratch };
}

Deno.test({
  name: "attention() computes in pieces what it computes at once, and needs no copy of all keys",
  ignore: adapter === null,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const names = schedulesOf(gpu);
    // an entry without keys, one that ends inside a piece, lengths that the device computed
    using uploaded = gpu.tensor(Int32Array.of(0, 2500), [2]);
    using lengths = gpu.wrap(uploaded.buffer, [2], "i32");
    const cases: AttentionOptions[] = [
      ...[{}, { causal: true }, { kvLengths: lengths }],
      { window: { left: 1700, right: 0 } },
    ];
    for (const options of cases) {
      const [inPieces, atOnce] = [
        await computed(gpu, names.pieces, options),
        await computed(gpu, names.buffer, options),
      ];
      assertClose("out", inPieces.out, atOnce.out, { ratio: 1e-6 });
      assertClose("lse", inPieces.lse.map(finite), atOnce.lse.map(finite), { ratio: 1e-6 });
      if (names.pieces !== names.buffer) assert(inPieces.scratch < 9 * 2 ** 20);
    }
  },
});

const finite = (x: number): number => x === -Infinity ? -1 : x;

/** Split schedules that read from textures, where there are any, and from buffers. */
function schedulesOf(gpu: Gpu): { pieces: string; buffer: string } {
  const [problem] = planOf({
    ...{ batch: 2, qLen: 2, kvLen: 3000, heads: 8, kvHeads: 4, headDim: 64, valueDim: 64 },
    elem: "f32",
  });
  const names = attentionSchedules({ ...problem, schedule: null }, gpu).map(scheduleName)
    .filter((name) => name.startsWith("split"));
  const buffer = names.find((name) => name.endsWith("buffer")) ?? names[0];
  return { buffer, pieces: names.find((name) => name.endsWith("texture")) ?? buffer };
}
