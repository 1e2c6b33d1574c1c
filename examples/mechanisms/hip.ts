/**
 * HiP, hierarchical attention pruning: blocks of queries find their keys in a tree, in O(log S) steps.
 *
 * A block of queries starts with `keep` chunks of keys, all of them. Each step splits the chunks in two,
 * scores the first key of each half by the block's queries, max_i q_i · k, and keeps the `keep` best; the
 * last halves are blocks of keys, and attention visits these: O(T log S) scores. Lee et al., "A Training-Free
 * Sub-quadratic Cost Transformer Model Serving Framework with Hierarchically Pruned Attention" (2024);
 * catalogue B04, from knowledge of the paper; that the first key of a chunk stands for it is unsure. Blocks
 * at the start and around the diagonal that are always seen are among the `keep`. The kernels' part is
 * everything; a step gathers the halves' keys by the last selection, as a batch with an entry for each block.
 *
 * deno run examples/mechanisms/hip.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  type BlockMap,
  blockMapFromIndices,
  gatherTokens,
  poolTokens,
  requestGpu,
  selectTopK,
  type Tensor,
} from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";
import { firstIndices } from "./tables.ts";

/** Options of {@linkcode hip}. */
export interface HipOptions {
  /** Queries of a block, and keys of a leaf; T is block · keep · 2^steps. */
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
  const { gpu } = q;
  const [batch, tokens, heads, dim] = q.shape;
  const blocks = tokens / block;
  const entries = batch * heads * blocks;
  return gpu.scope(() => {
    const queries = gpu.wrap(headsFirst(q, heads).buffer, [entries, block, 1, dim], q.dtype);
    const keys = headsFirst(k, heads);
    const all = Int32Array.from({ length: entries * keep }, (_, n) => n % keep);
    let kept = gpu.tensor(all, [entries, keep]);
    for (let chunks = keep; chunks < blocks; chunks *= 2) {
      const half = tokens / chunks / 2;
      const first = poolTokens(keys, { block: half, kind: "first" });
      const pairs = gpu.wrap(first.buffer, [batch * heads, chunks, 1, 2 * dim], k.dtype);
      const found = gatherTokens(
        pairs,
        gpu.wrap(kept.buffer, [batch * heads, blocks * keep], "i32"),
      );
      const halves = gpu.wrap(found.buffer, [entries, 2 * keep, 1, dim], k.dtype);
      const { blockMax } = attentionStatistics(queries, halves, {
        mask: `let chunk = kept(b, j / 2);
          let first = (2 * chunk + j % 2) * i32(half);
          chunk >= 0 && first <= b % i32(blocks) * ${block} + i`,
        inputs: { kept, half, blocks },
        blockMax: { queryBlock: block, keyBlock: 1 },
      });
      const { indices: chosen } = selectTopK(blockMax!, keep);
      const number = `let n = chosen(b, 0, 0, i); n >= 0 && j == 2 * kept(b, n / 2) + n % 2`;
      const sizes = { shape: [entries, keep, 1], end: 2 * chunks };
      kept = gpu.wrap(
        firstIndices(gpu, sizes, number, { chosen, kept }).buffer,
        [entries, keep],
        "i32",
      );
    }
    const indices = gpu.wrap(kept.buffer, [batch, heads, blocks, keep], "i32");
    const sizes = { batch, heads, qLen: tokens, kvLen: tokens, queryBlock: block, keyBlock: block };
    return blockMapFromIndices(indices, { ...sizes, mask: "j <= i" });
  });
}

/** x `[B, T, H', D]` as `[B · H, T, 1, D]`; H is a multiple of H'. */
function headsFirst<E extends "f32" | "f16">(x: Tensor<E>, heads: number): Tensor<E> {
  const [batch, tokens, own, dim] = x.shape;
  const order = Int32Array.from({ length: batch * heads * tokens }, (_, n) => {
    const head = Math.floor(n / tokens) % heads;
    return n % tokens * own + Math.floor(head / (heads / own));
  });
  const rows = x.gpu.wrap(x.buffer, [batch, tokens * own, 1, dim], x.dtype);
  const moved = gatherTokens(rows, x.gpu.tensor(order, [batch, heads * tokens]));
  return x.gpu.wrap(moved.buffer, [batch * heads, tokens, 1, dim], x.dtype);
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
