import type { ReferenceTensor } from "../tensor.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";
import { perStateHead } from "./sequences.ts";
import { mapTensor } from "./tensors.ts";

/**
 * Comba (Hu et al., Comba: Improving Bilinear RNNs with Closed-loop Control, 2025): S_t =
 * exp(g_t) S_{t-1} + β_t k_tᵀ (v_t - p_t S_{t-1}) and o_t = scale q_t S_t, the gated delta rule with a
 * key p of its own that erases, and that reads the state before the decay.
 *
 * The paper has p = b k with a learned number b for each head, and subtracts d k from q; both are left
 * to the caller. With p = exp(g) k it is {@linkcode gatedDeltaRule}. The default scale is K^-1/2. Heads
 * are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param p The keys that erase, `[B, T, HK, K]` or `[B, T, HV, K]`.
 * @param g The gates, natural logarithms of decays, `[B, T, HV]`.
 * @param beta The strengths β, `[B, T, HV]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Half of the state is kept, and half of what it was is erased
 * ```ts
 * import { comba } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const p = { data: [0.5, 0.5], shape };
 * const g = { data: [0, -Math.LN2], shape: [1, 2, 1] };
 * const beta = { data: [1, 1], shape: [1, 2, 1] };
 *
 * const { out } = comba(ones, ones, { data: [8, 3], shape }, p, g, beta);
 *
 * assertAlmostEquals(out.data[1], 8 / 2 + (3 - 0.5 * 8));
 * ```
 */
export function comba(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  p: ReferenceTensor,
  g: ReferenceTensor,
  beta: ReferenceTensor,
  options: StateOptions = {},
): StateResult {
  const [keyDim, [heads, valueDim]] = [k.shape[3], v.shape.slice(2)];
  const a = mapTensor(p, (p_d) => -p_d);
  const b = mapTensor(
    perStateHead(k, heads),
    (k_d, index) => beta.data[Math.floor(index / keyDim)] * k_d,
  );
  const written = mapTensor(v, (v_e, index) => beta.data[Math.floor(index / valueDim)] * v_e);
  return plain(q, k, written, { ...options, g, a, b });
}
