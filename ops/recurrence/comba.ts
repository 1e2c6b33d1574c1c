import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** What is erased is read before the decay. */
const COMBA: StateFamily<"q" | "k" | "v" | "p" | "g" | "beta"> = {
  name: "comba",
  action: "compute Comba",
  gates: ["token"],
  form: ({ p, g, beta }) => ({ options: { p, g, beta }, set: { erase: "early" } }),
};

/**
 * Comba (Hu et al., "Comba: Improving Bilinear RNNs with Closed-loop Control", 2025), as
 * flash-linear-attention computes it: the delta rule with a key p of its own for what is erased, which reads
 * before the decay: S_t = e^(g_t) S_{t-1} + β_t k_tᵀ (v_t − p_t S_{t-1}) and o_t = scale · q_t S_t.
 *
 * Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param p `[B, T, HK, K]` or `[B, T, HV, K]`, f32 or f16
 * @param g `[B, T, HV]`, f32 or f16
 * @param beta `[B, T, HV]`, f32 or f16
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function comba<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  p: Tensor,
  g: Tensor,
  beta: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(COMBA, { q, k, v, p, g, beta }, options);
}

/**
 * The next token of `comba`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param p `[B, 1, HK, K]` or `[B, 1, HV, K]`
 * @param g `[B, 1, HV]`
 * @param beta `[B, 1, HV]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function combaStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  p: Tensor,
  g: Tensor,
  beta: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(COMBA, state, { q, k, v, p, g, beta }, options);
}
