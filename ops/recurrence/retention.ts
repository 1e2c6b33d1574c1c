import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** g_h = log(1 − 2^(−5 − h)). */
function gates(v: Tensor): number[] {
  return Array.from({ length: v.shape[2] }, (_, h) => Math.log1p(-(2 ** (-5 - h))));
}

const RETENTION: StateFamily<"q" | "k" | "v"> = {
  name: "retention",
  action: "compute retention",
  form: ({ v }) => ({ headGates: gates(v) }),
};

/**
 * Retention (Sun et al., "Retentive Network", 2023): S_t = γ_h S_{t-1} + k_tᵀ v_t, o_t = scale · q_t S_t.
 *
 * The decays are constants, γ_h = 1 − 2^(−5 − h) for state head h. Heads are grouped as in
 * `recurrence`; the paper's rotation of q and k, normalisation and gate are the caller's.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function retention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(RETENTION, { q, k, v }, options);
}

/**
 * The next token of `retention`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function retentionStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(RETENTION, state, { q, k, v }, options);
}
