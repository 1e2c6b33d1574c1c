import type { ReferenceTensor } from "../tensor.ts";
import { decayGates, deltaEngine, strengths } from "./delta_gates.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";
import { zeros } from "./tensors.ts";

/** Options for {@linkcode deltaRule}. */
export interface DeltaRuleOptions extends StateOptions {
  /**
   * Whether each query and key x is first divided by √(Σ x² + 1e-6).
   *
   * @default {false}
   */
  qkL2norm?: boolean;
}

/**
 * The delta rule (Schlag et al., Linear Transformers Are Secretly Fast Weight Programmers, 2021; Yang et
 * al., Parallelizing Linear Transformers with the Delta Rule, 2024): S_t = (I - β_t k_tᵀ k_t) S_{t-1} +
 * β_t k_tᵀ v_t and o_t = scale q_t S_t.
 *
 * β is what it is in the formula, in [0, 1], up to 2 for negative eigenvalues; keys should have length
 * 1. The default scale is K^-1/2. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param beta The strengths β, `[B, T, HV]`.
 * @param options The normalisation of queries and keys, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example A key is written three times: anew, half, and anew
 * ```ts
 * import { deltaRule } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const ones = { data: [1, 1, 1], shape };
 * const beta = { data: [1, 0.5, 1], shape: [1, 3, 1] };
 *
 * const { out } = deltaRule(ones, ones, { data: [8, 4, 2], shape }, beta);
 *
 * assertEquals(out.data, Float64Array.of(8, 6, 2));
 * ```
 */
export function deltaRule(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  beta: ReferenceTensor,
  options: DeltaRuleOptions = {},
): StateResult {
  return deltaEngine(q, k, v, { ...options, beta });
}

/** Options for {@linkcode gatedDeltaRule}. */
export interface GatedDeltaRuleOptions extends DeltaRuleOptions {
  /**
   * With it g is what comes before the gate, -exp(aLog) softplus(g + dtBias), `[HV]`.
   *
   * @default {undefined}
   */
  aLog?: ReferenceTensor;
  /**
   * Added to g before softplus, `[HV]`; needs `aLog`.
   *
   * @default {undefined}
   */
  dtBias?: ReferenceTensor;
  /**
   * Whether beta is what comes before a sigmoid.
   *
   * @default {false}
   */
  betaSigmoid?: boolean;
  /**
   * Whether the sigmoid is doubled, so that β reaches from 0 to 2; needs `betaSigmoid`.
   *
   * @default {false}
   */
  allowNegativeEigenvalues?: boolean;
}

/**
 * The gated delta rule (Yang et al., Gated Delta Networks: Improving Mamba2 with Delta Rule, 2024):
 * S_t = (I - β_t k_tᵀ k_t) exp(g_t) S_{t-1} + β_t k_tᵀ v_t and o_t = scale q_t S_t.
 *
 * g is the natural logarithm of the decay, no more than 0, and β what it is in the formula; the options
 * compute both as the paper's layer does. Keys should have length 1. The default scale is K^-1/2. Heads
 * are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param g The gates, `[B, T, HV]`.
 * @param beta The strengths β, `[B, T, HV]`.
 * @param options The treatment of q, k, g and beta, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example The state halves, and then goes half of the way to the value
 * ```ts
 * import { gatedDeltaRule } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const v = { data: [8, 6], shape };
 * const g = { data: [0, -Math.LN2], shape: [1, 2, 1] };
 * const beta = { data: [1, 0.5], shape: [1, 2, 1] };
 *
 * const { out } = gatedDeltaRule(ones, ones, v, g, beta);
 *
 * assertAlmostEquals(out.data[1], 4 + 0.5 * (6 - 4));
 * ```
 */
export function gatedDeltaRule(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  beta: ReferenceTensor,
  options: GatedDeltaRuleOptions = {},
): StateResult {
  const gates = { g: decayGates(g, options), beta: strengths(beta, options) };
  return deltaEngine(q, k, v, { ...options, ...gates });
}

/** Options for {@linkcode deltaProduct}. */
export interface DeltaProductOptions extends StateOptions {
  /**
   * How many steps of the delta rule a token takes, n.
   *
   * @default {1}
   */
  householders?: number;
}

/**
 * DeltaProduct (Siems et al., DeltaProduct: Improving State-Tracking in Linear RNNs via Householder
 * Products, 2025): for each token the state decays by exp(g_t), then takes n steps of the delta rule,
 * S <- (I - β_tj k_tjᵀ k_tj) S + β_tj k_tjᵀ v_tj for j = 1 … n, and o_t = scale q_t S_t is read behind
 * the last one.
 *
 * Row n t + j of k, v and beta, both counted from 0, is step j of token t. cuSeqlens counts tokens. With
 * `reverse` the steps of a token run from its last row to its first, too. The default scale is K^-1/2.
 * Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T n, HK, K]`.
 * @param v The values, `[B, T n, HV, V]`.
 * @param g The gates, natural logarithms of decays, `[B, T, HV]`.
 * @param beta The strengths β, `[B, T n, HV]`.
 * @param options The number of steps, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Two writes to one key within a token
 * ```ts
 * import { deltaProduct } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const one = { data: [1], shape: [1, 1, 1, 1] };
 * const rows = [1, 2, 1, 1];
 * const k = { data: [1, 1], shape: rows };
 * const g = { data: [0], shape: [1, 1, 1] };
 * const beta = { data: [1, 0.5], shape: [1, 2, 1] };
 *
 * const { out } = deltaProduct(one, k, { data: [8, 4], shape: rows }, g, beta, { householders: 2 });
 *
 * assertAlmostEquals(out.data[0], 6);
 * ```
 */
export function deltaProduct(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  g: ReferenceTensor,
  beta: ReferenceTensor,
  options: DeltaProductOptions = {},
): StateResult {
  const { householders: n = 1, cuSeqlens, reverse = false } = options;
  const [first, last] = reverse ? [n - 1, 0] : [0, n - 1]; // of the n rows of a token
  const sequences = cuSeqlens
    ? { cuSeqlens: { data: Array.from(cuSeqlens.data, (t) => t * n), shape: cuSeqlens.shape } }
    : {};
  const steps = { g: spread(g, n, first), beta, ...sequences };
  const result = plain(spread(q, n, last), k, v, { ...options, ...steps });
  return { ...result, out: gather(result.out, n, last) };
}

/** Row t becomes row n t + place of T n rows; the others are 0: no decay, and a query for nothing. */
function spread(x: ReferenceTensor, n: number, place: number): ReferenceTensor {
  const [batch, length, ...axes] = x.shape;
  const rows = zeros([batch, length * n, ...axes]);
  const size = axes.reduce((product, axis) => product * axis, 1);
  for (let i = 0; i < batch * length * size; i++) {
    const t = Math.floor(i / size);
    rows.data[(t * n + place) * size + i % size] = x.data[i];
  }
  return rows;
}

/** The reverse of {@linkcode spread}. */
function gather(x: ReferenceTensor, n: number, place: number): StateResult["out"] {
  const [batch, rows, ...axes] = x.shape;
  const out = zeros([batch, rows / n, ...axes]);
  const size = axes.reduce((product, axis) => product * axis, 1);
  out.data.forEach((_, i) => {
    const t = Math.floor(i / size);
    out.data[i] = x.data[(t * n + place) * size + i % size];
  });
  return out;
}
