import type { ReferenceTensor } from "../tensor.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";

/**
 * Retention (Sun et al., Retentive Network, 2023): S_t = γ_s S_{t-1} + k_tᵀ v_t and
 * o_t = scale q_t S_t, with γ_s = 1 - 2^(-5-s) for state head s.
 *
 * The decays are constants: g_s = log γ_s. The default scale is K^-1/2. Heads are grouped as in
 * {@linkcode recurrence}; rotation, group norm and gate of the paper's layer are left to the caller.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example The first head keeps 31/32 of its state
 * ```ts
 * import { retention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 *
 * const { out } = retention(ones, ones, { data: [32, 1], shape });
 *
 * assertAlmostEquals(out.data[1], 31 + 1);
 * ```
 */
export function retention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  const heads = v.shape[2];
  const g = Array.from({ length: heads }, (_, s) => Math.log1p(-(2 ** (-5 - s))));
  return plain(q, k, v, { ...options, g: { data: g, shape: [heads] } });
}

/**
 * Simple gated linear attention (flash-linear-attention's simple GLA; the form of RetNet, Mamba-2 and
 * Gated RetNet): S_t = exp(g_t) S_{t-1} + k_tᵀ v_t and o_t = scale q_t S_t, g_t a number for each token
 * and state head.
 *
 * g is the natural logarithm of the decay, no more than 0. The default scale is K^-1/2. Heads are
 * grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates, `[B, T, HV]`, or `[HV]` where all tokens have the same.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example The second token halves the state, the third clears it
 * ```ts
 * import { simpleGla } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const ones = { data: [1, 1, 1], shape };
 * const g = { data: [0, -Math.LN2, -Infinity], shape: [1, 3, 1] };
 *
 * const { out } = simpleGla(ones, ones, { data: [8, 1, 2], shape }, g);
 *
 * [8, 5, 2].forEach((o, t) => assertAlmostEquals(out.data[t], o));
 * ```
 */
export function simpleGla(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  return plain(q, k, v, { ...options, g });
}

/** Options for {@linkcode gla}. */
export interface GlaOptions extends StateOptions {
  /**
   * The gates of the value channels, natural logarithms, `[B, T, HV, V]`.
   *
   * @default {undefined}
   */
  gv?: ReferenceTensor;
}

/**
 * Gated linear attention (Yang et al., Gated Linear Attention Transformers with Hardware-Efficient
 * Training, 2023): S_t = diag(exp(g_t)) S_{t-1} diag(exp(gv_t)) + k_tᵀ v_t and o_t = scale q_t S_t.
 *
 * g and gv are natural logarithms of decays, no more than 0; the paper's layer has
 * g = logsigmoid(x) / 16 and no gv. The default scale is K^-1/2. Heads are grouped as in
 * {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates of the key channels, `[B, T, HV, K]`.
 * @param options The gates of the value channels, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example One channel is kept, the other one cleared
 * ```ts
 * import { gla } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 2];
 * const ones = { data: [1, 1, 1, 1], shape };
 * const v = { data: [8, 1], shape: [1, 2, 1, 1] };
 * const g = { data: [0, 0, 0, -Infinity], shape };
 *
 * const { out } = gla(ones, ones, v, g, { scale: 1 });
 *
 * assertAlmostEquals(out.data[1], (8 + 1) + 1);
 * ```
 */
export function gla(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  options: GlaOptions = {},
): StateResult {
  return plain(q, k, v, { ...options, g });
}

/**
 * RWKV-6 (Peng et al., Eagle and Finch, 2024): o_t = scale r_t (S_{t-1} + diag(u) k_tᵀ v_t), then
 * S_t = diag(exp(w_t)) S_{t-1} + k_tᵀ v_t. A token reads the state before it writes, and its own value
 * through the bonus u.
 *
 * w is the natural logarithm of the decay, below 0: the paper's -exp(x), taken by the caller as in
 * flash-linear-attention. The default scale is K^-1/2; the paper's layer has 1. Heads are grouped as
 * in {@linkcode recurrence}.
 *
 * @param r The receptances, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param w The gates, `[B, T, HV, K]`.
 * @param u The bonus, `[HK, K]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example The decay of a token is not seen by its own output
 * ```ts
 * import { rwkv6 } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const w = { data: [-1, -1e30], shape };
 *
 * const { out } = rwkv6(ones, ones, { data: [8, 1], shape }, w, { data: [3], shape: [1, 1] });
 *
 * assertAlmostEquals(out.data[0], 3 * 8);
 * assertAlmostEquals(out.data[1], 8 + 3 * 1);
 * ```
 */
export function rwkv6(
  r: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  w: ReferenceTensor,
  u: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  return plain(r, k, v, { ...options, g: w, u });
}
