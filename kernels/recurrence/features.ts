/** φ: what is applied to queries and keys when they are loaded. */
export type FeatureMap =
  | "identity"
  | "elu1"
  | "relu"
  | "exp"
  | "taylor2" // 1, x_i, x_i² / √2 and x_i x_j for i < j
  | "stored" // features that were computed before, STORED times too large, so that f16 keeps small ones
  | "one"; // the constant 1, once

/** By how much stored features are too large. */
export const STORED: number = 2 ** 15;

/** How many features φ makes of a row of `dim` channels. */
export function featureDim(featureMap: FeatureMap, dim: number): number {
  if (featureMap === "taylor2") return 1 + dim + dim * (dim + 1) / 2;
  return featureMap === "one" ? 1 : dim;
}

/** `feature(x)` of a channel, where φ works channel by channel, as WGSL. */
export function featureCode(featureMap: FeatureMap): string {
  const features: Readonly<Record<FeatureMap, string>> = {
    identity: "x",
    elu1: "select(exp2(LOG2E * min(x, 0.0)), x + 1.0, x > 0.0)",
    relu: "max(x, 0.0)",
    exp: "exp2(LOG2E * x)",
    taylor2: "x",
    stored: `x / ${STORED}.0`,
    one: "1.0",
  };
  return `fn feature(x: f32) -> f32 { return ${features[featureMap]}; }`;
}

/** One feature of `"taylor2"`: a product of two channels, of which number `dim` is the constant 1. */
export interface TaylorTerm {
  readonly i: number;
  readonly j: number;
  /** Whether it is divided by √2. */
  readonly square: boolean;
}

/** The second-order Taylor series of exp: φ(x) · φ(y) = 1 + x · y + (x · y)² / 2. */
function taylorTerms(dim: number): TaylorTerm[] {
  const channels = Array.from({ length: dim }, (_, i) => i);
  const term = (i: number, j: number): TaylorTerm => ({ i, j, square: i === j && i < dim });
  return [
    term(dim, dim),
    ...channels.map((i) => term(i, dim)),
    ...channels.map((i) => term(i, i)),
    ...channels.flatMap((i) => channels.slice(i + 1).map((j) => term(i, j))),
  ];
}

/** The features of four terms after another as `vec4f`, of channels that `channel` spells. */
export function taylorVectors(dim: number, channel: (i: number) => string): string[] {
  const spell = ({ i, j, square }: TaylorTerm): string => {
    const factors = [i, j].filter((c) => c < dim).map(channel);
    return [...factors, ...(square ? ["INV_SQRT2"] : [])].join(" * ") || "1.0";
  };
  const terms = taylorTerms(dim).map(spell);
  return Array.from({ length: Math.ceil(terms.length / 4) }, (_, d) => {
    const four = [0, 1, 2, 3].map((x) => terms[4 * d + x] ?? "0.0");
    return `vec4f(${four.join(", ")})`;
  });
}
