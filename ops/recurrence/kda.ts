import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkShape } from "../tensors.ts";
import { type DeltaForm, deltaForm, gateForm, type GateParameters } from "./delta_gates.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** What {@linkcode kda} does to its gates and keys. */
export interface KdaForm extends DeltaForm, GateParameters {
  /** Turns g into lowerBound · sigmoid(e^aLog · (g + dtBias)): below 0, −5 advised; needs `aLog`. */
  lowerBound?: number;
}

/** Options of {@linkcode kda}. */
export interface KdaOptions extends StateOptions, KdaForm {}

const KDA: StateFamily<"q" | "k" | "v" | "g" | "beta", KdaForm> = {
  name: "kda",
  action: "compute Kimi delta attention",
  gates: ["channel"],
  options: ["qkL2norm", "aLog", "dtBias", "lowerBound"],
  tensors: ["aLog", "dtBias"],
  form({ k, v, g, beta }, options) {
    const { inputs = {}, set } = gateForm(KDA.action, options, [v.shape[2], k.shape[3]]);
    const form = deltaForm(KDA.action, options);
    return { options: { g, beta }, inputs, set: { ...set, ...form } };
  },
};

/**
 * Kimi delta attention (Kimi Team, "Kimi Linear", 2025): the gated delta rule with a gate for each key
 * channel, S_t = (I − β_t k_tᵀ k_t) diag(e^(g_t)) S_{t-1} + β_t k_tᵀ v_t and o_t = scale · q_t S_t.
 *
 * With `aLog` the gates are −e^aLog · softplus(g + dtBias), with `lowerBound` too they are bounded. Strong
 * gates are exact: no exponent is ever positive. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV, K]`, f32 or f16
 * @param beta `[B, T, HV]`, f32 or f16
 * @param options qkL2norm, parameters of gates, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function kda<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: KdaOptions = {},
): StateResult<T> {
  return runFamily(KDA, { q, k, v, g, beta }, options);
}

/**
 * The next token of `kda`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV, K]`
 * @param beta `[B, 1, HV]`
 * @param options qkL2norm, parameters of gates, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function kdaStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: StepOptions & KdaForm = {},
): Tensor<T> {
  return stepFamily(KDA, state, { q, k, v, g, beta }, options);
}

const GDN2: StateFamily<"q" | "k" | "v" | "g" | "erase" | "write"> = {
  name: "gdn2",
  action: "compute Gated DeltaNet 2",
  gates: ["channel"],
  form({ k, v, g, erase, write }) {
    const [batch, length, heads] = v.shape;
    const rows = [k.shape[2], heads].map((own) => [batch, length, own, k.shape[3]]);
    checkShape(GDN2.action, "erase", erase, ...rows);
    checkShape(GDN2.action, "write", write, v.shape);
    for (const [name, tensor] of Object.entries({ erase, write })) {
      checkDType(GDN2.action, name, tensor, ["f32", "f16"]);
    }
    const inputs = { eraseGate: erase, writeGate: write };
    return { options: { g }, inputs, set: { erase: "late" } };
  },
};

/**
 * Gated DeltaNet 2 (as flash-linear-attention computes it): channels of the key are erased, and channels of
 * the value written, by gates of their own: S_t = D S_{t-1} + k_tᵀ (write_t ⊙ v_t − (erase_t ⊙ k_t) D S_{t-1})
 * with D = diag(e^(g_t)), and o_t = scale · q_t S_t. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV, K]`, f32 or f16
 * @param erase `[B, T, HV, K]` or `[B, T, HK, K]`, f32 or f16
 * @param write `[B, T, HV, V]`, f32 or f16
 * @param options scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function gdn2<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  erase: Tensor,
  write: Tensor,
  options: StateOptions = {},
): StateResult<T> {
  return runFamily(GDN2, { q, k, v, g, erase, write }, options);
}

/**
 * The next token of `gdn2`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV, K]`
 * @param erase `[B, 1, HV, K]` or `[B, 1, HK, K]`
 * @param write `[B, 1, HV, V]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function gdn2Step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  erase: Tensor,
  write: Tensor,
  options: StepOptions = {},
): Tensor<T> {
  return stepFamily(GDN2, state, { q, k, v, g, erase, write }, options);
}
