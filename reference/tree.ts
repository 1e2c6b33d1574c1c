import { poolTokens } from "./pooling.ts";
import { descending, type Selection } from "./selection.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode selectTree}. */
export interface SelectTreeOptions {
  /** k: nodes of a level, and blocks of keys at the end, that a block of queries keeps. */
  keep: number;
  /**
   * Queries of a block.
   *
   * @default {64}
   */
  queryBlock?: number;
  /**
   * Keys of a block: a leaf of the tree.
   *
   * @default {64}
   */
  keyBlock?: number;
  /**
   * Children of a node.
   *
   * @default {2}
   */
  branches?: number;
  /**
   * What stands for the keys of a node: their first or last one, or their mean, maximum or minimum by
   * channel.
   *
   * @default {"first"}
   */
  representative?: "first" | "last" | "mean" | "max" | "min";
  /**
   * Whether a query scores only nodes whose first key it sees: `true` lets the last query see the last
   * key, `"top-left"` the first query the first key.
   *
   * @default {false}
   */
  causal?: boolean | "top-left";
  /**
   * Blocks of keys at the start that are kept where they are seen.
   *
   * @default {0}
   */
  sinks?: number;
  /**
   * Blocks of keys before those that a block of queries stands at, which are kept with them.
   *
   * @default {undefined}
   */
  window?: number;
}

/** A block of queries, its place, and what is scored at each level. */
interface Descent
  extends Required<Omit<SelectTreeOptions, "causal" | "representative" | "window">> {
  readonly leaves: number;
  /** The first and the last leaf that are kept around the queries, if any. */
  readonly near: readonly [number, number] | null;
  /** The best score of a node of so many leaves; null where no query sees its first key. */
  readonly score: (node: number, span: number) => number | null;
}

/**
 * Selects blocks of keys by a descent of a tree.
 *
 * The leaves are blocks of keys, a node of height n is branches^n of them in a row. The first level has
 * at most keep · branches nodes; on each level a block of queries keeps the `keep` best, max_i q_i · k
 * with what stands for the keys of a node, of equals the first, and the children of those are the next
 * level, those of the best first. Scores of -Infinity and NaN are never kept but by sinks and a window.
 *
 * @param q The queries, `[B, T, Hq, D]`.
 * @param k The keys, `[B, S, Hkv, D]`.
 * @param options The tree, and how many are kept.
 * @returns The leaves, `[B, Hq, ceil(T / queryBlock), keep]`, the best first, then -1, and their counts.
 *
 * @example The way to the largest key is through the first key of its half
 * ```ts
 * import { selectTree } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const q = { data: [1], shape: [1, 1, 1, 1] };
 * const k = { data: [3, 1, 2, 9], shape: [1, 4, 1, 1] };
 *
 * const { indices } = selectTree(q, k, { keep: 1, queryBlock: 1, keyBlock: 1 });
 *
 * assertEquals(indices.data, Int32Array.of(0)); // 3 against 2, then 3 against 1
 * ```
 */
export function selectTree(
  q: ReferenceTensor,
  k: ReferenceTensor,
  options: SelectTreeOptions,
): Selection {
  const { keep, queryBlock = 64, keyBlock = 64, branches = 2, sinks = 0 } = options;
  const { representative: kind = "first", causal = false, window } = options;
  const [batch, length, heads, dim] = q.shape;
  const [, keys, kvHeads] = k.shape;
  const leaves = Math.ceil(keys / keyBlock);
  const blocks = Math.ceil(length / queryBlock);
  const diagonal = causal === "top-left" ? 0 : keys - length;
  const pooled = new Map<number, ReferenceTensor>();
  const pooledBy = (span: number): ReferenceTensor => {
    const nodes = pooled.get(span) ?? poolTokens(k, { block: keyBlock * span, kind });
    pooled.set(span, nodes);
    return nodes;
  };
  const indices = new Int32Array(batch * heads * blocks * keep).fill(-1);
  const counts = new Int32Array(batch * heads * blocks);
  for (let row = 0; row < counts.length; row++) {
    const b = Math.floor(row / (heads * blocks));
    const h = Math.floor(row / blocks) % heads;
    const first = row % blocks * queryBlock;
    const end = Math.min(length, first + queryBlock);
    const score = (node: number, span: number): number | null => {
      const { data, shape } = pooledBy(span);
      const own = (b * shape[1] + node) * kvHeads + Math.floor(h / (heads / kvHeads));
      if (causal !== false && node * span * keyBlock > end - 1 + diagonal) return null;
      let best = -Infinity;
      for (let i = first; i < end; i++) {
        if (causal !== false && node * span * keyBlock > i + diagonal) continue;
        let s = 0;
        for (let d = 0; d < dim; d++) {
          s += q.data[((b * length + i) * heads + h) * dim + d] * data[own * dim + d];
        }
        if (s > best) best = s; // never NaN
      }
      return best;
    };
    const [from, to] = [first, end - 1].map((i) => Math.floor((i + diagonal) / keyBlock));
    const near = window === undefined ? null : [from - window, to] as const;
    const tree = { leaves, keep, queryBlock, keyBlock, branches, sinks, near, score };
    const kept = descend(tree);
    indices.set(kept, row * keep);
    counts[row] = kept.length;
  }
  return {
    indices: { data: indices, shape: [batch, heads, blocks, keep] },
    counts: { data: counts, shape: [batch, heads, blocks] },
  };
}

/** The leaves that a block of queries keeps. */
function descend({ leaves, keep, branches, sinks, near, score }: Descent): number[] {
  let span = 1;
  while (keep * branches * span < leaves) span *= branches;
  let nodes = Array.from({ length: keep * branches }, (_, node) => node);
  for (;; span /= branches) {
    const there = nodes.filter((node) => node * span < leaves);
    const scores = there.map((node) => {
      const [first, last] = [node * span, (node + 1) * span - 1];
      const close = near !== null && first <= near[1] && last >= near[0];
      const best = score(node, span);
      if (best === null) return -Infinity;
      return first < sinks || close ? Infinity : Math.min(best, Number.MAX_VALUE);
    });
    const kept = descending(scores).slice(0, keep).map((place) => there[place]);
    if (span === 1) return kept;
    nodes = kept.flatMap((node) => Array.from({ length: branches }, (_, n) => node * branches + n));
  }
}
