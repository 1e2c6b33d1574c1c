import type { Int32Tensor, ReferenceTensor } from "./tensor.ts";

/** What was selected of each row. */
export interface Selection {
  /** The places of the selected, `[..., m]`: largest first, of equals the smaller; then -1. */
  indices: Int32Tensor;
  /** How many were selected, `[...]`. */
  counts: Int32Tensor;
}

/** What was selected of each row, and how many there were to select. */
export interface LimitedSelection extends Selection {
  /** How many there were, `[...]`: where it is more than the count, `max` left some out. */
  found: Int32Tensor;
}

/** Options for {@linkcode selectTopP} and {@linkcode selectThreshold}. */
export interface SelectOptions {
  /**
   * How many at most are selected: m. The smaller ones are left out.
   *
   * @default {n}
   */
  max?: number;
}

/**
 * Selects the k largest of each row. -Infinity is never selected.
 *
 * @param scores The rows, `[..., n]`.
 * @param k How many: m.
 * @returns The places, `[..., k]`, and the counts, `[...]`.
 *
 * @example The smaller place first among equals
 * ```ts
 * import { selectTopK } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const { indices, counts } = selectTopK({ data: [2, 5, 1, 5], shape: [1, 4] }, 3);
 *
 * assertEquals(indices.data, Int32Array.of(1, 3, 0));
 * assertEquals(counts.data, Int32Array.of(3));
 * ```
 */
export function selectTopK(scores: ReferenceTensor, k: number): Selection {
  const { indices, counts } = select(scores, k, () => k);
  return { indices, counts };
}

/**
 * Selects the largest of each row that have a share of its sum: the fewest whose sum is at least p
 * times the sum of all.
 *
 * @param scores The rows, `[..., n]`, not negative; they need not sum to 1.
 * @param p The share, from 0 to 1.
 * @param options How many at most.
 * @returns The places, `[..., m]`, the counts and how many there were, `[...]`.
 *
 * @example Nine tenths of the mass
 * ```ts
 * import { selectTopP } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const { indices, counts } = selectTopP({ data: [2, 1, 16, 1], shape: [4] }, 0.9);
 *
 * assertEquals(indices.data, Int32Array.of(2, 0, -1, -1));
 * assertEquals(counts.data, Int32Array.of(2));
 * ```
 */
export function selectTopP(
  scores: ReferenceTensor,
  p: number,
  { max = rowLength(scores) }: SelectOptions = {},
): LimitedSelection {
  return select(scores, max, (sorted) => {
    const total = sorted.reduce((sum, score) => sum + score, 0); // in the order of the sums below
    let sum = 0;
    let count = 0;
    while (sum < p * total && count < sorted.length) sum += sorted[count++];
    return count;
  });
}

/**
 * Selects what reaches a threshold. -Infinity is never selected.
 *
 * @param scores The rows, `[..., n]`.
 * @param t The threshold: scores >= t are selected.
 * @param options How many at most.
 * @returns The places, `[..., m]`, the counts and how many there were, `[...]`.
 *
 * @example At most two of the scores that reach 0
 * ```ts
 * import { selectThreshold } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const { indices } = selectThreshold({ data: [0, -1, 2, 1], shape: [4] }, 0, { max: 2 });
 *
 * assertEquals(indices.data, Int32Array.of(2, 3));
 * ```
 */
export function selectThreshold(
  scores: ReferenceTensor,
  t: number,
  { max = rowLength(scores) }: SelectOptions = {},
): LimitedSelection {
  return select(scores, max, (sorted) => sorted.filter((score) => score >= t).length);
}

/** The places of what is more than -Infinity: largest first, of equals the smaller place. */
export function descending(scores: ArrayLike<number>): number[] {
  const places = Array.from(scores, (_, index) => index).filter((x) => scores[x] > -Infinity);
  return places.sort((x, y) => scores[y] - scores[x] || x - y);
}

/** Selects the first of each row in descending order, as many as `countOf` says but at most `max`. */
function select(
  scores: ReferenceTensor,
  max: number,
  countOf: (sorted: number[]) => number,
): LimitedSelection {
  const n = rowLength(scores);
  const axes = scores.shape.slice(0, -1);
  const rows = axes.reduce((product, size) => product * size, 1);
  const all = Array.from(scores.data);
  const indices = new Int32Array(rows * max).fill(-1);
  const counts = new Int32Array(rows);
  const found = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const x = all.slice(row * n, (row + 1) * n);
    const order = descending(x);
    found[row] = countOf(order.map((place) => x[place]));
    const chosen = order.slice(0, Math.min(max, found[row]));
    indices.set(chosen, row * max);
    counts[row] = chosen.length;
  }
  return {
    indices: { data: indices, shape: [...axes, max] },
    counts: { data: counts, shape: axes },
    found: { data: found, shape: axes },
  };
}

function rowLength({ shape }: ReferenceTensor): number {
  return shape[shape.length - 1];
}
