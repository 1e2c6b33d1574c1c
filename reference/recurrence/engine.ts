import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import type { Float64StateRecord, RecurrenceStateRecord, StateOptions } from "./options.ts";
import { rowsOf, sequencesOf } from "./sequences.ts";
import { loadStates, storeStates } from "./states.ts";
import { type Token, tokensOf } from "./tokens.ts";

/** Options for {@linkcode recurrence}. */
export interface RecurrenceOptions extends Omit<StateOptions, "initialState"> {
  /**
   * The logarithm of the decay: of a head `[HV]`, of a token `[B, T, HV]`, or of each of its key
   * channels `[B, T, HV, K]`. 0 keeps the state, -Infinity clears it.
   *
   * @default {undefined}
   */
  g?: ReferenceTensor;
  /**
   * The logarithm of the decay of each value channel, `[B, T, HV, V]`.
   *
   * @default {undefined}
   */
  gv?: ReferenceTensor;
  /**
   * The strength of the delta rule, `[B, T, HV]`: each token first erases what its key reads from the
   * decayed state. 1 where only `p` is given.
   *
   * @default {undefined}
   */
  beta?: ReferenceTensor;
  /**
   * The key that the delta rule erases with, `[B, T, HK, K]`, or `[B, T, HV, K]` where each state head
   * has its own.
   *
   * @default {k}
   */
  p?: ReferenceTensor;
  /**
   * The reading half of a general erase pair, `[B, T, HK, K]` or `[B, T, HV, K]`; it reads the state
   * before the decay. Needs `b`, excludes `beta` and `p`.
   *
   * @default {undefined}
   */
  a?: ReferenceTensor;
  /**
   * The writing half of a general erase pair, `[B, T, HK, K]` or `[B, T, HV, K]`; needs `a`.
   *
   * @default {undefined}
   */
  b?: ReferenceTensor;
  /**
   * The bonus of a token's own key, `[HK, K]`; with it a token reads the state before its write.
   *
   * @default {undefined}
   */
  u?: ReferenceTensor;
  /**
   * Whether the output is divided by what the query reads from the running sum of the keys. The state
   * is then the record `{ s, z }`.
   *
   * @default {false}
   */
  normalize?: boolean;
  /**
   * Added to the divisor.
   *
   * @default {1e-10}
   */
  eps?: number;
  /**
   * The state that the first token of each sequence finds, `[N, HV, K, V]`, with `normalize` a record
   * of it and the sum of the keys so far; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: ReferenceTensor | RecurrenceStateRecord;
}

/** What {@linkcode recurrence} returns. */
export interface RecurrenceResult {
  /** The output, `[B, T, HO, V]`, HO = max(HQ, HV). */
  out: Float64Tensor;
  /**
   * The state behind the last token, `[N, HV, K, V]` or `[N, HV, V, K]`, where it is asked for; with
   * `normalize` the record of it and the sum of the keys.
   */
  finalState?: Float64Tensor | Float64StateRecord;
}

/**
 * The engine of all linear recurrences, token by token.
 *
 * The state S is a K x V matrix for each sequence and state head. Token t does, with row vectors,
 *
 *     S_t = diag(exp(g_t)) S_{t-1} diag(exp(gv_t)) + b_tᵀ (a_t S_{t-1}) + k_tᵀ v_t
 *     o_t = scale q_t S_t                               without u
 *     o_t = scale q_t (S_{t-1} + diag(u) k_tᵀ v_t)      with u
 *
 * Without erase pair b_tᵀ (a_t S_{t-1}) is 0. The delta rule has a_t = -exp(g_t) p_t, b_t = beta_t k_t
 * and writes beta_t k_tᵀ v_t, which makes it k_tᵀ beta_t (v_t - p_t diag(exp(g_t)) S_{t-1}).
 *
 * `normalize` gives v a further channel of ones, which gv does not touch: z_t, the decayed sum of the
 * keys as they are written. The output is o_t / (n_t + eps), where n_t is what o_t is in this channel,
 * scale q_t · z_t without u.
 *
 * Output head h reads query head floor(h HQ / HO) and state head floor(h HV / HO), HO = max(HQ, HV).
 * State head s is written with key head floor(s HK / HV); p, a, b and u have heads of their own, read
 * in the same way. Tensors with HV have one row for each state head.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options Gates, erase pair, bonus, normalisation, states and sequences.
 * @returns The output, and the final state where it is asked for.
 *
 * @example A state that halves with each token
 * ```ts
 * import { recurrence } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const ones = { data: [1, 1, 1], shape };
 * const v = { data: [8, 4, 2], shape };
 *
 * const { out } = recurrence(ones, ones, v, { g: { data: [-Math.LN2], shape: [1] } });
 *
 * [8, 8, 6].forEach((o, t) => assertAlmostEquals(out.data[t], o));
 * ```
 *
 * @example The delta rule replaces what a key holds
 * ```ts
 * import { recurrence } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const ones = { data: [1, 1, 1], shape };
 * const v = { data: [8, 4, 2], shape };
 *
 * const { out } = recurrence(ones, ones, v, { beta: { data: [1, 0.5, 1], shape: [1, 3, 1] } });
 *
 * assertEquals(out.data, Float64Array.of(8, 6, 2));
 * ```
 */
export function recurrence(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: RecurrenceOptions = {},
): RecurrenceResult {
  const [batch, length, qHeads, keyDim] = q.shape;
  const [heads, valueDim] = v.shape.slice(-2);
  const outHeads = Math.max(qHeads, heads);
  const { scale = keyDim ** -0.5, eps = 1e-10, normalize = false, reverse = false } = options;
  const sequences = sequencesOf(batch, length, options.cuSeqlens, reverse);
  const stateShape = [sequences.length, heads, keyDim, valueDim];
  const states = loadStates(stateShape, options);
  const queryAt = rowsOf(q, outHeads);
  const tokenAt = tokensOf(k, v, options);
  const out = new Float64Array(batch * length * outHeads * valueDim);

  for (const { n, tokens } of sequences) {
    for (let s = 0; s < heads; s++) {
      const S = states[n * heads + s];
      for (const t of tokens) {
        const token = tokenAt(t, s);
        if (!token.u) write(S, token);
        for (let h = 0; h < outHeads; h++) {
          if (Math.floor(h * heads / outHeads) !== s) continue;
          const o = read(S, queryAt(t, h), token, scale);
          const norm = normalize ? o[valueDim] + eps : 1;
          const row = (t * outHeads + h) * valueDim;
          for (let e = 0; e < valueDim; e++) out[row + e] = o[e] / norm;
        }
        if (token.u) write(S, token);
      }
    }
  }
  const result = { out: { data: out, shape: [batch, length, outHeads, valueDim] } };
  if (!options.finalState) return result;
  return { ...result, finalState: storeStates(states, stateShape, options) };
}

/** S <- diag(decay) S diag(valueDecay) + bᵀ (a S) + beta kᵀ v. */
function write(S: Float64Array, { k, v, decay, valueDecay, erase, beta }: Token): void {
  const width = v.length;
  const w = new Float64Array(width); // a S
  if (erase) {
    for (let d = 0; d < k.length; d++) {
      for (let e = 0; e < width; e++) w[e] += erase.a[d] * S[d * width + e];
    }
  }
  for (let d = 0; d < k.length; d++) {
    const b = erase ? erase.b[d] : 0;
    for (let e = 0; e < width; e++) {
      const kept = decay[d] * S[d * width + e] * valueDecay[e];
      S[d * width + e] = kept + b * w[e] + beta * k[d] * v[e];
    }
  }
}

/** scale q (S + diag(u) kᵀ v); without u the write has been done. */
function read(S: Float64Array, q: Float64Array, { k, v, u }: Token, scale: number): Float64Array {
  const width = v.length;
  const o = new Float64Array(width);
  for (let d = 0; d < k.length; d++) {
    const bonus = u ? u[d] * k[d] : 0;
    for (let e = 0; e < width; e++) o[e] += scale * q[d] * (S[d * width + e] + bonus * v[e]);
  }
  return o;
}
