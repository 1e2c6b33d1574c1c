import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode poolTokens}. */
export interface PoolOptions {
  /** How many consecutive tokens make a block. */
  block: number;
  /**
   * What a block becomes: its mean, maximum or minimum by channel, its first or last token, or with
   * `"attention"` Σ_t softmax(weights)_t x_t over its tokens.
   */
  kind: "mean" | "max" | "min" | "first" | "last" | "attention";
  /**
   * The logits of `"attention"`, `[B, T, H]`; a block whose logits are all -Infinity becomes 0.
   *
   * @default {undefined}
   */
  weights?: ReferenceTensor;
  /**
   * Cuts the tokens of a batch of 1 into N sequences, `[N + 1]`, integers: sequence n is the tokens
   * cuSeqlens[n] <= t < cuSeqlens[n + 1]. Each begins with a block of its own; an empty one has none.
   *
   * @default {undefined}
   */
  cuSeqlens?: ReferenceTensor;
}

/** One channel of the tokens of a block, and their logits. */
type Pool = (x: Float64Array, logits: Float64Array) => number;

const POOLS: Record<PoolOptions["kind"], Pool> = {
  mean: (x) => x.reduce((sum, value) => sum + value, 0) / x.length,
  max: (x) => x.reduce((m, value) => Math.max(m, value)),
  min: (x) => x.reduce((m, value) => Math.min(m, value)),
  first: (x) => x[0],
  last: (x) => x[x.length - 1],
  attention: (x, logits) => {
    const m = logits.reduce((m, logit) => Math.max(m, logit));
    if (m === -Infinity) return 0;
    const p = logits.map((logit) => Math.exp(logit - m));
    const sum = x.reduce((sum, value, t) => sum + (p[t] === 0 ? 0 : p[t] * value), 0);
    return sum / p.reduce((sum, value) => sum + value, 0);
  },
};

/**
 * Pools blocks of consecutive tokens, head by head and channel by channel.
 *
 * Block n of a sequence is its tokens n · block <= t < (n + 1) · block; the last one may be shorter
 * and is pooled over the tokens that it has.
 *
 * @param x The tokens, `[B, T, H, D]`.
 * @param options The blocks and what they become.
 * @returns The blocks, `[B, ceil(T / block), H, D]`; with `cuSeqlens` those of all sequences one after
 * the other, `[1, Σ_n ceil(T_n / block), H, D]`.
 *
 * @example Means of pairs, and of the token that is left
 * ```ts
 * import { poolTokens } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [1, 3, 10, 30, 5], shape: [1, 5, 1, 1] };
 *
 * const { data, shape } = poolTokens(x, { block: 2, kind: "mean" });
 *
 * assertEquals(data, Float64Array.of(2, 20, 5));
 * assertEquals(shape, [1, 3, 1, 1]);
 * ```
 */
export function poolTokens(x: ReferenceTensor, options: PoolOptions): Float64Tensor {
  const [batch, length, heads, dim] = x.shape;
  const pool = POOLS[options.kind];
  const blocks = blocksOf(length, options);
  const out = new Float64Array(batch * blocks.length * heads * dim);
  for (let index = 0; index < out.length; index++) {
    const d = index % dim;
    const h = Math.floor(index / dim) % heads;
    const n = Math.floor(index / (dim * heads)) % blocks.length;
    const b = Math.floor(index / (dim * heads * blocks.length));
    const tokens = blocks[n].map((t) => (b * length + t) * heads + h);
    out[index] = pool(
      Float64Array.from(tokens, (token) => x.data[token * dim + d]),
      Float64Array.from(tokens, (token) => options.weights?.data[token] ?? 0),
    );
  }
  return { data: out, shape: [batch, blocks.length, heads, dim] };
}

/** The tokens of each block. */
function blocksOf(length: number, { block, cuSeqlens }: PoolOptions): number[][] {
  const bounds = Array.from(cuSeqlens?.data ?? [0, length]);
  const blocks: number[][] = [];
  for (let n = 0; n + 1 < bounds.length; n++) {
    for (let start = bounds[n]; start < bounds[n + 1]; start += block) {
      const size = Math.min(block, bounds[n + 1] - start);
      blocks.push(Array.from({ length: size }, (_, t) => start + t));
    }
  }
  return blocks;
}
