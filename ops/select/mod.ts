import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { select } from "./launch.ts";
import { type SelectOptions, thresholdProblem, topKProblem, topPProblem } from "./problem.ts";

export { argSort, type ArgSortOptions } from "./arg_sort.ts";
export { gatherTokens, type ScatterOptions, scatterTokens } from "./gather.ts";
export type { SelectOptions } from "./problem.ts";

/** What was selected of each row. */
export interface Selection {
  /** The places of the selected, `[…, m]`: largest first, of equals the smaller; then −1. */
  indices: Tensor<"i32">;
  /** How many were selected, `[…]`. */
  counts: Tensor<"i32">;
}

/** What was selected of each row, and how many there were to select. */
export interface LimitedSelection extends Selection {
  /** How many there were, `[…]`: where it is more than the count, `max` left some out. */
  found: Tensor<"i32">;
}

/**
 * Selects the k largest of each row, in order. −∞ and NaN are never selected.
 *
 * A workgroup selects from a row: a radix select in four passes over it, whatever k is, then a bitonic
 * sort of what was selected; of up to 64 elements, each counts those before it. The same scores give the
 * same bits. On the device a selection feeds `blockMapFromIndices()` or `gatherTokens()`; nothing comes
 * back to the CPU.
 *
 * @param scores the rows, f32 or f16 `[…, n]`
 * @param k how many: m
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape or dtype does not fit
 * @throws RangeError if k is out of range, or a row too long for the device
 *
 * @example The smaller place first among equals
 * ```ts
 * import { requestGpu, selectTopK } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const { indices, counts } = selectTopK(gpu.tensor(Float32Array.of(2, 5, 1, 5), [1, 4]), 3);
 * assertEquals(await indices.read(), Int32Array.of(1, 3, 0));
 * assertEquals(await counts.read(), Int32Array.of(3));
 * ```
 */
export function selectTopK(scores: Tensor, k: number): Selection {
  return recall(largest, scores, k);
}

function largest(scores: Tensor, k: number): Selection {
  const { indices, counts, found } = select("selectTopK", scores, topKProblem(scores, k));
  found.dispose();
  return { indices, counts };
}

/**
 * Selects the largest of each row that have a share of its sum: the fewest whose sum is at least p
 * times the sum of all, in order.
 *
 * Sums are f32, added in an order of their own that never changes, or of up to 64 elements in units of
 * 2^-30 of the whole, whose order does not matter; a share counts as reached when a millionth of it is
 * missing, and a share of 1 is all that is more than 0. FlexPrefill (Lai et al. 2025)
 * selects key blocks so.
 *
 * @param scores the rows, f32 or f16 `[…, n]`, not negative; they need not sum to 1
 * @param p the share, from 0 to 1
 * @param options how many at most
 * @returns new tensors; `found` tells where `max` was too small
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a row too long for the device
 *
 * @example Nine tenths of the mass
 * ```ts
 * import { requestGpu, selectTopP } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const scores = gpu.tensor(Float32Array.of(2, 1, 16, 1), [4]);
 * const { indices, found } = selectTopP(scores, 0.9, { max: 1 });
 * assertEquals(await indices.read(), Int32Array.of(2));
 * assertEquals(await found.read(), Int32Array.of(2)); // one was left out
 * ```
 */
export function selectTopP(
  scores: Tensor,
  p: number,
  options: SelectOptions = {},
): LimitedSelection {
  return recall(heaviest, scores, p, options);
}

function heaviest(scores: Tensor, p: number, options: SelectOptions): LimitedSelection {
  return select("selectTopP", scores, topPProblem(scores, p, options));
}

/**
 * Selects what reaches a threshold, the largest first. −∞ and NaN are never selected.
 *
 * @param scores the rows, f32 or f16 `[…, n]`
 * @param t the threshold, rounded to f32: scores >= t are selected
 * @param options how many at most
 * @returns new tensors; `found` tells where `max` was too small
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a row too long for the device
 *
 * @example At most two of the scores that reach 0
 * ```ts
 * import { requestGpu, selectThreshold } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const scores = gpu.tensor(Float32Array.of(0, -1, 2, 1), [4]);
 * const { indices, found } = selectThreshold(scores, 0, { max: 2 });
 * assertEquals(await indices.read(), Int32Array.of(2, 3));
 * assertEquals(await found.read(), Int32Array.of(3));
 * ```
 */
export function selectThreshold(
  scores: Tensor,
  t: number,
  options: SelectOptions = {},
): LimitedSelection {
  return recall(above, scores, t, options);
}

function above(scores: Tensor, t: number, options: SelectOptions): LimitedSelection {
  return select("selectThreshold", scores, thresholdProblem(scores, t, options));
}
