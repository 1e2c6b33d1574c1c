import type { Float64Tensor, Int32Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode argSort}. */
export interface ArgSortOptions {
  /**
   * Whether the largest comes first.
   *
   * @default {false}
   */
  descending?: boolean;
}

/**
 * The places of the elements of each row in the order of their values, of equals the smaller first.
 * NaN comes last.
 *
 * @param x The rows, `[..., n]`.
 * @param options The direction.
 * @returns The places, `[..., n]`.
 *
 * @example Equals keep their order
 * ```ts
 * import { argSort } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const { data } = argSort({ data: [1, 0, 1, 0], shape: [4] });
 *
 * assertEquals(data, Int32Array.of(1, 3, 0, 2));
 * ```
 */
export function argSort(
  x: ReferenceTensor,
  { descending = false }: ArgSortOptions = {},
): Int32Tensor {
  const n = x.shape[x.shape.length - 1];
  const data = Int32Array.from(x.data, (_, index) => index % n);
  const order = (a: number, b: number): number => {
    if (Number.isNaN(a) || Number.isNaN(b)) {
      return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
    }
    return a === b ? 0 : (a < b) === descending ? 1 : -1;
  };
  for (let row = 0; row < data.length; row += n) {
    data.subarray(row, row + n).sort((i, j) => order(x.data[row + i], x.data[row + j]) || i - j);
  }
  return { data, shape: x.shape };
}

/**
 * The tokens that indices name, in their order; 0 where an index names none.
 *
 * @param x The tokens, `[B, T, H, D]`.
 * @param indices `[B, M]`, or `[B, M, H]` where heads have their own.
 * @returns `[B, M, H, D]`.
 *
 * @example The last token first
 * ```ts
 * import { gatherTokens } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [5, 6, 7], shape: [1, 3, 1, 1] };
 *
 * const { data } = gatherTokens(x, { data: [2, 0, -1], shape: [1, 3] });
 *
 * assertEquals(data, Float64Array.of(7, 5, 0));
 * ```
 */
export function gatherTokens(x: ReferenceTensor, indices: ReferenceTensor): Float64Tensor {
  const [batch, length, heads, dim] = x.shape;
  const places = indices.shape[1];
  const data = new Float64Array(batch * places * heads * dim);
  for (let row = 0; row < batch * places * heads; row++) {
    const [b, h] = [Math.floor(row / (places * heads)), row % heads];
    const index = indices.data[indices.shape.length === 3 ? row : Math.floor(row / heads)];
    if (index < 0 || index >= length) continue;
    const token = (b * length + index) * heads + h;
    for (let d = 0; d < dim; d++) data[row * dim + d] = x.data[token * dim + d];
  }
  return { data, shape: [batch, places, heads, dim] };
}

/**
 * Puts tokens where indices name, the inverse of {@linkcode gatherTokens} for a permutation; what no
 * index names is 0, and of several that name one token the last counts.
 *
 * @param x The tokens, `[B, M, H, D]`.
 * @param indices `[B, M]`, or `[B, M, H]` where heads have their own.
 * @param options How many tokens there are.
 * @returns `[B, length, H, D]`.
 *
 * @example Two of three tokens
 * ```ts
 * import { scatterTokens } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [5, 6], shape: [1, 2, 1, 1] };
 *
 * const { data } = scatterTokens(x, { data: [2, 0], shape: [1, 2] }, { length: 3 });
 *
 * assertEquals(data, Float64Array.of(6, 0, 5));
 * ```
 */
export function scatterTokens(
  x: ReferenceTensor,
  indices: ReferenceTensor,
  { length }: { length: number },
): Float64Tensor {
  const [batch, places, heads, dim] = x.shape;
  const data = new Float64Array(batch * length * heads * dim);
  for (let row = 0; row < batch * places * heads; row++) {
    const [b, h] = [Math.floor(row / (places * heads)), row % heads];
    const index = indices.data[indices.shape.length === 3 ? row : Math.floor(row / heads)];
    if (index < 0 || index >= length) continue;
    const token = (b * length + index) * heads + h;
    for (let d = 0; d < dim; d++) data[token * dim + d] = x.data[row * dim + d];
  }
  return { data, shape: [batch, length, heads, dim] };
}
