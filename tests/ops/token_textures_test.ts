import { assert, assertEquals } from "@std/assert";
import { elementBytes } from "../../gpu/dtype.ts";
import { hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  appendToCache,
  assignCentroids,
  causalConv1d,
  gatherTokens,
  type Gpu,
  hashTokens,
  hgrn,
  logLinearAttention,
  mergeAttention,
  poolTokens,
  requestGpu,
  rope,
  scatterTokens,
  type Tensor,
  titansMemory,
  tttLinear,
} from "../../mod.ts";
import { defaultsOf } from "../../ops/defaults.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Tokens, heads and channels: 96 KiB and more. */
const [T, H, D] = [768, 4, 16];

type Dtype = "f32" | "f16";

/** Makes random rows, always the same ones. */
type Rows = (shape: readonly number[], dtype?: Dtype) => Tensor<Dtype>;

/** Operators that read rows once, and how many copies of them they may make. */
const CASES: Readonly<Record<string, [number, (gpu: Gpu, rows: Rows) => Tensor]>> = {
  "mergeAttention()": [4, (gpu, rows) => {
    const lse = gpu.tensor(Float32Array.from({ length: T * H }, (_, i) => i % 7), [1, T, H]);
    const parts = [0, 1, 2].map(() => ({ out: rows([1, T, H, D]), lse }));
    return mergeAttention(parts).out;
  }],
  "rope()": [1, (_, rows) => rope(rows([1, T, H, D]))],
  "rope() of neighbours": [1, (_, rows) => rope(rows([1, T, H, D]), { interleaved: true })],
  "poolTokens()": [1, (_, rows) => poolTokens(rows([1, T, H, D]), { block: 16, kind: "max" })],
  "poolTokens() of the first": [
    0,
    (_, rows) => poolTokens(rows([1, T, H, D]), { block: 16, kind: "first" }),
  ],
  "gatherTokens()": [1, (gpu, rows) => gatherTokens(rows([1, T, H, D]), turned(gpu, T))],
  "gatherTokens() of a few": [
    0,
    (gpu, rows) => gatherTokens(rows([1, T, H, D]), turned(gpu, T / 2)),
  ],
  "scatterTokens()": [
    1,
    (gpu, rows) => scatterTokens(rows([1, T, H, D]), turned(gpu, T), { length: T }),
  ],
  "appendToCache()": [2, (gpu, rows) => {
    const given = rows([1, T, H, D]);
    const room = (): Tensor<Dtype> => {
      const { data, shape } = hostTensor(given.dtype, [1, T + 4, H, D], () => 0);
      return gpu.tensor(data, shape) as Tensor<Dtype>;
    };
    const cache = { k: room(), v: room(), lengths: gpu.tensor(Int32Array.of(3), [1]) };
    appendToCache(cache, given, rows([1, T, H, D]));
    return cache.v;
  }],
  "assignCentroids()": [
    2,
    (_, rows) => assignCentroids(rows([1, T, H, D]), rows([1, 24, H, D])).cluster,
  ],
  "assignCentroids() by distance, with little room": [2, (_, rows) => {
    const options = { metric: "l2", capacity: 300 } as const;
    return assignCentroids(rows([1, T, H, D]), rows([1, 3, 1, D]), options).cluster;
  }],
  "hashTokens()": [2, (_, rows) => hashTokens(rows([1, T, H, D]), rows([1, 9, H, D]))],
  "hgrn()": [2, (_, rows) => hgrn(rows([1, T, H * D]), rows([1, T, H * D])).out],
  "logLinearAttention()": [3, (gpu, rows) => {
    const [q, k, v] = [0, 1, 2].map(() => rows([1, T, H, D]));
    const g = gpu.tensor(new Float32Array(T * H).fill(-0.1), [1, T, H]);
    const lambda = gpu.tensor(new Float32Array(T * H * 11).fill(1), [1, T, H, 11]);
    return logLinearAttention(q, k, v, g, lambda).out;
  }],
  "tttLinear()": [5, (gpu, rows) => {
    const [q, k, v] = [0, 1, 2].map(() => rows([1, T, H, D]));
    const [w, b] = [0, 1].map(() => rows([H, D]));
    return tttLinear(q, k, v, w, b, rates(gpu, 0.01)).out;
  }],
  "titansMemory()": [3, (gpu, rows) => {
    const [q, k, v] = [0, 1, 2].map(() => rows([1, T, H, D]));
    const [theta, eta, alpha] = [0.01, 0.5, 0.1].map((rate) => rates(gpu, rate));
    return titansMemory(q, k, v, { theta, eta, alpha, miniBatch: 16 }).out;
  }],
  "titansMemory() of keys that fill no slices": [3, (gpu, rows) => {
    const [q, k, v] = [20, 20, D].map((width) => rows([1, T, H, width]));
    return titansMemory(q, k, v, { theta: rates(gpu, 0.01) }).out;
  }],
  "titansMemory() of keys that fill no vec4": [1, (gpu, rows) => {
    const [q, k, v] = [7, 7, D].map((width) => rows([1, T, H, width]));
    return titansMemory(q, k, v, { theta: rates(gpu, 0.01) }).out;
  }],
  "causalConv1d()": [1, (_, rows) => causalConv1d(rows([1, T, H * D]), rows([H * D, 4])).out],
};

/** Indices of some of the tokens, the last one first. */
function turned(gpu: Gpu, count: number): Tensor<"i32"> {
  return gpu.tensor(Int32Array.from({ length: count }, (_, i) => T - 1 - i), [1, count]);
}

/** The same rate for all tokens. */
function rates(gpu: Gpu, rate: number): Tensor {
  return gpu.tensor(new Float32Array(T * H).fill(rate), [1, T, H]);
}

/** Makes rows, in buffers that may be copied or not. */
function rowsOf(gpu: Gpu, dtype: Dtype, copyable: boolean): Rows {
  const random = new Random(3);
  return (shape) => {
    const { data } = hostTensor(dtype, shape, () => random.normal());
    if (copyable) return gpu.tensor(data, shape) as Tensor<Dtype>;
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    const size = data.length * elementBytes(dtype);
    const buffer = gpu.device.createBuffer({ size, usage: STORAGE | COPY_DST });
    gpu.device.queue.writeBuffer(buffer, 0, data.buffer as ArrayBuffer);
    return gpu.wrap(buffer, shape, dtype);
  };
}

for (const [name, [copies, run]] of Object.entries(CASES)) {
  for (const dtype of ["f32", "f16"] as const) {
    Deno.test({
      name: `${name} gives the same to the bit from texels and from buffers in ${dtype}`,
      ignore,
      async fn() {
        using gpu = await requestGpu({ poison: true });
        const outputs: number[][] = [];
        for (const copyable of [true, false]) {
          const steps: string[] = [];
          const found: Tensor[] = [];
          runtimeOf(gpu).recorder.listen(
            (step) => steps.push(step),
            () => found.push(run(gpu, rowsOf(gpu, dtype, copyable))),
          );
          const copied = copyable && defaultsOf(gpu.adapter).source === "texture";
          const made = steps.filter((step) => step === "copy into a texture").length;
          assertEquals(made, copied ? copies : 0);
          outputs.push(Array.from(await found[0].read()));
        }
        const [texels, buffers] = outputs;
        assert(texels.some((x) => x !== 0));
        // a difference of all elements would take minutes to print
        assertEquals(texels.findIndex((x, i) => !Object.is(x, buffers[i])), -1);
      },
    });
  }
}
