import type { ReferenceTensor } from "../tensor.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";

/** Options for {@linkcode lightningAttention}. */
export interface LightningAttentionOptions extends StateOptions {
  /**
   * The slopes, `[HV]`, none negative: state head s decays by exp(-slopes[s]). Those of ALiBi by
   * default.
   *
   * @default {lightningSlopes(HV, "alibi")}
   */
  slopes?: ReferenceTensor | readonly number[];
}

/**
 * Lightning attention (Qin et al., Various Lengths, Constant Speed, 2024; Lightning Attention-2, 2024):
 * S_t = λ_s S_{t-1} + k_tᵀ v_t and o_t = scale q_t S_t, with λ_s = exp(-slopes[s]) for state head s.
 *
 * The decays are constants: g_s = -slopes[s]; {@linkcode lightningSlopes} has the published ones. The
 * default scale is K^-1/2. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options The slopes, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example A slope that halves the state
 * ```ts
 * import { lightningAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 *
 * const { out } = lightningAttention(ones, ones, { data: [8, 1], shape }, { slopes: [Math.LN2] });
 *
 * assertAlmostEquals(out.data[1], 4 + 1);
 * ```
 */
export function lightningAttention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: LightningAttentionOptions = {},
): StateResult {
  const heads = v.shape[2];
  const { slopes = lightningSlopes(heads, "alibi") } = options;
  const g = Array.from("data" in slopes ? slopes.data : slopes, (slope) => -slope);
  return plain(q, k, v, { ...options, g: { data: g, shape: [heads] } });
}

/**
 * The slopes of {@linkcode lightningAttention}, one for each head.
 *
 * With a layer, counted from 0, they are (8 / heads) (1 - layer / layers) h for head h, as in
 * flash-linear-attention. `"alibi"` gives those of ALiBi (Press et al., 2022): 2^(-8 (h + 1) / heads)
 * where heads is a power of two; else those of the power of two below, then every second one of the
 * power above.
 *
 * @param heads How many heads there are.
 * @param rule Which layer of how many, or `"alibi"`.
 * @returns The slopes.
 *
 * @example Both rules
 * ```ts
 * import { lightningSlopes } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(lightningSlopes(4, { layer: 1, layers: 2 }), [0, 1, 2, 3]);
 * assertEquals(lightningSlopes(2, "alibi"), [1 / 16, 1 / 256]);
 * ```
 */
export function lightningSlopes(
  heads: number,
  rule: { layer: number; layers: number } | "alibi",
): number[] {
  if (rule !== "alibi") {
    const slope = 8 / heads * (1 - rule.layer / rule.layers);
    return Array.from({ length: heads }, (_, h) => slope * h);
  }
  const below = 2 ** Math.floor(Math.log2(heads));
  const slopes = Array.from({ length: below }, (_, h) => 2 ** (-8 * (h + 1) / below));
  for (let h = 0; h < heads - below; h++) slopes.push(2 ** (-8 * (2 * h + 1) / (2 * below)));
  return slopes;
}
