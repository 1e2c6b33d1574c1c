/** One token axis, as {@linkcode visibleKeys} reads it. */
export interface NeighborhoodAxis {
  /** How many tokens it has. */
  length: number;
  /** How many keys a query sees. */
  windowSize: number;
  /** How many consecutive queries of a dilation group share one window. */
  stride: number;
  /** The distance between neighbouring keys of a window. */
  dilation: number;
  /** Whether the keys after a query's own are hidden. */
  causal: boolean;
}

/**
 * The keys that a query sees on one axis, in ascending order.
 *
 * Only tokens of the query's own residue modulo the dilation are visible; they are counted in places
 * of this dilation group. The leader of each run of `stride` places (its middle, or its last when
 * causal) has the window's middle, or its end; the others of the run share its window.
 *
 * @param axis The axis.
 * @param x Where the query stands on it.
 * @returns Where the keys stand on it.
 *
 * @example Every second key, and a window that slides back inside
 * ```ts
 * import { visibleKeys } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const axis = { length: 9, windowSize: 3, stride: 1, dilation: 2, causal: false };
 *
 * assertEquals(visibleKeys(axis, 4), [2, 4, 6]);
 * assertEquals(visibleKeys(axis, 8), [4, 6, 8]);
 * ```
 */
export function visibleKeys(axis: NeighborhoodAxis, x: number): number[] {
  const { length, windowSize, stride, dilation, causal } = axis;
  const residue = x % dilation;
  const place = Math.floor(x / dilation);
  const places = Math.ceil((length - residue) / dilation);
  const group = Math.floor(place / stride) * stride;
  let first: number;
  let last: number;
  if (causal) {
    first = Math.max(Math.min(group + stride - 1, places - 1) - windowSize + 1, 0);
    last = place;
  } else {
    const start = group + Math.floor(stride / 2) - Math.floor(windowSize / 2);
    first = Math.min(Math.max(start, 0), places - windowSize);
    last = first + windowSize - 1;
  }
  const keys: number[] = [];
  for (let j = first; j <= last; j++) keys.push(j * dilation + residue);
  return keys;
}
