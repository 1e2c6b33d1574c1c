import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { addOuter, rowTimes, scaleBy } from "./matrices.ts";
import type { StateOptions } from "./options.ts";
import { readersOf, rowsOf, sequencesOf } from "./sequences.ts";
import { loadMatrices, storeMatrices } from "./states.ts";
import { zeros } from "./tensors.ts";

/** The state of {@linkcode logLinearAttention}. */
export interface LogLinearState {
  /** The state of each level, `[N, HV, L, K, V]`, or `[N, HV, L, V, K]` where the layout is `"vk"`. */
  s: ReferenceTensor;
  /** How many tokens each sequence has had, `[N]`: they decide which levels merge. */
  t: ReferenceTensor;
}

/** The state of {@linkcode logLinearAttention} as it returns it. */
export interface Float64LogLinearState extends LogLinearState {
  /** The state of each level, `[N, HV, L, K, V]`, or `[N, HV, L, V, K]` where the layout is `"vk"`. */
  s: Float64Tensor;
  /** How many tokens each sequence has had, `[N]`. */
  t: Float64Tensor;
}

/** Options for {@linkcode logLinearAttention}. */
export interface LogLinearAttentionOptions extends Omit<StateOptions, "initialState" | "reverse"> {
  /**
   * The factor of the read-out.
   *
   * @default {1}
   */
  scale?: number;
  /**
   * The state that the first token of each sequence finds; that of no token by default.
   *
   * @default {undefined}
   */
  initialState?: LogLinearState;
}

/** What {@linkcode logLinearAttention} returns. */
export interface LogLinearAttentionResult {
  /** The output, `[B, T, HO, V]`. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: Float64LogLinearState;
}

/**
 * Log-linear attention (Guo et al., Log-Linear Attention, 2025): o_t = scale Σ_l λ_t[l] q_t S_t^(l),
 * where S_t^(l) is the gated sum of the k_sᵀ v_s of the tokens s at level l of t.
 *
 * level(t, s) is 0 for s = t, else one more than the highest bit in which the places t and s within the
 * sequence differ: the tokens before t fall into blocks of 1, 2, 4, … tokens. Before token t > 0, with p
 * the number of zeros that t ends with in binary, the states of the levels 0 … p are merged into level
 * p + 1; then all decay by exp(g_t), and k_tᵀ v_t is level 0. A sequence of T tokens, resumed ones
 * counted from its beginning, needs bit length of (T - 1) + 1 levels. The default scale is 1. Heads are
 * grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates, natural logarithms of decays, `[B, T, HV]`.
 * @param lambda The weights λ of the levels, `[B, T, HV, L]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example The third token sees itself at level 0 and both others at level 2
 * ```ts
 * import { logLinearAttention } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const ones = { data: [1, 1, 1], shape };
 * const v = { data: [1, 2, 4], shape };
 * const g = { data: [0, 0, 0], shape: [1, 3, 1] };
 * const lambda = { data: [1, 10, 100, 1, 10, 100, 1, 10, 100], shape: [1, 3, 1, 3] };
 *
 * const { out } = logLinearAttention(ones, ones, v, g, lambda);
 *
 * assertEquals(out.data, Float64Array.of(1, 2 + 10 * 1, 4 + 100 * (1 + 2)));
 * ```
 */
export function logLinearAttention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  lambda: ReferenceTensor,
  options: LogLinearAttentionOptions = {},
): LogLinearAttentionResult {
  const [batch, length, qHeads, keyDim] = q.shape;
  const [heads, valueDim] = v.shape.slice(-2);
  const outHeads = Math.max(qHeads, heads);
  const { scale = 1, initialState, stateLayout, cuSeqlens } = options;
  const sequences = sequencesOf(batch, length, cuSeqlens, false);
  const levels = lambda.shape[3];
  const shape = [sequences.length, heads, levels, keyDim, valueDim];
  const states = loadMatrices(shape, initialState?.s, stateLayout);
  const places = zeros([sequences.length]);
  places.data.set(initialState?.t.data ?? []);
  const [qAt, kAt, vAt] = [rowsOf(q, outHeads), rowsOf(k, heads), rowsOf(v, heads)];
  const lambdaAt = rowsOf(lambda, heads);
  const out = zeros([batch, length, outHeads, valueDim]);

  for (const { n, tokens } of sequences) {
    for (let s = 0; s < heads; s++) {
      const first = (n * heads + s) * levels;
      const S = states.slice(first, first + levels);
      for (const [index, t] of tokens.entries()) {
        merge(S, places.data[n] + index);
        for (const level of S) scaleBy(level, Math.exp(g.data[t * heads + s]));
        addOuter(S[0], kAt(t, s), vAt(t, s));
        for (const h of readersOf(s, heads, outHeads)) {
          const row = out.data.subarray((t * outHeads + h) * valueDim);
          for (const [l, weight] of lambdaAt(t, s).entries()) {
            rowTimes(qAt(t, h), S[l]).forEach((o, e) => row[e] += scale * weight * o);
          }
        }
      }
    }
    places.data[n] += tokens.length;
  }
  if (!options.finalState) return { out };
  return { out, finalState: { s: storeMatrices(states, shape, stateLayout), t: places } };
}

/** Merges the levels that the token at a place of its sequence finds complete. */
function merge(S: Float64Array[], place: number): void {
  if (place === 0) return;
  let p = 0; // zeros that the place ends with
  while (place % 2 ** (p + 1) === 0) p++;
  for (let l = 0; l <= p; l++) {
    S[l].forEach((element, index) => S[p + 1][index] += element);
    S[l].fill(0);
  }
}
