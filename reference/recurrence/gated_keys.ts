import type { ReferenceTensor } from "../tensor.ts";
import type {
  StateOptions,
  StateRecordOptions,
  StateRecordResult,
  StateResult,
} from "./options.ts";
import { plain } from "./plain.ts";
import { logCumsumExp } from "./scan.ts";
import { perStateHead, sequencesOf } from "./sequences.ts";
import { mapTensor } from "./tensors.ts";

/** Options for {@linkcode hgrn2}. */
export interface Hgrn2Options extends StateOptions {
  /**
   * The lower bound of the forget gates, in [0, 1): one number, or one for each key channel `[HK, K]`.
   *
   * @default {0}
   */
  lowerBound?: number | ReferenceTensor;
}

/**
 * HGRN2 (Qin et al., HGRN2: Gated Linear RNNs with State Expansion, 2024): S_t = diag(α_t) S_{t-1} +
 * (1 - α_t)ᵀ v_t and o_t = scale q_t S_t, with the forget gate α_t = lb + (1 - lb) sigmoid(f_t).
 *
 * f is what comes before the sigmoid, lb the lower bound. The keys are 1 - α = (1 - lb) sigmoid(-f).
 * q is taken as it is: the paper's SiLU is left to the caller. The default scale is K^-1/2. Heads are
 * grouped as in {@linkcode recurrence}, f in the place of k.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param f The forget gates before the sigmoid, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options The lower bound, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Gates of one half
 * ```ts
 * import { hgrn2 } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 *
 * const ones = { data: [1, 1], shape };
 * const { out } = hgrn2(ones, { data: [0, 0], shape }, { data: [8, 4], shape });
 *
 * assertAlmostEquals(out.data[0], 4);
 * assertAlmostEquals(out.data[1], 2 + 2);
 * ```
 */
export function hgrn2(
  q: ReferenceTensor,
  f: ReferenceTensor,
  v: ReferenceTensor,
  options: Hgrn2Options = {},
): StateResult {
  const { lowerBound = 0 } = options;
  const rowSize = f.shape[2] * f.shape[3];
  const bound = (index: number): number =>
    typeof lowerBound === "number" ? lowerBound : lowerBound.data[index % rowSize];
  const k = mapTensor(f, (logit, index) => (1 - bound(index)) / (1 + Math.exp(logit)));
  const g = mapTensor(f, (logit, index) => {
    const lb = bound(index);
    return Math.log(lb + (1 - lb) / (1 + Math.exp(-logit)));
  });
  return plain(q, k, v, { ...options, g: perStateHead(g, v.shape[2]) });
}

/**
 * LightNet (Qin et al., You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet,
 * 2024): o_t = scale q_t Σ_{s<=t} (exp(k_s) / Σ_{r<=t} exp(k_r))ᵀ v_s, a softmax over time for each key
 * channel.
 *
 * With z_t = log Σ_{s<=t} exp(k_s) it is a recurrence with the gates g_t = z_{t-1} - z_t and the keys
 * exp(k_t - z_t); the state is the record `{ s, z }`, z `[N, HK, K]`, -Infinity before the first token.
 * A channel whose keys have all been -Infinity holds 0. q is taken as it is: the paper's SiLU is left
 * to the caller. The default scale is K^-1/2. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys before the softmax, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { lightNet } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const k = { data: [0, Math.log(3)], shape };
 *
 * const { out } = lightNet(ones, k, { data: [4, 8], shape });
 *
 * assertAlmostEquals(out.data[0], 4);
 * assertAlmostEquals(out.data[1], 7);
 * ```
 */
export function lightNet(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: StateRecordOptions = {},
): StateRecordResult {
  const { initialState, finalState = false, cuSeqlens, reverse = false } = options;
  const initial = initialState ? { initialState: initialState.z } : {};
  const sequence = { finalState: true, reverse, ...(cuSeqlens ? { cuSeqlens } : {}) };
  const z = logCumsumExp(k, { ...sequence, ...initial });

  const keys = mapTensor(k, (key, index) => {
    const sum = z.out.data[index];
    return sum === -Infinity ? 0 : Math.exp(key - sum);
  });
  const g = mapTensor(k, () => 0);
  const rowSize = k.shape[2] * k.shape[3];
  for (const { n, tokens } of sequencesOf(k.shape[0], k.shape[1], cuSeqlens, reverse)) {
    for (let c = 0; c < rowSize; c++) {
      let last = initialState ? initialState.z.data[n * rowSize + c] : -Infinity;
      for (const t of tokens) {
        const next = z.out.data[t * rowSize + c];
        if (next !== -Infinity) g.data[t * rowSize + c] = last - next;
        last = next;
      }
    }
  }
  const { initialState: _, ...rest } = options;
  const start = initialState ? { initialState: initialState.s } : {};
  const gates = perStateHead(g, v.shape[2]);
  const result = plain(q, keys, v, { ...rest, ...start, g: gates });
  if (!finalState || !result.finalState || !z.finalState) return { out: result.out };
  return { out: result.out, finalState: { s: result.finalState, z: z.finalState } };
}
