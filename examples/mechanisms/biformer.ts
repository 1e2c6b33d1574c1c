/**
 * BiFormer, bi-level routing attention: regions of an image choose regions, then tokens attend to tokens.
 *
 * Q^r and K^r are means of q and k over regions, A^r = Q^r K^rᵀ over the channels of all heads, I the k
 * largest of each row of A^r; a token of region r sees all tokens of the regions I_r. Tokens come region by
 * region (`groupOrder` of grat.ts), so that a region is a block. Zhu et al., "BiFormer: Vision Transformer
 * with Bi-Level Routing Attention" (CVPR 2023); catalogue N11. The kernels' part is pooling, routing, the
 * block map of the choice, and attention over it, without a copy of the chosen keys. The depthwise
 * convolution of v that the model adds (LCE) is not part of it; heads together have at most 256 channels.
 *
 * deno run examples/mechanisms/biformer.ts
 *
 * @module
 */
import {
  attention,
  type BlockMap,
  blockMapFromIndices,
  poolTokens,
  requestGpu,
  selectTopK,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
  poolTokens as pool,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";
import { scoreTable } from "./tables.ts";

/** Options of {@linkcode biformer}. */
export interface BiformerOptions {
  /** Tokens of a region. */
  region: number;
  /** k: regions that each region sees. */
  keep: number;
}

/** Who sees whom, of q `[B, T, H, D]` and k `[B, S, H, D]`: `attention(…, { blockMap })`. */
export function biformer<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  { region, keep }: BiformerOptions,
): BlockMap {
  const { gpu } = q;
  return gpu.scope(() => {
    const [queries, keys] = [q, k].map((x) => {
      const means = poolTokens(x, { block: region, kind: "mean" });
      const [batch, regions, heads, dim] = means.shape;
      return gpu.wrap(means.buffer, [batch, regions, 1, heads * dim], means.dtype);
    });
    const { indices } = selectTopK(scoreTable(queries, keys), keep);
    const [batch, qLen] = q.shape;
    const sizes = { batch, qLen, kvLen: k.shape[1], queryBlock: region, keyBlock: region };
    return blockMapFromIndices(indices, sizes);
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [regions, region, keep, heads, dim] = [49, 16, 4, 2, 32];
  const shape = [1, regions * region, heads, dim];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const [queries, keys] = [q, k].map((x) => ({
    data: pool(x, { block: region, kind: "mean" }).data,
    shape: [1, regions, 1, heads * dim],
  }));
  const routed = statistics(queries, keys, { topK: keep }).topK!.indices.data;
  const expected = reference(q, k, v, {
    mask: ({ i, j }) => {
      const first = Math.floor(i / region) * keep;
      return routed.subarray(first, first + keep).includes(Math.floor(j / region));
    },
  });
  using blockMap = biformer(q.tensor, k.tensor, { region, keep });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(3);
  console.log(
    `BiFormer, ${keep} of ${regions} regions: ${await errorOf(
      out,
      expected.out,
    )}, density ${density}`,
  );
}
