import type { Tensor } from "../../gpu/tensor.ts";
import {
  type BetaParameters,
  type DeltaForm,
  deltaForm,
  gateForm,
  type GateParameters,
} from "./delta_gates.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** Options of {@linkcode deltaRule}. */
export interface DeltaRuleOptions extends StateOptions, DeltaForm {}

/** What {@linkcode gatedDeltaRule} does to its gates, keys and betas. */
export interface GatedDeltaForm extends DeltaForm, BetaParameters, GateParameters {}

/** Options of {@linkcode gatedDeltaRule}. */
export interface GatedDeltaRuleOptions extends StateOptions, GatedDeltaForm {}

const DELTA: StateFamily<"q" | "k" | "v" | "beta", DeltaForm> = {
  name: "deltaRule",
  action: "compute the delta rule",
  options: ["qkL2norm"],
  form: ({ beta }, options) => ({ options: { beta }, set: deltaForm(DELTA.action, options) }),
};
const GATED: StateFamily<"q" | "k" | "v" | "g" | "beta", GatedDeltaForm> = {
  name: "gatedDeltaRule",
  action: "compute the gated delta rule",
  gates: ["token"],
  options: ["qkL2norm", "aLog", "dtBias", "betaSigmoid", "allowNegativeEigenvalues"],
  tensors: ["aLog", "dtBias"],
  form({ v, g, beta }, options) {
    const { inputs = {}, set } = gateForm(GATED.action, options, [v.shape[2]]);
    const form = deltaForm(GATED.action, options);
    return { options: { g, beta }, inputs, set: { ...set, ...form } };
  },
};

/**
 * The delta rule (Schlag et al., "Linear Transformers Are Secretly Fast Weight Programmers", 2021; Yang et
 * al., "Parallelizing Linear Transformers with the Delta Rule", 2024): what a key reads is replaced, not
 * added to: S_t = S_{t-1} + β_t k_tᵀ (v_t − k_t S_{t-1}) and o_t = scale · q_t S_t.
 *
 * Keys of length 1 and β from 0 to 1 (2 at most) keep the state bounded. Heads are grouped as in
 * `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param beta `[B, T, HV]`, f32 or f16
 * @param options qkL2norm, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example The second token corrects the first
 * ```ts
 * import { deltaRule, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 2, 1, 1]);
 * const beta = gpu.tensor(Float32Array.of(1, 0.5), [1, 2, 1]);
 * const { out } = deltaRule(x(1, 1), x(1, 1), x(8, 4), beta);
 * const o = await out.read();
 * [8, 6].forEach((expected, t) => assertAlmostEquals(o[t], expected, 1e-5));
 * ```
 */
export function deltaRule<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  beta: Tensor,
  options: DeltaRuleOptions = {},
): StateResult<T> {
  return runFamily(DELTA, { q, k, v, beta }, options);
}

/**
 * The next token of `deltaRule`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param beta `[B, 1, HV]`
 * @param options qkL2norm, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function deltaRuleStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  beta: Tensor,
  options: StepOptions & DeltaForm = {},
): Tensor<T> {
  return stepFamily(DELTA, state, { q, k, v, beta }, options);
}

/**
 * The gated delta rule, Gated DeltaNet (Yang et al., "Gated Delta Networks", 2024):
 * S_t = e^(g_t) S_{t-1} + β_t k_tᵀ (v_t − k_t e^(g_t) S_{t-1}) and o_t = scale · q_t S_t.
 *
 * With `aLog` the gate is −e^aLog · softplus(g + dtBias), with `betaSigmoid` β is sigmoid(beta), as the
 * paper's layer has them. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV]`, f32 or f16
 * @param beta `[B, T, HV]`, f32 or f16
 * @param options qkL2norm, parameters of gates and betas, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function gatedDeltaRule<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: GatedDeltaRuleOptions = {},
): StateResult<T> {
  return runFamily(GATED, { q, k, v, g, beta }, options);
}

/**
 * The next token of `gatedDeltaRule`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV]`
 * @param beta `[B, 1, HV]`
 * @param options qkL2norm, parameters of gates and betas, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function gatedDeltaRuleStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: StepOptions & GatedDeltaForm = {},
): Tensor<T> {
  return stepFamily(GATED, state, { q, k, v, g, beta }, options);
}
