/**
 * A dense array of numbers in row-major order, as the oracles read it.
 *
 * @example A 2 x 3 matrix
 * ```ts
 * import type { ReferenceTensor } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x: ReferenceTensor = { data: [1, 2, 3, 4, 5, 6], shape: [2, 3] };
 *
 * assertEquals(x.data.length, x.shape[0] * x.shape[1]);
 * ```
 */
export interface ReferenceTensor {
  /** The elements, last axis fastest: a typed array or a plain array. */
  data: ArrayLike<number>;
  /** The size of every axis. */
  shape: readonly number[];
}

/**
 * What the oracles return: a tensor in double precision.
 *
 * @example Zeros
 * ```ts
 * import type { Float64Tensor } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const zeros: Float64Tensor = { data: new Float64Array(6), shape: [2, 3] };
 *
 * assertEquals(zeros.data[5], 0);
 * ```
 */
export interface Float64Tensor extends ReferenceTensor {
  /** The elements, last axis fastest. */
  data: Float64Array;
}

/**
 * What the oracles return where they choose: indices and counts.
 *
 * @example The places of two keys, and no third
 * ```ts
 * import type { Int32Tensor } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const indices: Int32Tensor = { data: Int32Array.of(4, 0, -1), shape: [1, 3] };
 *
 * assertEquals(indices.data[2], -1);
 * ```
 */
export interface Int32Tensor extends ReferenceTensor {
  /** The elements, last axis fastest. */
  data: Int32Array;
}
