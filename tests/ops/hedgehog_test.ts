import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  type Gpu,
  linearAttention,
  linearAttentionFull,
  type LinearAttentionOptions,
  linearAttentionStep,
  type RecurrenceState,
  requestGpu,
  type Tensor,
  UnsupportedDeviceError,
} from "../../mod.ts";
import { defaultsOf } from "../../ops/defaults.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const random = new Random(17);
type Host = ReturnType<typeof hostTensor>;

/** Sizes of a problem, and what is unusual about its values. */
interface Sizes {
  readonly batch?: number;
  readonly length?: number;
  /** HQ, HK and HV. */
  readonly heads?: readonly [number, number, number];
  readonly dim?: number;
  readonly weights?: readonly number[];
  readonly dtype?: "f32" | "f16";
  readonly weightDtype?: "f32" | "f16";
}

interface Problem {
  readonly q: Host;
  readonly k: Host;
  readonly v: Host;
  readonly hedgehogWeights?: Host;
}

const VALUES = 6;

function problemOf(sizes: Sizes): Problem {
  const { batch = 1, length = 21, heads = [2, 2, 2], dim = 8, weights, dtype = "f32" } = sizes;
  const rows = (own: number, width: number): Host =>
    hostTensor(dtype, [batch, length, own, width], () => random.normal());
  const [hq, hk, hv] = heads;
  return {
    ...{ q: rows(hq, dim), k: rows(hk, dim), v: rows(hv, VALUES) },
    ...(weights && {
      hedgehogWeights: hostTensor(
        sizes.weightDtype ?? "f32",
        weights,
        () => random.normal() * dim ** -0.5,
      ),
    }),
  };
}

const loaded = (gpu: Gpu, { data, shape }: Host): Tensor<"f32"> =>
  gpu.tensor(data, shape) as Tensor<"f32">;

/** Uploads a problem, computes it and frees everything but what is returned. */
function computed(gpu: Gpu, problem: Problem, options: LinearAttentionOptions = {}) {
  const { q, k, v, hedgehogWeights } = problem;
  return gpu.scope(() => {
    const weights = hedgehogWeights && { hedgehogWeights: loaded(gpu, hedgehogWeights) };
    const own = { featureMap: "hedgehog", ...options, ...weights } as const;
    return linearAttention(loaded(gpu, q), loaded(gpu, k), loaded(gpu, v), own);
  });
}

function expected({ q, k, v, hedgehogWeights }: Problem, options: object = {}) {
  const weights = hedgehogWeights && { hedgehogWeights };
  const own = { featureMap: "hedgehog", finalState: true, ...options, ...weights } as const;
  return reference.linearAttention(q, k, v, own);
}

async function assertAgrees(
  gpu: Gpu,
  problem: Problem,
  options: LinearAttentionOptions = {},
  ratio = 1e-5,
): Promise<void> {
  const { out, finalState } = computed(gpu, problem, { finalState: true, ...options });
  const wanted = expected(problem, options);
  assert(finalState && wanted.finalState);
  assertClose("out", await out.read(), wanted.out.data, { ratio });
  const [states, references] = "z" in wanted.finalState
    ? [finalState as RecurrenceState, wanted.finalState]
    : [{ s: finalState as Tensor }, { s: wanted.finalState }];
  for (const [name, tensor] of Object.entries(states) as [keyof typeof references, Tensor][]) {
    assertClose(name, await tensor.read(), references[name]?.data ?? [], { ratio });
  }
}

const CASES: Readonly<Record<string, Sizes>> = {
  "the unit matrix": {},
  "the unit matrix, rows that fill no vec4": { dim: 7 },
  "weights for all heads": { weights: [12, 8] },
  "a bias behind whole vec4s": { weights: [12, 9] },
  "a bias inside a vec4": { dim: 7, weights: [5, 8] },
  "a bias behind rows that fill no vec4": { dim: 5, weights: [3, 6], weightDtype: "f16" },
  "weights for each head": { heads: [4, 2, 4], weights: [2, 4, 8] },
  "weights for fewer heads than there are": { heads: [4, 4, 4], weights: [2, 4, 9] },
  "weights for queries and keys": { heads: [4, 2, 2], weights: [2, 2, 5, 9] },
  "one channel and one feature more": { dim: 1, weights: [1, 1] },
  "256 features of 256 channels": { dim: 256, weights: [2, 2, 128, 257] },
  "a batch of 3 and one token": { batch: 3, length: 1 },
  "300 tokens": { length: 300, weights: [8, 9] },
};

for (const [name, sizes] of Object.entries(CASES)) {
  Deno.test({
    name: `linearAttention() makes features of hedgehog with ${name}`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });

      await assertAgrees(gpu, problemOf(sizes));
      if (gpu.features.f16) {
        await assertAgrees(gpu, problemOf({ ...sizes, dtype: "f16" }), {}, 2e-3);
      }
    },
  });
}

/** Rows that are many enough to be copied into textures. */
const COPIED: Readonly<Record<string, Sizes>> = {
  "the unit matrix": { length: 1030, dim: 16 },
  "the unit matrix, four channels": { length: 1030, heads: [8, 8, 8], dim: 4 },
  "weights for each head": { length: 1030, heads: [4, 4, 4], weights: [4, 24, 8] },
  "weights for queries and keys, biases": { length: 1030, dim: 16, weights: [2, 2, 32, 17] },
  "256 channels, 16 features": { length: 70, dim: 256, weights: [8, 256] },
};

for (const [name, sizes] of Object.entries(COPIED)) {
  Deno.test({
    name: `linearAttention() makes features of hedgehog from copies with ${name}`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const steps: string[] = [];
      const problem = problemOf(sizes);

      runtimeOf(gpu).recorder.listen((step) => steps.push(step), () => computed(gpu, problem));

      const lanes = steps.filter((step) => step === "features of hedgehog (lanes)").length;
      assertEquals(lanes, defaultsOf(gpu.adapter).source === "texture" ? 2 : 0);
      await assertAgrees(gpu, problem);
      if (gpu.features.f16) {
        await assertAgrees(gpu, problemOf({ ...sizes, dtype: "f16" }), {}, 2e-3);
      }
    },
  });
}

Deno.test({
  name: "linearAttention() has features of hedgehog in every mode, schedule and state",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const problem = problemOf({ length: 70, weights: [2, 2, 8, 9] });
    const ways: readonly LinearAttentionOptions[] = [
      { mode: "chunk", chunkSize: 16 },
      { mode: "chunk", chunkSize: 16, reverse: true, scale: 0.3, eps: 1e-3 },
      { schedule: "naive" },
      { schedule: "workgroup" },
      { normalize: false },
    ];

    for (const way of ways) await assertAgrees(gpu, problem, way);
  },
});

Deno.test({
  name: "linearAttention() keeps features of packed sequences apart",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const problem = problemOf({ length: 40, weights: [8, 8] });
    const bounds = Int32Array.of(0, 0, 9, 40);

    const { out } = computed(gpu, problem, { cuSeqlens: gpu.tensor(bounds, [4]) });

    const cuSeqlens = { data: bounds, shape: [4] };
    const wanted = expected(problem, { cuSeqlens }).out.data;
    assertClose("out", await out.read(), wanted, { ratio: 1e-5 });
  },
});

Deno.test({
  name: "linearAttention() stays finite and right where logits of hedgehog are ±1e4",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const { q, k, v } = problemOf({});
    const large = (x: Host): Host => ({
      ...x,
      data: Float32Array.from(x.data, () => random.pick([-5000, 5000, -4999, 3, 0])),
    });

    await assertAgrees(gpu, { q: large(q), k: large(k), v });
    const weights = hostTensor("f32", [2, 8, 8], () => random.pick([-1, 0, 1]));
    await assertAgrees(gpu, { q: large(q), k: large(k), v, hedgehogWeights: weights });
    const many = problemOf({ length: 1030, dim: 16 });
    await assertAgrees(gpu, { ...many, q: large(many.q), k: large(many.k) });
  },
});

Deno.test({
  name: "linearAttention() cuts features of hedgehog where grids and bindings end",
  ignore,
  async fn() {
    const limits = { maxStorageBufferBindingSize: 16384, maxComputeWorkgroupsPerDimension: 2 };
    using gpu = await requestGpu({ poison: true, limits });

    await assertAgrees(gpu, problemOf({ batch: 2, length: 100, weights: [2, 2, 6, 9] }));
    using small = await requestGpu({
      poison: true,
      limits: { maxStorageBufferBindingSize: 65536 },
    });
    await assertAgrees(small, problemOf({ length: 700, weights: [2, 2, 5, 8], dim: 7 }));
    await assertAgrees(small, problemOf({ length: 1500, weights: [2, 2, 4, 8], dim: 8 }));
  },
});

Deno.test({
  name: "linearAttentionStep() with hedgehog goes on in place where linearAttention() stopped",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const problem = problemOf({ length: 12, heads: [4, 2, 4], weights: [2, 2, 6, 9] });
    const { hedgehogWeights, ...rows } = problem;
    assert(hedgehogWeights);
    const tokens = (first: number, end: number): Problem => {
      const parts = Object.entries(rows).map(([name, { data, shape }]) => {
        const width = data.length / 12;
        const shapeOf = [1, end - first, ...shape.slice(2)];
        return [name, { data: data.slice(first * width, end * width), shape: shapeOf }];
      });
      return { ...Object.fromEntries(parts), hedgehogWeights };
    };
    const { finalState } = computed(gpu, tokens(0, 9), { finalState: true });
    assert(finalState);
    const weights = loaded(gpu, hedgehogWeights);
    const outs: number[] = [];
    for (let t = 9; t < 12; t++) {
      const { q, k, v } = tokens(t, t + 1);
      const options = { featureMap: "hedgehog", hedgehogWeights: weights } as const;
      const step = [loaded(gpu, q), loaded(gpu, k), loaded(gpu, v)] as const;
      outs.push(...await linearAttentionStep(finalState, ...step, options).read());
    }

    const wanted = expected(problem);
    assertClose("outs", outs, wanted.out.data.subarray(9 * 4 * VALUES), { ratio: 1e-5 });
    assert(wanted.finalState && "z" in wanted.finalState);
    const { s, z } = finalState as RecurrenceState;
    assertClose("s", await s.read(), wanted.finalState.s.data, { ratio: 1e-5 });
    assertClose("z", await z.read(), wanted.finalState.z.data, { ratio: 1e-5 });
  },
});

Deno.test({
  name: "linearAttention() frees the features of hedgehog, also where the engine refuses",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const problem = problemOf({ weights: [8, 9] });
    const before = gpu.memory();
    for (let call = 0; call < 3; call++) {
      const { out } = computed(gpu, problem);
      out.dispose();
      assertThrows(() => computed(gpu, problem, { scale: NaN }), RangeError);
    }
    await gpu.submit();

    const { bytes, tensors } = gpu.memory();
    assertEquals([bytes, tensors], [before.bytes, before.tensors]);
  },
});

Deno.test({
  name: "linearAttention() makes no features of hedgehog where the engine refuses",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = gpu.tensor(new Float32Array(4 * 8), [1, 4, 1, 8]);
    const before = gpu.memory();
    const options = { featureMap: "hedgehog" } as const;

    assertThrows(() => linearAttention(x, x, x, { ...options, scale: NaN }), RangeError);
    assertThrows(() => linearAttention(x, x, x, { ...options, schedule: "fast" }), RangeError);
    assertThrows(() => linearAttentionFull(x, x, x, { ...options, eps: -1 }), RangeError);
    assertEquals(gpu.memory(), before);
  },
});

Deno.test({
  name: "linearAttention() with hedgehog outlives other work in an encoder of the caller's",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const problem = problemOf({ weights: [8, 9] });
    const [q, k, v] = [problem.q, problem.k, problem.v].map((x) => loaded(gpu, x));
    assert(problem.hedgehogWeights);
    const hedgehogWeights = loaded(gpu, problem.hedgehogWeights);
    const encoder = gpu.device.createCommandEncoder();

    const options = { featureMap: "hedgehog", hedgehogWeights } as const;
    const { out } = gpu.record(encoder, () => linearAttention(q, k, v, options));
    await computed(gpu, problemOf({})).out.read();
    gpu.device.queue.submit([encoder.finish()]);

    assertClose("out", await out.read(), expected(problem).out.data, { ratio: 1e-5 });
  },
});

Deno.test({
  name: "linearAttention() refuses weights of hedgehog that do not fit",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const empty = (...shape: number[]) => gpu.empty(shape, "f32");
    const [q, k, v] = [empty(1, 4, 4, 8), empty(1, 4, 2, 8), empty(1, 4, 4, 6)];
    const refuse = (
      type: new (...args: never[]) => Error,
      message: string,
      options: object,
      x: readonly [Tensor<"f32">, Tensor<"f32">, Tensor<"f32">] = [q, k, v],
    ): void => {
      const given = { featureMap: "hedgehog", ...options } as LinearAttentionOptions;
      const error = assertThrows(() => linearAttention(...x, given), type);
      assertEquals(error.message, `Cannot compute linear attention as ${message}`);
    };
    const weights = (...shape: number[]) => ({ hedgehogWeights: empty(...shape) });
    const forms =
      "hedgehogWeights must be [F, D], [H, F, D] or [2, H, F, D] with D = 8, or 9 with a bias";

    for (const shape of [[8], [8, 7], [8, 10], [0, 8, 8], [3, 2, 8, 8], [1, 2, 2, 8, 8]]) {
      refuse(TypeError, `${forms}: hedgehogWeights is [${shape}]`, weights(...shape));
    }
    refuse(
      TypeError,
      "the heads of hedgehogWeights must divide those of q and k: current heads are hedgehogWeights=4, q=4, k=2",
      weights(4, 8, 8),
    );
    refuse(
      RangeError,
      "the number of features of q and k must be 1 to 256: current number of features of q and k is 258",
      weights(129, 8),
    );
    refuse(
      RangeError,
      "the number of features of q and k must be 1 to 256: current number of features of q and k is 0",
      weights(0, 8),
    );
    refuse(
      RangeError,
      "the number of features of q and k must be 1 to 256: current number of features of q and k is 258",
      {},
      [empty(1, 4, 1, 129), empty(1, 4, 1, 129), empty(1, 4, 1, 6)],
    );
    refuse(TypeError, "hedgehogWeights must be f32 or f16: hedgehogWeights is i32", {
      hedgehogWeights: gpu.empty([8, 8], "i32"),
    });
    refuse(TypeError, "hedgehogWeights must be a Tensor: hedgehogWeights is Array", {
      hedgehogWeights: [1, 2],
    });
    const disposed = empty(8, 8);
    disposed.dispose();
    refuse(TypeError, "hedgehogWeights must be live: hedgehogWeights [8,8] was disposed", {
      hedgehogWeights: disposed,
    });
    using other = await requestGpu();
    refuse(
      TypeError,
      "tensors must share a device: hedgehogWeights lives on another device than q",
      { hedgehogWeights: other.empty([8, 8], "f32") },
    );
    refuse(
      TypeError,
      "hedgehogWeights needs the feature map hedgehog: featureMap is elu1",
      { featureMap: "elu1", ...weights(8, 8) },
    );
    refuse(
      TypeError,
      "hedgehogWeights needs the feature map hedgehog: featureMap is identity",
      { featureMap: undefined, ...weights(8, 8) },
    );
    refuse(
      RangeError,
      "featureMap must be one of identity, elu1, relu, exp, taylor2, hedgehog: featureMap is one",
      { featureMap: "one" },
    );
  },
});

Deno.test({
  name: "linearAttention() refuses tensors of which hedgehog makes no features",
  ignore,
  async fn() {
    using gpu = await requestGpu({ limits: { maxBufferSize: 4096 } });
    const empty = (...shape: number[]) => gpu.empty(shape, "f32");
    const row = (dim: number) => empty(1, 4, 2, dim);
    const options = { featureMap: "hedgehog" } as const;
    const refuse = (x: readonly Tensor[], message: string): void => {
      const [q, k, v] = x as Tensor<"f32">[];
      const error = assertThrows(() => linearAttention(q, k, v, options), Error);
      assertEquals(error.message, `Cannot compute linear attention as ${message}`);
    };

    refuse([empty(4, 2, 8), row(8), row(8)], "q must have 4 axes [B, T, heads, dim]: q is [4,2,8]");
    refuse(
      [row(8), row(7), row(8)],
      "q and k must share a key dim: current values are q=8, k=7",
    );
    refuse(
      [row(0), row(0), row(8)],
      "the key dim of q and k must be 1 to 256: current key dim of q and k is 0",
    );
    refuse(
      [row(8), gpu.empty([1, 4, 2, 8], "f16"), row(8)],
      "q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32",
    );
    refuse([row(8), row(8), undefined as unknown as Tensor], "v must be a Tensor: v is undefined");
    refuse(
      [row(8), empty(1, 5, 2, 8), row(8)],
      "q and k and v must share a length: current values are q=4, k=5, v=4",
    );
    const [q, k, v] = [empty(1, 16, 4, 16), empty(1, 16, 4, 16), empty(1, 16, 4, 4)];
    refuse(
      [q, k, v],
      "the features of q must fit one buffer: [1,16,4,32] of f32 takes 8192 bytes, the device allows 4096",
    );
    assertThrows(() => linearAttention(q, k, v, options), UnsupportedDeviceError);
    assertThrows(
      () =>
        linearAttentionStep(undefined as unknown as Tensor<"f32">, row(8), row(8), row(8), options),
      TypeError,
      "Cannot compute linear attention as a step needs a state: state is undefined",
    );
  },
});
