/**
 * S2-Attention: each head sees its last blocks, and every n-th block before them, other ones than its
 * neighbours; together the heads see all.
 *
 * allow(i, j, h) = j ≤ i ∧ (b_i − b_j < local ∨ (b_j + h · step + 1) mod stride = 0), b blocks and h heads
 * of keys, so that heads of queries that share keys share a pattern. Steps are absolute: blocks that no
 * later query of a head sees need not be kept. Some heads may see all. Lin et al., "S2-Attention:
 * Hardware-Aware Context Sharding Among Attention Heads" (2024); catalogue B01; step and the 1 as in
 * DKernel. The kernel's part is a block map with a row for each head, made once for all layers.
 *
 * deno run examples/mechanisms/s2_attention.ts
 *
 * @module
 */
import { attention, type BlockMap, compileBlockMap, type Gpu, requestGpu } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode s2Attention}. */
export interface S2AttentionOptions {
  /** T, queries and keys. */
  tokens: number;
  /** Hq. */
  heads: number;
  /** Hkv; as many as heads by default. */
  kvHeads?: number;
  /** Blocks at the end that all heads see, a query's own included. */
  local: number;
  /** One of so many blocks before them is seen. */
  stride: number;
  /** Query heads that see all blocks. */
  dense?: readonly number[];
  /** Tokens of a block. */
  block?: number;
}

/** Who sees whom, causal, with a row for each query head: `attention(…, { blockMap })`. */
export function s2Attention(gpu: Gpu, options: S2AttentionOptions): BlockMap {
  const { tokens, heads, kvHeads = heads, local, stride, dense = [], block = 64 } = options;
  const step = Math.max(1, Math.floor(stride / kvHeads));
  const all = dense.map((head) => `h == ${head} || `).join("");
  const mask = `j <= i && (${all}i / ${block} - j / ${block} < ${local} ||
    (j / ${block} + h / ${heads / kvHeads} * ${step} + 1) % ${stride} == 0)`;
  const sizes = { qLen: tokens, kvLen: tokens, heads, queryBlock: block, keyBlock: block };
  return compileBlockMap(gpu, mask, sizes);
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [tokens, heads, local, stride] = [1000, 4, 2, 8];
  const shape = [1, tokens, heads, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const block = (token: number) => Math.floor(token / 64);
  const expected = reference(q, k, v, {
    causal: true,
    mask: ({ h, i, j }) =>
      block(i) - block(j) < local || (block(j) + h * (stride / heads) + 1) % stride === 0,
  });
  using blockMap = s2Attention(gpu, { tokens, heads, local, stride });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(2);
  console.log(
    `S2-Attention, ${tokens} tokens, local ${local}, stride ${stride}: density ${density}, ${await errorOf(
      out,
      expected.out,
    )}`,
  );
}
