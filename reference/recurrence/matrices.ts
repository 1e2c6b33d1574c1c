/** x S, `[V]`, of a row `[K]` and a matrix K x V. */
export function rowTimes(x: Float64Array, S: Float64Array): Float64Array {
  const width = S.length / x.length;
  const product = new Float64Array(width);
  for (let d = 0; d < x.length; d++) {
    for (let e = 0; e < width; e++) product[e] += x[d] * S[d * width + e];
  }
  return product;
}

/** S <- S + factor xᵀ y. */
export function addOuter(S: Float64Array, x: Float64Array, y: Float64Array, factor = 1): void {
  for (let d = 0; d < x.length; d++) {
    for (let e = 0; e < y.length; e++) S[d * y.length + e] += factor * x[d] * y[e];
  }
}

/** S <- factor S, also of rows. */
export function scaleBy(S: Float64Array, factor: number): void {
  for (let i = 0; i < S.length; i++) S[i] *= factor;
}

/** x · y. */
export function dot(x: Float64Array, y: Float64Array): number {
  return x.reduce((sum, x_d, d) => sum + x_d * y[d], 0);
}
