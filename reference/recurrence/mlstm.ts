import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { sigmoid, softplus } from "./activations.ts";
import { addOuter, dot, rowTimes, scaleBy } from "./matrices.ts";
import type { StateOptions } from "./options.ts";
import { readersOf, rowsOf, sequencesOf } from "./sequences.ts";
import { loadMatrices, storeMatrices } from "./states.ts";
import { zeros } from "./tensors.ts";

/** The state of {@linkcode mlstm}: with the gate `"exp"` exp(m) c and exp(m) n are the sums. */
export interface MlstmState {
  /** The memory C, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  c: ReferenceTensor;
  /** The normaliser n, the sum of the keys, `[N, HV, K]`. */
  n: ReferenceTensor;
  /** The stabiliser m, `[N, HV]`; with the gate `"sigmoid"` it is 0 and not read. */
  m: ReferenceTensor;
}

/** The state of {@linkcode mlstm} as it returns it. */
export interface Float64MlstmState extends MlstmState {
  /** The memory C, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  c: Float64Tensor;
  /** The normaliser n, the sum of the keys, `[N, HV, K]`. */
  n: Float64Tensor;
  /** The stabiliser m, `[N, HV]`; with the gate `"sigmoid"` it is 0 and not read. */
  m: Float64Tensor;
}

/** Options for {@linkcode mlstm}. */
export interface MlstmOptions extends Omit<StateOptions, "initialState"> {
  /**
   * The input gate: exp(i), with the stabiliser, or sigmoid(i).
   *
   * @default {"exp"}
   */
  gate?: "exp" | "sigmoid";
  /**
   * Added to the divisor.
   *
   * @default {1e-6}
   */
  eps?: number;
  /**
   * The state that the first token of each sequence finds; 0 by default, m too.
   *
   * @default {undefined}
   */
  initialState?: MlstmState;
}

/** What {@linkcode mlstm} returns. */
export interface MlstmResult {
  /** The output, `[B, T, HO, V]`. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: Float64MlstmState;
}

/**
 * The mLSTM (Beck et al., xLSTM: Extended Long Short-Term Memory, 2024): C_t = f'_t C_{t-1} +
 * i'_t k_tᵀ v_t, n_t = f'_t n_{t-1} + i'_t k_t and h_t = scale q_t C_t / (max(|scale q_t · n_t|, l_t) +
 * eps).
 *
 * With the gate `"exp"` the stabiliser is m_t = max(log sigmoid(f_t) + m_{t-1}, i_t), and
 * f'_t = exp(log sigmoid(f_t) + m_{t-1} - m_t), i'_t = exp(i_t - m_t), l_t = exp(-m_t): the decay is
 * sigmoid(f), the input gate exp(i) and l 1, all of it divided by exp(m). With `"sigmoid"` (Beck et al.,
 * Tiled Flash Linear Attention, 2025) f'_t = sigmoid(f_t), i'_t = sigmoid(i_t) and l_t = 1. The default
 * scale is K^-1/2. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param i The input gates before exp or sigmoid, `[B, T, HV]`.
 * @param f The forget gates before the sigmoid, `[B, T, HV]`.
 * @param options The gate, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Weights of 1 and 3 for the first and the second token
 * ```ts
 * import { mlstm } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const i = { data: [0, Math.log(3)], shape: [1, 2, 1] };
 * const f = { data: [Infinity, Infinity], shape: [1, 2, 1] };
 *
 * const { out } = mlstm(ones, ones, { data: [4, 8], shape }, i, f, { eps: 0 });
 *
 * assertAlmostEquals(out.data[0], 4);
 * assertAlmostEquals(out.data[1], 7);
 * ```
 */
export function mlstm(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  i: ReferenceTensor,
  f: ReferenceTensor,
  options: MlstmOptions = {},
): MlstmResult {
  const [batch, length, qHeads, keyDim] = q.shape;
  const [heads, valueDim] = v.shape.slice(-2);
  const outHeads = Math.max(qHeads, heads);
  const { initialState, stateLayout, cuSeqlens, reverse = false } = options;
  const { gate = "exp", eps = 1e-6, scale = keyDim ** -0.5 } = options;
  const sequences = sequencesOf(batch, length, cuSeqlens, reverse);
  const shape = [sequences.length, heads, keyDim, valueDim];
  const memories = loadMatrices(shape, initialState?.c, stateLayout);
  const [n, m] = [zeros(shape.slice(0, 3)), zeros(shape.slice(0, 2))];
  n.data.set(initialState?.n.data ?? []);
  if (gate === "exp") m.data.set(initialState?.m.data ?? []);
  const [qAt, kAt, vAt] = [rowsOf(q, outHeads), rowsOf(k, heads), rowsOf(v, heads)];
  const out = zeros([batch, length, outHeads, valueDim]);

  for (const { n: sequence, tokens } of sequences) {
    for (let s = 0; s < heads; s++) {
      const state = sequence * heads + s;
      const C = memories[state];
      const sums = n.data.subarray(state * keyDim, (state + 1) * keyDim);
      for (const t of tokens) {
        const raw = { i: i.data[t * heads + s], f: f.data[t * heads + s] };
        const gates = gate === "exp" ? exponential(raw, m.data[state]) : sigmoidal(raw);
        m.data[state] = gates.m;
        scaleBy(C, gates.f);
        scaleBy(sums, gates.f);
        addOuter(C, kAt(t, s), vAt(t, s), gates.i);
        kAt(t, s).forEach((k_d, d) => sums[d] += gates.i * k_d);
        for (const h of readersOf(s, heads, outHeads)) {
          const norm = Math.max(Math.abs(scale * dot(qAt(t, h), sums)), gates.least) + eps;
          const row = rowTimes(qAt(t, h), C).map((o) => scale * o / norm);
          out.data.set(row, (t * outHeads + h) * valueDim);
        }
      }
    }
  }
  if (!options.finalState) return { out };
  return { out, finalState: { c: storeMatrices(memories, shape, stateLayout), n, m } };
}

/** The factors of a token, the stabiliser behind it, and the least divisor. */
interface Gates {
  i: number;
  f: number;
  m: number;
  least: number;
}

/** Stabilised gates: nothing is larger than 1, and where all was -Infinity all is 0. */
function exponential({ i, f }: { i: number; f: number }, last: number): Gates {
  const kept = last - softplus(-f); // log sigmoid(f) + m_{t-1}
  const m = Math.max(kept, i);
  if (m === -Infinity) return { i: 0, f: 0, m, least: Infinity };
  return { i: Math.exp(i - m), f: Math.exp(kept - m), m, least: Math.exp(-m) };
}

/** Gates between 0 and 1. */
function sigmoidal({ i, f }: { i: number; f: number }): Gates {
  return { i: sigmoid(i), f: sigmoid(f), m: 0, least: 1 };
}
