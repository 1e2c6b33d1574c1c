import { axisOf, type NeighborhoodWindow } from "./neighborhood.ts";
import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";
import { type NeighborhoodAxis, visibleKeys } from "./visible_keys.ts";

/**
 * The scores of neighborhood attention: scale q_x · k_y for the keys y of each window.
 *
 * Slot (i, j, …) of query x, the last axis fastest, is the i-th key that {@linkcode visibleKeys} gives
 * on the first axis, the j-th on the second, …; −∞ where a causal query sees fewer.
 *
 * @param q The queries, `[B, X(, Y(, Z)), Hq, D]`.
 * @param k The keys, `[B, X(, Y(, Z)), Hkv, D]`.
 * @param options The window, and the factor of q · k, D^-1/2 by default.
 * @returns The scores, `[B, X(, Y(, Z)), Hq, windowVolume]`.
 *
 * @example The last query sees one key less than the window holds when causal
 * ```ts
 * import { neighborhoodScores } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [1, 2, 3], shape: [1, 3, 1, 1] };
 *
 * const { data } = neighborhoodScores(x, x, { windowSize: 2, causal: true, scale: 1 });
 *
 * assertEquals(data, Float64Array.of(1, -Infinity, 2, 4, 6, 9));
 * ```
 */
export function neighborhoodScores(
  q: ReferenceTensor,
  k: ReferenceTensor,
  options: NeighborhoodWindow & { scale?: number },
): Float64Tensor {
  const [kvHeads, headDim] = k.shape.slice(-2);
  const { scale = headDim ** -0.5 } = options;
  const scores: number[] = [];
  for (const { row, key } of slotsOf(q.shape, kvHeads, options)) {
    let dot = 0;
    for (let d = 0; d < headDim && key !== null; d++) {
      dot += q.data[row * headDim + d] * k.data[key * headDim + d];
    }
    scores.push(key === null ? -Infinity : scale * dot);
  }
  const rows = q.shape.slice(0, -1);
  const volume = scores.length / rows.reduce((product, size) => product * size, 1);
  return { data: Float64Array.from(scores), shape: [...rows, volume] };
}

/**
 * The weighted sums of neighborhood attention: Σ_y w_xy v_y over the keys y of each window.
 *
 * @param weights One for each slot of {@linkcode neighborhoodScores}, `[B, X(, Y(, Z)), Hq,
 * windowVolume]`; those of slots without a key are ignored.
 * @param v The values, `[B, X(, Y(, Z)), Hkv, Dv]`.
 * @param window The window.
 * @returns The sums, `[B, X(, Y(, Z)), Hq, Dv]`.
 *
 * @example The sum of both keys of a window
 * ```ts
 * import { neighborhoodValues } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const v = { data: [1, 2, 4], shape: [1, 3, 1, 1] };
 * const weights = { data: [1, 1, 1, 1, 1, 1], shape: [1, 3, 1, 2] };
 *
 * const { data } = neighborhoodValues(weights, v, { windowSize: 2 });
 *
 * assertEquals(data, Float64Array.of(3, 3, 6));
 * ```
 */
export function neighborhoodValues(
  weights: ReferenceTensor,
  v: ReferenceTensor,
  window: NeighborhoodWindow,
): Float64Tensor {
  const [kvHeads, valueDim] = v.shape.slice(-2);
  const rows = weights.shape.slice(0, -1);
  const out = new Float64Array(rows.reduce((product, size) => product * size, valueDim));
  let slot = 0;
  for (const { row, key } of slotsOf(weights.shape, kvHeads, window)) {
    const weight = weights.data[slot++];
    for (let d = 0; d < valueDim && key !== null; d++) {
      out[row * valueDim + d] += weight * v.data[key * valueDim + d];
    }
  }
  return { data: out, shape: [...rows, valueDim] };
}

/** Every slot in order: the row of the query, and that of the key that it sees there, if any. */
function* slotsOf(
  shape: readonly number[],
  kvHeads: number,
  window: NeighborhoodWindow,
): Generator<{ row: number; key: number | null }> {
  const [batch, ...lengths] = shape.slice(0, -2);
  const heads = shape[shape.length - 2];
  const axes = lengths.map((length, axis) => axisOf(length, axis, window));
  const tokens = lengths.reduce((product, length) => product * length, 1);
  for (let b = 0; b < batch; b++) {
    for (let x = 0; x < tokens; x++) {
      const seen = windowSlots(x, axes);
      for (let h = 0; h < heads; h++) {
        const kvHead = Math.floor(h / (heads / kvHeads));
        for (const y of seen) {
          const key = y === null ? null : (b * tokens + y) * kvHeads + kvHead;
          yield { row: (b * tokens + x) * heads + h, key };
        }
      }
    }
  }
}

/** The token in each slot of the window of token x, null where it sees fewer keys. */
function windowSlots(x: number, axes: readonly NeighborhoodAxis[]): (number | null)[] {
  let slots: (number | null)[] = [0];
  let inner = axes.reduce((product, { length }) => product * length, 1);
  for (const axis of axes) {
    inner /= axis.length; // how many tokens one step on this axis skips
    const seen = visibleKeys(axis, Math.floor(x / inner) % axis.length);
    const steps = Array.from({ length: axis.windowSize }, (_, i) => seen[i] ?? null);
    slots = slots.flatMap((y) =>
      steps.map((place) => y === null || place === null ? null : y + place * inner)
    );
  }
  return slots;
}
