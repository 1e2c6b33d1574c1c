import type { Tensor } from "../../gpu/tensor.ts";
import type { AttentionOptions } from "../attention/problem.ts";

/** A result over some of the keys, as `attention(…, { lse: true })` returns it. */
export interface AttentionPart<T extends "f32" | "f16" = "f32" | "f16"> {
  /** `[…, H, Dv]`: what these keys alone give. */
  readonly out: Tensor<T>;
  /** `[…, H]`, f32: natural logarithm of the sum of their exponentiated scores. */
  readonly lse: Tensor<"f32">;
}

/** A result over some of the keys with any weights, as `attention(…, { aux: true })` returns it. */
export interface WeighedPart<T extends "f32" | "f16" = "f32" | "f16"> {
  /** `[…, H, Dv]`: what these keys alone give; not read where it counts 0 times. */
  readonly out: Tensor<T>;
  /** `[…, H]`, f32: the lse of softmax; where it is missing, `aux` is it. */
  readonly lse?: Tensor<"f32">;
  /** `[…, H]`, f32: what the weights keep of a row; needed unless outputs just add. */
  readonly aux?: Tensor<"f32">;
}

/** Options of {@linkcode mergeAttention}; H heads. */
export interface MergeOptions {
  /**
   * The weight of the attention that made the parts, as it was given there. How often parts count:
   *
   * - softmax: e^{lse_p − lse} times, lse = log Σ_p e^{lse_p};
   * - weights that are divided by their sum: aux_p / Σ_p aux_p times;
   * - weights that are not: once;
   * - stick-breaking: e^{Σ aux} times, over the parts before: parts go from the latest keys, the
   *   nearest, to the earliest.
   *
   * @default {"softmax"}
   */
  weight?: Exclude<AttentionOptions["weight"], undefined>;
  /**
   * A factor c_p for each part: a number, or f32 `[…, H]` or `[H]`. Alone, they are how often parts
   * count: out = Σ_p c_p out_p, without aux; no weight is asked for then.
   */
  coefficients?: readonly (number | Tensor)[];
  /**
   * Whether coefficients multiply how often parts count by their weight, as it is: of softmax
   * out = Σ_p c_p e^{lse_p − lse} out_p. lse or aux stay what they are without coefficients.
   *
   * @default {false}
   */
  masses?: boolean;
  /**
   * Whether these products are divided by their sum: of softmax out = Σ_p c_p e^{lse_p} out_p /
   * Σ_p c_p e^{lse_p}, as if log c_p were added to the scores of a part, and lse and aux are of these
   * scores. For softmax and weights that are divided by their sum; a c_p < 0 counts as 0.
   *
   * @default {false}
   */
  renormalize?: boolean;
}
