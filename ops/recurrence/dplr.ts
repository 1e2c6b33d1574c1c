import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

const DPLR: StateFamily<"q" | "k" | "v" | "a" | "b" | "g"> = {
  name: "dplr",
  action: "compute a diagonal plus low-rank recurrence",
  gates: ["channel"],
  form: ({ a, b, g }) => ({ options: { a, b, g } }),
};
const RWKV7: StateFamily<"r" | "w" | "k" | "v" | "a" | "b"> = {
  name: "rwkv7",
  action: "compute RWKV-7",
  names: { q: "r", g: "w" },
  gates: ["channel"],
  scale: 1,
  form: ({ a, b, w }) => ({ options: { a, b, g: w } }),
};

/**
 * A diagonal plus low-rank recurrence (as flash-linear-attention has it):
 * S_t = diag(e^(g_t)) S_{t-1} + b_tᵀ (a_t S_{t-1}) + k_tᵀ v_t and o_t = scale · q_t S_t.
 *
 * The state contracts only where b is opposite to a; nothing checks it. Heads are grouped as in
 * `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param a `[B, T, HK, K]` or `[B, T, HV, K]`, f32 or f16
 * @param b `[B, T, HK, K]` or `[B, T, HV, K]`, f32 or f16
 * @param g `[B, T, HV, K]`, f32 or f16
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function dplr<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  a: Tensor,
  b: Tensor,
  g: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(DPLR, { q, k, v, a, b, g }, options);
}

/**
 * The next token of `dplr`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param a `[B, 1, HK, K]` or `[B, 1, HV, K]`
 * @param b `[B, 1, HK, K]` or `[B, 1, HV, K]`
 * @param g `[B, 1, HV, K]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function dplrStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  a: Tensor,
  b: Tensor,
  g: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(DPLR, state, { q, k, v, a, b, g }, options);
}

/**
 * RWKV-7, "Goose" (Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution", 2025):
 * S_t = diag(e^(w_t)) S_{t-1} + b_tᵀ (a_t S_{t-1}) + k_tᵀ v_t and o_t = scale · r_t S_t.
 *
 * w is the log decay itself; the paper's layer has a = −κ̂ and b = κ̂ times a rate, κ̂ of length 1. Heads
 * are grouped as in `recurrence`.
 *
 * @typeParam T storage of r, k and v
 * @param r `[B, T, HQ, K]`, the receptance
 * @param w `[B, T, HV, K]`, f32 or f16
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param a `[B, T, HK, K]` or `[B, T, HV, K]`, f32 or f16
 * @param b `[B, T, HK, K]` or `[B, T, HV, K]`, f32 or f16
 * @param options scale (default 1), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function rwkv7<T extends "f32" | "f16">(
  r: Tensor<T>,
  w: Tensor,
  k: Tensor<T>,
  v: Tensor<T>,
  a: Tensor,
  b: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(RWKV7, { r, w, k, v, a, b }, options);
}

/**
 * The next token of `rwkv7`, in place.
 *
 * @typeParam T storage of r, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param r `[B, 1, HQ, K]`
 * @param w `[B, 1, HV, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param a `[B, 1, HK, K]` or `[B, 1, HV, K]`
 * @param b `[B, 1, HK, K]` or `[B, 1, HV, K]`
 * @param options scale (default 1), layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function rwkv7Step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  r: Tensor<T>,
  w: Tensor,
  k: Tensor<T>,
  v: Tensor<T>,
  a: Tensor,
  b: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(RWKV7, state, { r, w, k, v, a, b }, options);
}
