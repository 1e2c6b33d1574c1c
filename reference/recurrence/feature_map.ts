import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";

/**
 * The feature maps φ of linear attention, with x of D channels:
 *
 * - `"identity"`: x;
 * - `"elu1"`: elu(x) + 1, which is x + 1 above 0 and exp(x) below;
 * - `"relu"`: max(x, 0);
 * - `"exp"`: exp(x);
 * - `"taylor2"`: 1, x_i / D^1/4, x_i² / √(2D), x_i x_j / √D for i < j, in this order, 1 + D + D(D+1)/2
 *   features in all: φ(x) · φ(y) = 1 + s + s²/2, s = x · y / √D;
 * - `"hedgehog"`: softmax([2y, -2y]) of y = W x, twice as many features as y has channels.
 */
export type FeatureMap = "identity" | "elu1" | "relu" | "exp" | "taylor2" | "hedgehog";

/** Options about the feature map. */
export interface FeatureMapOptions {
  /**
   * The feature map of queries and keys.
   *
   * @default {"identity"}
   */
  featureMap?: FeatureMap;
  /**
   * W of `"hedgehog"`: `[F, D]` for all heads, `[H, F, D]` for each, or `[2, H, F, D]`, first for the
   * queries, then for the keys. With D + 1 columns the last one is added as a bias. The unit matrix by
   * default. Queries or keys of HX heads use weights floor(h H / HX).
   *
   * @default {undefined}
   */
  hedgehogWeights?: ReferenceTensor;
}

/** φ of the queries or keys `[B, T, H, D]`, `[B, T, H, K']`. */
export function applyFeatureMap(
  x: ReferenceTensor,
  side: "q" | "k",
  { featureMap = "identity", hedgehogWeights }: FeatureMapOptions,
): Float64Tensor {
  const [heads, dim] = x.shape.slice(-2);
  const data = Float64Array.from(x.data);
  const features = Array.from({ length: data.length / dim }, (_, row) => {
    const xs = data.subarray(row * dim, (row + 1) * dim);
    const W = featureMap === "hedgehog" && hedgehogWeights &&
      weightsOf(hedgehogWeights, side, row % heads, heads);
    return φ(featureMap, xs, W || undefined);
  });
  const width = featureDim(dim, featureMap, hedgehogWeights);
  return { data: Float64Array.from(features.flat()), shape: [...x.shape.slice(0, -1), width] };
}

/** How many features φ has. */
function featureDim(dim: number, featureMap: FeatureMap, weights?: ReferenceTensor): number {
  if (featureMap === "taylor2") return 1 + dim + dim * (dim + 1) / 2;
  if (featureMap === "hedgehog") return 2 * (weights?.shape.at(-2) ?? dim);
  return dim;
}

/** φ of one row. */
function φ(featureMap: FeatureMap, x: Float64Array, W?: number[][]): number[] {
  switch (featureMap) {
    case "identity":
      return [...x];
    case "elu1":
      return Array.from(x, (x_i) => x_i > 0 ? x_i + 1 : Math.exp(x_i));
    case "relu":
      return Array.from(x, (x_i) => Math.max(x_i, 0));
    case "exp":
      return Array.from(x, Math.exp);
    case "taylor2":
      return taylor2(x, x.length ** -0.5);
    case "hedgehog":
      return hedgehog(x, W);
  }
}

/** The features with φ(x) · φ(y) = 1 + s + s²/2, s = scale x · y. */
export function taylor2(x: Float64Array, scale: number): number[] {
  const linear = Array.from(x, (x_i) => x_i * Math.sqrt(scale));
  const squares = linear.map((x_i) => x_i * x_i / Math.SQRT2);
  const products = linear.flatMap((x_i, i) => linear.slice(i + 1).map((x_j) => x_i * x_j));
  return [1, ...linear, ...squares, ...products];
}

/** softmax([2y, -2y]), y = W x. */
function hedgehog(x: Float64Array, W?: number[][]): number[] {
  const y = W
    ? W.map((row) => row.reduce((sum, weight, d) => sum + weight * (d < x.length ? x[d] : 1), 0))
    : [...x];
  const s = [...y.map((y_i) => 2 * y_i), ...y.map((y_i) => -2 * y_i)];
  const m = Math.max(...s);
  const l = s.reduce((sum, s_i) => sum + Math.exp(s_i - m), 0);
  return s.map((s_i) => Math.exp(s_i - m) / l);
}

/** The rows of W for head h of `heads`. */
function weightsOf(
  { data, shape }: ReferenceTensor,
  side: "q" | "k",
  h: number,
  heads: number,
): number[][] {
  const [rows, columns] = shape.slice(-2);
  const own = shape.length > 2 ? shape[shape.length - 3] : 1;
  const matrix = Math.floor(h * own / heads) + (shape.length > 3 && side === "k" ? own : 0);
  return Array.from({ length: rows }, (_, row) => {
    const start = (matrix * rows + row) * columns;
    return Array.from({ length: columns }, (_, column) => data[start + column]);
  });
}
