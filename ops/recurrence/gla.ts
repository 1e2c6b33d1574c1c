import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** Options of {@linkcode gla}. */
export interface GlaOptions extends StateOptions {
  /** Log decay of the value channels, `[B, T, HV, V]`. */
  gv?: Tensor;
}

type Names = "q" | "k" | "v" | "g";

const SIMPLE: StateFamily<Names> = {
  name: "simpleGla",
  action: "compute simple gated linear attention",
  gates: ["head", "token"],
  form: ({ g }) => ({ options: { g } }),
};
const GATED: StateFamily<Names, Pick<GlaOptions, "gv">> = {
  name: "gla",
  action: "compute gated linear attention",
  gates: ["channel"],
  ...{ options: ["gv"], tensors: ["gv"] },
  form: ({ g }, { gv }) => ({ options: { g, ...(gv && { gv }) } }),
};

/**
 * Simple gated linear attention: S_t = e^(g_t) S_{t-1} + k_tᵀ v_t and o_t = scale · q_t S_t.
 *
 * One gate for each token and head (Yang et al., flash-linear-attention; the gate of Mamba-2's SSD and
 * of RFA). A gate is the natural logarithm of a decay: 0 keeps the state, −∞ clears it, more than 0 lets
 * it grow. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV]`, f32 or f16; also `[HV]` for constants
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function simpleGla<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(SIMPLE, { q, k, v, g }, options);
}

/**
 * The next token of `simpleGla`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function simpleGlaStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(SIMPLE, state, { q, k, v, g }, options);
}

/**
 * Gated linear attention (Yang et al., "Gated Linear Attention Transformers", 2023):
 * S_t = diag(e^(g_t)) S_{t-1} diag(e^(gv_t)) + k_tᵀ v_t and o_t = scale · q_t S_t.
 *
 * One gate for each token, head and key channel, natural logarithms of decays (the paper's layer takes
 * logsigmoid(x) / 16). Strong gates, mixtures and resets are exact: no exponent is ever positive.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV, K]`, f32 or f16
 * @param options gv, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function gla<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  options: GlaOptions = {},
): StateResult<T> {
  return runFamily(GATED, { q, k, v, g }, options);
}

/**
 * The next token of `gla`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV, K]`
 * @param options gv `[B, 1, HV, V]`, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function glaStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  options: StepOptions & Pick<GlaOptions, "gv"> = {},
): Tensor<T> {
  return stepFamily(GATED, state, { q, k, v, g }, options);
}
