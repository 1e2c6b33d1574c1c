import type { ReferenceTensor } from "../tensor.ts";
import { decayGates, deltaEngine } from "./delta_gates.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";
import { perStateHead } from "./sequences.ts";
import { mapTensor } from "./tensors.ts";

/** Options for {@linkcode kda}. */
export interface KdaOptions extends StateOptions {
  /**
   * Whether each query and key x is first divided by √(Σ x² + 1e-6).
   *
   * @default {false}
   */
  qkL2norm?: boolean;
  /**
   * With it g is what comes before the gate, -exp(aLog) softplus(g + dtBias), `[HV]`.
   *
   * @default {undefined}
   */
  aLog?: ReferenceTensor;
  /**
   * Added to g, `[HV, K]`; needs `aLog`.
   *
   * @default {undefined}
   */
  dtBias?: ReferenceTensor;
  /**
   * With it the gate is lowerBound sigmoid(exp(aLog) (g + dtBias)): below 0, -5 advised; needs `aLog`.
   *
   * @default {undefined}
   */
  lowerBound?: number;
}

/**
 * Kimi delta attention (Kimi Team, Kimi Linear, 2025), the gated delta rule with a gate for each key
 * channel: S_t = (I - β_t k_tᵀ k_t) diag(exp(g_t)) S_{t-1} + β_t k_tᵀ v_t and o_t = scale q_t S_t.
 *
 * g is the natural logarithm of the decay, no more than 0; the options compute it as the paper's layer
 * does, from both of its parameterisations. The default scale is K^-1/2. Heads are grouped as in
 * {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates, `[B, T, HV, K]`.
 * @param beta The strengths β, `[B, T, HV]`.
 * @param options The treatment of q, k and g, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example One channel is cleared, the other one half replaced
 * ```ts
 * import { kda } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 2];
 * const q = { data: [0, 0, 1, 1], shape };
 * const k = { data: [1, 1, 0, 1], shape };
 * const v = { data: [8, 4], shape: [1, 2, 1, 1] };
 * const g = { data: [0, 0, -Infinity, 0], shape };
 * const beta = { data: [1, 0.5], shape: [1, 2, 1] };
 *
 * const { out } = kda(q, k, v, g, beta, { scale: 1 });
 *
 * assertAlmostEquals(out.data[1], 0 + 8 + 0.5 * (4 - 8));
 * ```
 */
export function kda(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  beta: ReferenceTensor,
  options: KdaOptions = {},
): StateResult {
  return deltaEngine(q, k, v, { ...options, g: decayGates(g, options), beta });
}

/**
 * Gated DeltaNet-2, as flash-linear-attention has it: the delta rule with gates for each channel,
 * S_t = (I - k_tᵀ (e_t ⊙ k_t)) diag(exp(g_t)) S_{t-1} + k_tᵀ (w_t ⊙ v_t) and o_t = scale q_t S_t.
 *
 * The gates e of the erasing and w of the writing, in [0, 1], take the place of β: where all their
 * channels are β_t, it is {@linkcode kda}. The default scale is K^-1/2. Heads are grouped as in
 * {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates of the key channels, natural logarithms of decays, `[B, T, HV, K]`.
 * @param erase The gates e, `[B, T, HV, K]` or `[B, T, HK, K]`.
 * @param write The gates w, `[B, T, HV, V]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Erases all and writes half
 * ```ts
 * import { gdn2 } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const zeros = { data: [0, 0], shape };
 * const write = { data: [1, 0.5], shape };
 *
 * const { out } = gdn2(ones, ones, { data: [8, 6], shape }, zeros, ones, write);
 *
 * assertAlmostEquals(out.data[1], 0.5 * 6);
 * ```
 */
export function gdn2(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  erase: ReferenceTensor,
  write: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  const heads = v.shape[2];
  const gates = perStateHead(erase, heads);
  const p = mapTensor(perStateHead(k, heads), (k_d, index) => gates.data[index] * k_d);
  const written = mapTensor(v, (v_e, index) => write.data[index] * v_e);
  return plain(q, k, written, { ...options, g, p });
}
