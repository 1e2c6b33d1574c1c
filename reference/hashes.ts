import type { Int32Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode hashTokens}. */
export interface HashTokensOptions {
  /**
   * What of the products x·p_r with R planes is the code: the place of their R signs on a walk that
   * changes one of them at a time, or which of the 2R directions p_r and -p_r has the largest.
   *
   * @default {"hyperplane"}
   */
  kind?: "hyperplane" | "crossPolytope";
}

/**
 * Codes of tokens that are likely equal, or neighbours, where tokens point the same way.
 *
 * @param x The tokens, `[B, T, H, D]`.
 * @param planes The planes' normals p, `[B or 1, R, H or 1, D]`.
 * @param options What is the code.
 * @returns The codes, `[B, T, H]`, from 0 to 2^R - 1, or to 2R - 1.
 *
 * @example Around the four quadrants
 * ```ts
 * import { hashTokens } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [-1, -1, 1, -1, 1, 1, -1, 1], shape: [1, 4, 1, 2] };
 * const planes = { data: [1, 0, 0, 1], shape: [1, 2, 1, 2] };
 *
 * assertEquals(hashTokens(x, planes).data, Int32Array.of(0, 1, 2, 3));
 * ```
 */
export function hashTokens(
  x: ReferenceTensor,
  planes: ReferenceTensor,
  { kind = "hyperplane" }: HashTokensOptions = {},
): Int32Tensor {
  const [batch, length, heads, dim] = x.shape;
  const [planeBatch, count, planeHeads] = planes.shape;
  const data = new Int32Array(batch * length * heads);
  for (let row = 0; row < data.length; row++) {
    const [b, h] = [Math.floor(row / (length * heads)), row % heads];
    const products = Array.from({ length: count }, (_, r) => {
      const plane = ((b % planeBatch * count + r) * planeHeads + h % planeHeads) * dim;
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += x.data[row * dim + d] * planes.data[plane + d];
      return sum;
    });
    data[row] = kind === "hyperplane" ? placeOfSigns(products) : largestDirection(products);
  }
  return { data, shape: [batch, length, heads] };
}

/** Where a walk that changes one sign at a time (a Gray code) has these signs, the first the lowest. */
function placeOfSigns(products: readonly number[]): number {
  let [place, odd] = [0, 0];
  for (const product of products.toReversed()) {
    odd ^= Number(product > 0);
    place = 2 * place + odd;
  }
  return place;
}

/** Which of the products, then of their negatives, is the largest; of equals the first. */
function largestDirection(products: readonly number[]): number {
  const all = [...products, ...products.map((product) => -product)];
  return all.indexOf(Math.max(...all));
}
