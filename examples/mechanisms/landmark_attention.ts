/**
 * Landmark attention: the last token of each block, its landmark, says how much of the block a query takes.
 *
 * w = softmax over a query's own block and the landmarks of blocks before it; o_i = Σ_own w_j v_j + Σ_b w_b
 * O_b, O_b the softmax attention to block b alone: a nested softmax. Landmarks add no value. Only the `keep`
 * blocks with the largest landmark scores count, other ones for each query and head. Mohtashami and Jaggi,
 * "Landmark Attention: Random-Access Infinite Context Length for Transformers" (2023); catalogue B13; its
 * new positions for the blocks that are kept (stingy) are left to `rope`. The kernels' part is everything: a
 * merge by lse nests the softmax where the lse of a block is replaced by the score of its landmark.
 *
 * deno run examples/mechanisms/landmark_attention.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  compileBlockMap,
  type HookSource,
  mergeAttention,
  poolTokens,
  requestGpu,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
  mergeAttention as merge,
  poolTokens as pool,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode landmarkAttention}. */
export interface LandmarkOptions {
  /** Tokens of a block, its landmark included. */
  block: number;
  /** k: blocks before its own that a query sees, at most 64. */
  keep: number;
}

/** `[B, T, Hq, Dv]` of the last T queries, `[B, T, Hq, D]`, to k `[B, S, Hkv, D]` and v `[B, S, Hkv, Dv]`. */
export function landmarkAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { block, keep }: LandmarkOptions,
): Tensor<E> {
  const { gpu } = q;
  const [[batch, qLen, heads], [, kvLen]] = [q.shape, k.shape];
  const token = "(i + i32(earlier))";
  const earlier = kvLen - qLen;
  const value = `j % ${block} != ${block - 1}`;
  const over = (mask: HookSource) => {
    const sizes = { batch, heads, qLen, kvLen, keyBlock: block };
    using blockMap = compileBlockMap(gpu, mask, sizes);
    const { out, lse } = attention(q, k, v, { blockMap, lse: true });
    return { out, lse: lse! };
  };
  return gpu.scope(() => {
    const landmarks = poolTokens(k, { block, kind: "last" });
    const before = `j < ${token} / ${block}`;
    const chosen = attentionStatistics(q, landmarks, {
      ...{ mask: before, inputs: { earlier }, topK: keep },
    }).topK!.indices;
    const isOwn = `j <= ${token} && j / ${block} == ${token} / ${block}`;
    const own = over({ code: `${isOwn} && ${value}`, inputs: { earlier } });
    const isChosen = (key: string) => `${key} == chosen(b, i, h, i32(rank))`;
    const others = Array.from({ length: keep }, (_, rank) => {
      const inputs = { chosen, rank };
      const { out } = over({ code: `${isChosen(`j / ${block}`)} && ${value}`, inputs });
      const { lse } = attentionStatistics(q, landmarks, {
        ...{ mask: isChosen("j"), inputs, lse: true },
      });
      return { out, lse: lse! };
    });
    return mergeAttention([own, ...others]).out;
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [block, blocks, keep, heads, dim] = [25, 16, 2, 2, 64];
  const tokens = block * blocks;
  const shape = [1, tokens, heads, dim];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const blockOf = (token: number) => Math.floor(token / block);
  const landmarks = pool(k, { block, kind: "last" });
  const chosen = statistics(q, landmarks, { mask: ({ i, j }) => j < blockOf(i), topK: keep }).topK!;
  const isValue = (j: number) => j % block !== block - 1;
  const own = reference(q, k, v, {
    mask: ({ i, j }) => j <= i && blockOf(i) === blockOf(j) && isValue(j),
  });
  const others = Array.from({ length: keep }, (_, n) => {
    const at = (i: number, h: number) => (i * heads + h) * keep + n;
    const { out } = reference(q, k, v, {
      mask: ({ h, i, j }) => blockOf(j) === chosen.indices.data[at(i, h)] && isValue(j),
    });
    const lse = Float64Array.from(
      { length: tokens * heads },
      (_, row) => chosen.values.data[row * keep + n],
    );
    return { out, lse: { data: lse, shape: [1, tokens, heads] } };
  });
  const out = landmarkAttention(q.tensor, k.tensor, v.tensor, { block, keep });
  console.log(
    `landmark attention, ${keep} of ${blocks} blocks: ${await errorOf(
      out,
      merge([own, ...others]).out,
    )}`,
  );
}
