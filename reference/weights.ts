/** A weight function of the caller's own. */
export interface WeightFunction {
  /** The weight of a score; it is not asked about hidden keys, which weigh 0. */
  weight: (s: number) => number;
  /** Whether a row's weights are divided by their sum; they must not be negative then. */
  normalize: boolean;
}

/**
 * What the scores s_ij of a row become. Hidden keys weigh 0.
 *
 * - `"softmax"`: exp(s_ij) / (exp(sink) + Σ_j exp(s_ij)).
 * - `"sigmoid"`: 1 / (1 + exp(-s_ij)), not divided (FlashSigmoid).
 * - `"softplus"`, `"relu"`, `"elu1"`: log(1 + exp(s)), max(s, 0) and elu(s) + 1, divided by the row's
 *   sum; all 0 where the sum is 0.
 * - `"none"`: the score itself, not divided.
 * - `"stickBreaking"`: σ(s_ij) Π_k (1 - σ(s_ik)) over the visible keys k > j: the last key breaks off
 *   its share first (Tan et al., Stick-breaking Attention, 2024).
 * - A function of the caller's own.
 */
export type AttentionWeight =
  | "softmax"
  | "sigmoid"
  | "softplus"
  | "relu"
  | "elu1"
  | "none"
  | "stickBreaking"
  | WeightFunction;

/** The weights that look at one score at a time. */
const FUNCTIONS: Record<"sigmoid" | "softplus" | "relu" | "elu1" | "none", WeightFunction> = {
  sigmoid: { weight: (s) => 1 / (1 + Math.exp(-s)), normalize: false },
  softplus: { weight: softplus, normalize: true },
  relu: { weight: (s) => Math.max(s, 0), normalize: true },
  elu1: { weight: (s) => s > 0 ? s + 1 : Math.exp(s), normalize: true },
  none: { weight: (s) => s, normalize: false },
};

/** What a row keeps beside its output so that it can be merged; null where outputs just add. */
export function auxOf(weight: AttentionWeight): "lse" | "sum" | "remainder" | null {
  if (weight === "softmax") return "lse";
  if (weight === "stickBreaking") return "remainder";
  return functionOf(weight).normalize ? "sum" : null;
}

/**
 * Makes the weights of a row of its scores, in place.
 *
 * @returns The row's auxiliary number; NaN where {@linkcode auxOf} says that it has none.
 */
export function weigh(s: Float64Array, weight: AttentionWeight, sink: number): number {
  if (weight === "softmax") return softmax(s, sink);
  if (weight === "stickBreaking") return breakStick(s);
  return applyFunction(s, functionOf(weight));
}

function functionOf(weight: keyof typeof FUNCTIONS | WeightFunction): WeightFunction {
  return typeof weight === "string" ? FUNCTIONS[weight] : weight;
}

/** Returns the logarithm of the denominator; -Infinity where there is neither key nor sink. */
function softmax(s: Float64Array, sink: number): number {
  let m = sink;
  for (const score of s) m = Math.max(m, score);
  if (m === -Infinity) {
    s.fill(0);
    return m;
  }
  let l = Math.exp(sink - m);
  for (const score of s) l += Math.exp(score - m);
  for (let j = 0; j < s.length; j++) s[j] = Math.exp(s[j] - m) / l;
  return m + Math.log(l);
}

/** Returns the logarithm of what is left of the stick. */
function breakStick(s: Float64Array): number {
  let remainder = 0;
  for (let j = s.length - 1; j >= 0; j--) {
    const z = s[j];
    s[j] = Math.exp(remainder - softplus(-z)); // log σ(z) = -softplus(-z)
    remainder -= softplus(z); // log(1 - σ(z)) = -softplus(z)
  }
  return remainder;
}

/** Returns the sum of the weights where they are divided by it. */
function applyFunction(s: Float64Array, { weight, normalize }: WeightFunction): number {
  let sum = 0;
  for (let j = 0; j < s.length; j++) {
    s[j] = s[j] === -Infinity ? 0 : weight(s[j]);
    sum += s[j];
  }
  if (!normalize) return NaN;
  for (let j = 0; j < s.length; j++) s[j] = sum === 0 ? 0 : s[j] / sum;
  return sum;
}

/** log(1 + exp(x)) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}
