import type { ReferenceTensor } from "../tensor.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";

/**
 * The recurrence whose transition is diagonal plus low rank, flash-linear-attention's DPLR:
 * S_t = (diag(exp(g_t)) + b_tᵀ a_t) S_{t-1} + k_tᵀ v_t and o_t = scale q_t S_t.
 *
 * a reads the state before the decay. The state stays bounded only where b points away from a, as in
 * b = -β a; nothing checks that. The default scale is K^-1/2. Heads are grouped as in
 * {@linkcode recurrence}; gates of 0 make it the identity plus low rank, IPLR.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param a What reads the state, `[B, T, HK, K]` or `[B, T, HV, K]`.
 * @param b What the reading is written with, `[B, T, HK, K]` or `[B, T, HV, K]`.
 * @param g The gates, natural logarithms of decays, `[B, T, HV, K]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Half is kept, a quarter taken away
 * ```ts
 * import { dplr } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const b = { data: [-0.25, -0.25], shape };
 * const g = { data: [0, -Math.LN2], shape };
 *
 * const { out } = dplr(ones, ones, { data: [8, 1], shape }, ones, b, g);
 *
 * assertAlmostEquals(out.data[1], 4 - 2 + 1);
 * ```
 */
export function dplr(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  a: ReferenceTensor,
  b: ReferenceTensor,
  g: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  return plain(q, k, v, { ...options, a, b, g });
}

/** Options for {@linkcode rwkv7}. */
export interface Rwkv7Options extends StateOptions {
  /**
   * The factor of the read-out.
   *
   * @default {1}
   */
  scale?: number;
}

/**
 * RWKV-7 (Peng et al., RWKV-7 "Goose" with Expressive Dynamic State Evolution, 2025): S_t =
 * (diag(exp(w_t)) + b_tᵀ a_t) S_{t-1} + k_tᵀ v_t and o_t = scale r_t S_t, {@linkcode dplr} with the
 * names of the paper.
 *
 * w is the natural logarithm of the decay. The paper's layer has w = -exp(-1/2) sigmoid(x) and, with the
 * removal key κ of length 1 and the rate α, a = -κ and b = κ ⊙ α. The default scale is 1. Heads are
 * grouped as in {@linkcode recurrence}.
 *
 * @param r The receptances, `[B, T, HQ, K]`.
 * @param w The gates, `[B, T, HV, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param a What reads the state, `[B, T, HK, K]` or `[B, T, HV, K]`.
 * @param b What the reading is written with, `[B, T, HK, K]` or `[B, T, HV, K]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example A removal key that takes half
 * ```ts
 * import { rwkv7 } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const zeros = { data: [0, 0], shape };
 * const a = { data: [-1, -1], shape };
 * const b = { data: [0.5, 0.5], shape };
 *
 * const { out } = rwkv7(ones, zeros, ones, { data: [8, 1], shape }, a, b);
 *
 * assertAlmostEquals(out.data[1], 8 - 4 + 1);
 * ```
 */
export function rwkv7(
  r: ReferenceTensor,
  w: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  a: ReferenceTensor,
  b: ReferenceTensor,
  options: Rwkv7Options = {},
): StateResult {
  return plain(r, k, v, { scale: 1, ...options, a, b, g: w });
}
