/**
 * SeerAttention: a learned gate scores blocks of queries and keys, and attention visits the best.
 *
 * Q^c = W_q mean(q) and K^c = W_k [max(k), min(k), mean(k)] over blocks, per head, with RoPE at the first
 * token of each block; G = softmax(Q^c K^cᵀ / √d_g), causal; a block of queries sees the `keep` largest of
 * its row, or those that reach a threshold, and itself in any case. Gao et al., "SeerAttention: Learning
 * Intrinsic Sparse Attention in Your LLMs" (2024); catalogue B03; the positions of RoPE, and that a block
 * always sees itself, are unsure. The kernels' part is everything: pooling, the gate (a linear layer is an
 * attention to its rows whose weights are the scores), selection, block-sparse attention. The gate is
 * trained towards the largest weight of each block, which is `attentionStatistics(…, { blockMax })`.
 *
 * deno run examples/mechanisms/seer_attention.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  type BlockMap,
  blockMapFromIndices,
  mergeAttention,
  poolTokens,
  requestGpu,
  rope,
  selectThreshold,
  selectTopK,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
  poolTokens as pool,
  rope as ropeReference,
} from "@tessera/kernels/reference";
import { errorOf, type RandomTensor, randomTensors } from "./inputs.ts";
import { scoreTable } from "./tables.ts";

/** The weights of a gate, of d_g channels. */
export interface SeerGate {
  /** W_q, `[1, D, Hq, d_g]`. */
  readonly q: Tensor<"f32">;
  /** The thirds of W_k, `[1, D, Hkv, d_g]`. */
  readonly k: Readonly<Record<"max" | "min" | "mean", Tensor<"f32">>>;
}

/** Options of {@linkcode seerAttention}: one of `keep` and `threshold`. */
export interface SeerOptions {
  /** Tokens of a block. */
  block: number;
  /** The weights of the gate. */
  gate: SeerGate;
  /** Blocks of keys that a block of queries sees, at most. */
  keep?: number;
  /** The least gate of a block that is seen. */
  threshold?: number;
}

/** Who sees whom, of q `[B, T, Hq, D]` and k `[B, T, Hkv, D]` without RoPE: `attention(…, { blockMap })`. */
export function seerAttention(
  q: Tensor<"f32">,
  k: Tensor<"f32">,
  { block, gate, keep, threshold = 0 }: SeerOptions,
): BlockMap {
  const [batch, tokens, heads] = q.shape;
  const blocks = Math.ceil(tokens / block);
  const starts = Int32Array.from({ length: blocks }, (_, n) => n * block);
  return q.gpu.scope(() => {
    const positions = q.gpu.tensor(starts, [blocks]);
    const kinds = ["max", "min", "mean"] as const;
    const summed = kinds.map((kind) => ({
      out: linear(poolTokens(k, { block, kind }), gate.k[kind]),
    }));
    const keys = rope(mergeAttention(summed, { weight: "none" }).out, { positions });
    const queries = rope(linear(poolTokens(q, { block, kind: "mean" }), gate.q), { positions });
    const lse = attentionStatistics(queries, keys, { causal: true, lse: true }).lse!;
    const score = "select(exp(s - lse(b, i, h)), 2.0, i == j)";
    const gates = scoreTable(queries, keys, { causal: true, score, inputs: { lse } });
    const { indices } = keep ? selectTopK(gates, keep) : selectThreshold(gates, threshold);
    const sizes = { batch, heads, qLen: tokens, kvLen: tokens, queryBlock: block, keyBlock: block };
    return blockMapFromIndices(indices, { ...sizes, mask: "j <= i" });
  });
}

/** x `[B, n, H, D]` times a matrix for each head, `[1, D, H, d_g]`: attention to D unit vectors. */
function linear(x: Tensor<"f32">, weights: Tensor<"f32">): Tensor<"f32"> {
  const [batch, blocks, heads, dim] = x.shape;
  const unit = new Float32Array(dim * heads * dim);
  for (let row = 0; row < dim * heads; row++) unit[row * dim + Math.floor(row / heads)] = 1;
  const rows = x.gpu.wrap(x.buffer, [1, batch * blocks, heads, dim], "f32");
  const units = x.gpu.tensor(unit, [1, dim, heads, dim]);
  const { out } = attention(rows, units, weights, { scale: 1, weight: "none" });
  return x.gpu.wrap(out.buffer, [batch, blocks, heads, weights.shape[3]], "f32");
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [block, blocks, keep, heads, dim] = [32, 32, 4, 2, 64];
  const shape = [1, block * blocks, heads, dim];
  const matrix = [1, dim, heads, dim];
  const given = randomTensors(gpu, shape, shape, shape, matrix, matrix, matrix, matrix);
  const [q, k, v, wq, max, min, mean] = given;
  const times = (x: Float64Array, { data: w }: RandomTensor) =>
    Float64Array.from(x, (_, n) => {
      const [c, h, first] = [n % dim, Math.floor(n / dim) % heads, n - n % dim];
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += x[first + d] * w[(d * heads + h) * dim + c];
      return sum;
    });
  const pooled = (x: RandomTensor, kind: "max" | "min" | "mean") => pool(x, { block, kind }).data;
  const positions = { data: Array.from({ length: blocks }, (_, n) => n * block), shape: [blocks] };
  const rotated = (data: Float64Array) =>
    ropeReference({ data, shape: [1, blocks, heads, dim] }, { positions });
  const [one, two] = [times(pooled(k, "max"), max), times(pooled(k, "min"), min)];
  const keys = times(pooled(k, "mean"), mean).map((x, n) => x + one[n] + two[n]);
  const { topK } = statistics(rotated(times(pooled(q, "mean"), wq)), rotated(keys), {
    causal: true,
    score: (s, { i, j }) => i === j ? Infinity : s,
    topK: keep,
  });
  const expected = reference(q, k, v, {
    mask: ({ h, i, j }) => {
      const first = (Math.floor(i / block) * heads + h) * keep;
      const seen = topK!.indices.data.subarray(first, first + keep);
      return j <= i && seen.includes(Math.floor(j / block));
    },
  });
  const gate = {
    q: wq.tensor,
    k: { max: max.tensor, min: min.tensor, mean: mean.tensor },
  };
  using blockMap = seerAttention(q.tensor, k.tensor, { block, gate, keep });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(3);
  console.log(
    `SeerAttention, ${keep} of ${blocks} blocks: ${await errorOf(
      out,
      expected.out,
    )}, density ${density}`,
  );
}
