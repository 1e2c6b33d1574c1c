import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

const RWKV6: StateFamily<"r" | "k" | "v" | "w" | "u"> = {
  name: "rwkv6",
  action: "compute RWKV-6",
  names: { q: "r", g: "w" },
  gates: ["channel"],
  form: ({ w, u }) => ({ options: { g: w, u } }),
};

/**
 * RWKV-6, "Finch" (Peng et al., "Eagle and Finch", 2024): a token reads the state before its write, with
 * a bonus for its own key: o_t = scale · r_t (S_{t-1} + diag(u) k_tᵀ v_t), then
 * S_t = diag(e^(w_t)) S_{t-1} + k_tᵀ v_t.
 *
 * w is the log decay itself, −e^x in the paper's layer. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of r, k and v
 * @param r `[B, T, HQ, K]`, the receptance
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param w `[B, T, HV, K]`, f32 or f16
 * @param u `[H, K]`, f32 or f16
 * @param options scale (default K^-1/2; the paper's layer has 1), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function rwkv6<T extends "f32" | "f16">(
  r: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  w: Tensor,
  u: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(RWKV6, { r, k, v, w, u }, options);
}

/**
 * The next token of `rwkv6`, in place.
 *
 * @typeParam T storage of r, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param r `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param w `[B, 1, HV, K]`
 * @param u `[H, K]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function rwkv6Step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  r: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  w: Tensor,
  u: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(RWKV6, state, { r, k, v, w, u }, options);
}
