/**
 * HiP, hierarchical attention pruning: blocks of queries find their keys in a tree, in O(log S) steps.
 *
 * A block of queries starts with `keep` chunks of keys, all of them. Each step splits the chunks in two,
 * scores the first key of each half by the block's queries, max_i q_i · k, and keeps the `keep` best; the
 * last halves are blocks of keys, and attention visits these: O(T log S) scores. Lee et al., "A Training-Free
 * Sub-quadratic Cost Transformer Model Serving Framework with Hierarchically Pruned Attention" (2024);
 * catalogue B04, from knowledge of the paper; that the first key of a chunk stands for it is unsure. The
 * options `sinks` and `window` of `selectTree` always keep blocks at the start and around the diagonal.
 * The kernels' part is everything.
 *
 * deno run examples/mechanisms/hip.ts
 *
 * @module
 */
import {
  attention,
  type BlockMap,
  blockMapFromIndices,
  requestGpu,
  selectTree,
  type Tensor,
} from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode hip}. */
export interface HipOptions {
  /** Queries of a block, and keys of a leaf. */
  block: number;
  /** k: leaves that a block of queries sees. */
  keep: number;
}

/** Who sees whom, of q `[B, T, Hq, D]` and k `[B, T, Hkv, D]`: `attention(…, { blockMap })`. */
export function hip<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  { block, keep }: HipOptions,
): BlockMap {
  const [batch, tokens, heads] = q.shape;
  const blocks = { queryBlock: block, keyBlock: block };
  return q.gpu.scope(() => {
    const { indices } = selectTree(q, k, { ...blocks, keep, causal: true });
    const sizes = { ...blocks, batch, heads, qLen: tokens, kvLen: tokens };
    return blockMapFromIndices(indices, { ...sizes, mask: "j <= i" });
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [block, keep, steps, heads, dim] = [32, 4, 3, 2, 64];
  const blocks = keep * 2 ** steps;
  const tokens = block * blocks;
  const shape = [1, tokens, heads, dim];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const score = (i: number, j: number, h: number) => {
    let sum = 0;
    for (let c = 0; c < dim; c++) {
      sum += q.data[(i * heads + h) * dim + c] * k.data[(j * heads + h) * dim + c];
    }
    return sum;
  };
  /** The leaves that block n of queries keeps. */
  const descend = (n: number, h: number) => {
    let kept = Array.from({ length: keep }, (_, chunk) => chunk);
    for (let size = tokens / keep / 2; size >= block; size /= 2) {
      const halves = kept.flatMap((chunk) => [2 * chunk, 2 * chunk + 1]);
      const scored = halves.map((half) => {
        const seen = Array.from({ length: block }, (_, t) => n * block + t)
          .filter((i) => half * size <= i);
        return { half, best: Math.max(...seen.map((i) => score(i, half * size, h))) };
      });
      kept = scored.filter(({ best }) => best > -Infinity)
        .sort((one, other) => other.best - one.best).slice(0, keep).map(({ half }) => half);
    }
    return kept;
  };
  const leaves = Array.from(
    { length: blocks * heads },
    (_, n) => descend(Math.floor(n / heads), n % heads),
  );
  const expected = reference(q, k, v, {
    mask: ({ h, i, j }) =>
      j <= i && leaves[Math.floor(i / block) * heads + h].includes(Math.floor(j / block)),
  });
  using blockMap = hip(q.tensor, k.tensor, { block, keep });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(3);
  console.log(
    `HiP, ${steps} steps, ${keep} of ${blocks} blocks: ${await errorOf(
      out,
      expected.out,
    )}, density ${density}`,
  );
}
