import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** Which slopes {@linkcode lightningAttention} uses. */
export interface LightningAttentionOptions extends StateOptions {
  /**
   * One for each state head, none negative: head s decays by e^(−slopes[s]).
   *
   * @default {lightningSlopes(HV, "alibi")}
   */
  slopes?: readonly number[];
}

const ACTION = "compute lightning attention";
const LIGHTNING: StateFamily<"q" | "k" | "v", Pick<LightningAttentionOptions, "slopes">> = {
  name: "lightningAttention",
  action: ACTION,
  options: ["slopes"],
  form({ v }, { slopes }) {
    const heads = v.shape[2];
    // no heads are the engine's to refuse
    const own = slopes === undefined && heads > 0 ? lightningSlopes(heads, "alibi") : slopes ?? [];
    checkSlopes(own, heads);
    return { headGates: own.map((slope) => -slope) };
  },
};

function checkSlopes(slopes: unknown, heads: number): void {
  const fits = Array.isArray(slopes) && slopes.length === heads &&
    slopes.every((slope) => typeof slope === "number" && slope >= 0 && slope < Infinity);
  if (fits) return;
  throw new RangeError(
    `Cannot ${ACTION} as slopes must be ${heads} numbers >= 0, one for each head: slopes is ${
      Array.isArray(slopes) ? `[${slopes}]` : kindOf(slopes)
    }`,
  );
}

/**
 * Lightning attention (Qin et al., "Lightning Attention-2", 2024): S_t = λ_s S_{t-1} + k_tᵀ v_t and
 * o_t = scale · q_t S_t, with the constants λ_s = e^(−slopes[s]).
 *
 * Heads are grouped as in `recurrence`; {@linkcode lightningSlopes} has the published slopes.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options slopes, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function lightningAttention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LightningAttentionOptions = {},
): StateResult<T> {
  return runFamily(LIGHTNING, { q, k, v }, options);
}

/**
 * The next token of `lightningAttention`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options slopes, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function lightningAttentionStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: StepOptions & Pick<LightningAttentionOptions, "slopes"> = {},
): Tensor<T> {
  return stepFamily(LIGHTNING, state, { q, k, v }, options);
}

/**
 * The slopes of {@linkcode lightningAttention}, one for each head.
 *
 * With a layer, counted from 0, (8 / heads)(1 − layer / layers) h for head h, as in
 * flash-linear-attention; `"alibi"` gives those of ALiBi (Press et al., 2022), 2^(−8(h + 1) / heads),
 * and for heads that are no power of two those of the power below, then every second of the one above.
 *
 * @param heads how many heads there are
 * @param rule which layer of how many, or `"alibi"`
 * @returns the slopes
 * @throws RangeError if heads or layer do not fit
 *
 * @example Both rules
 * ```ts
 * import { lightningSlopes } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * assertEquals(lightningSlopes(4, { layer: 1, layers: 2 }), [0, 1, 2, 3]);
 * assertEquals(lightningSlopes(2, "alibi"), [1 / 16, 1 / 256]);
 * ```
 */
export function lightningSlopes(
  heads: number,
  rule: { layer: number; layers: number } | "alibi",
): number[] {
  if (!Number.isSafeInteger(heads) || heads < 1) {
    throw new RangeError(`Cannot make slopes as heads must be an integer >= 1: heads is ${heads}`);
  }
  if (rule !== "alibi") {
    const { layer, layers } = rule;
    if (!(layer >= 0 && layer < layers)) {
      throw new RangeError(
        `Cannot make slopes as layer must be 0 to layers - 1: layer is ${layer}, layers is ${layers}`,
      );
    }
    return Array.from({ length: heads }, (_, h) => 8 / heads * (1 - layer / layers) * h);
  }
  const below = 2 ** Math.floor(Math.log2(heads));
  const slopes = Array.from({ length: below }, (_, h) => 2 ** (-8 * (h + 1) / below));
  for (let h = 0; h < heads - below; h++) slopes.push(2 ** (-8 * (2 * h + 1) / (2 * below)));
  return slopes;
}
