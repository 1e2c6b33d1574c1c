/**
 * Quest: a decoding step reads the pages of the cache whose bounds promise the largest scores.
 *
 * A page keeps the minimum and the maximum of its keys by channel; no key of it scores more than Σ_c max(q_c
 * min_c, q_c max_c) = q⁺ · max + q⁻ · min. Each query head attends to the `keep` pages with the largest
 * bounds. Other layers may attend to the same pages, which makes it a TidalDecode of pages (D03). Tang et
 * al., "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference" (2024); catalogue B06 and D03.
 * The kernels' part is everything; a model would keep the bounds of full pages from step to step.
 *
 * deno run examples/mechanisms/quest_decode.ts
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
  poolTokens as pool,
  selectTopK as top,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";
import { scoreTable, tableOf } from "./tables.ts";

/** Options of {@linkcode questDecode}. */
export interface QuestOptions {
  /** Keys of a page. */
  page: number;
  /** Pages that a query sees. */
  keep: number;
}

/** Which keys each query sees, of q `[B, T, Hq, D]`, T small, and k `[B, S, Hkv, D]`. */
export function questDecode(
  q: Tensor<"f32">,
  k: Tensor<"f32">,
  { page, keep }: QuestOptions,
): BlockMap {
  const { gpu } = q;
  const [batch, qLen, heads] = q.shape;
  return gpu.scope(() => {
    const [most, least] = (["max", "min"] as const).map((kind) =>
      poolTokens(k, { block: page, kind })
    );
    const [above, below] = ["max", "min"].map((part) =>
      tableOf(gpu, q.shape, `${part}(q(b, h, i, j), 0.0)`, { q })
    );
    const upper = scoreTable(above, most, { scale: 1 });
    const score = "s + upper(b, h, i, j)";
    const bounds = scoreTable(below, least, { scale: 1, score, inputs: { upper } });
    const { indices } = selectTopK(bounds, keep);
    const sizes = { batch, heads, qLen, kvLen: k.shape[1], queryBlock: 1, keyBlock: page };
    return blockMapFromIndices(indices, sizes);
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [page, pages, keep, heads, dim] = [16, 128, 8, 4, 64];
  const keys = [1, page * pages, heads, dim];
  const [q, k, v] = randomTensors(gpu, [1, 1, heads, dim], keys, keys);
  const [most, least] = (["max", "min"] as const).map((kind) =>
    pool(k, { block: page, kind }).data
  );
  const bounds = Array.from({ length: heads * pages }, (_, n) => {
    const [h, at] = [Math.floor(n / pages), n % pages * heads * dim];
    return q.data.subarray(h * dim, (h + 1) * dim).reduce(
      (sum, x, c) => sum + Math.max(x * most[at + h * dim + c], x * least[at + h * dim + c]),
      0,
    );
  });
  const { data: chosen } = top({ data: bounds, shape: [heads, pages] }, keep).indices;
  const expected = reference(q, k, v, {
    mask: ({ h, j }) => chosen.subarray(h * keep, (h + 1) * keep).includes(Math.floor(j / page)),
  });
  using blockMap = questDecode(q.tensor, k.tensor, { page, keep });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(3);
  console.log(
    `Quest, ${keep} of ${pages} pages: ${await errorOf(out, expected.out)}, density ${density}`,
  );
}
