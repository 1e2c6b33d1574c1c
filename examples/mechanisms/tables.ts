import { attentionStatistics, type Gpu, type ScoreOptions, type Tensor } from "@tessera/kernels";

/** What hooks read. */
type Inputs = NonNullable<ScoreOptions["inputs"]>;

/**
 * All scores of few queries and keys, `[B, Hq, T, S]`, −∞ where i does not see j: the largest of each block
 * of one query and one key. Of q `[B, T, Hq, D]` and k `[B, S, Hkv, D]`, summaries of blocks mostly.
 */
export function scoreTable<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  options: ScoreOptions = {},
): Tensor<"f32"> {
  const blockMax = { queryBlock: 1, keyBlock: 1 };
  return attentionStatistics(q, k, { ...options, blockMax }).blockMax!;
}

/** A tensor of four axes, each element a WGSL expression of its indices `b`, `h`, `i` and `j`. */
export function tableOf(
  gpu: Gpu,
  [batch, heads, rows, columns]: readonly number[],
  score: string,
  inputs: Inputs,
): Tensor<"f32"> {
  return gpu.scope(() => {
    const [q, k] = zeros(gpu, [batch, rows, heads, 1], [batch, columns, 1, 1]);
    return scoreTable(q, k, { score, inputs });
  });
}

/** Zeros of these shapes. */
export function zeros(gpu: Gpu, ...shapes: number[][]): Tensor<"f32">[] {
  return shapes.map((shape) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return gpu.tensor(new Float32Array(size), shape);
  });
}
