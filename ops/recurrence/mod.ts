import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { RecurrenceOptions } from "./options.ts";
import { type RecurrenceResult, runRecurrence } from "./run.ts";

export {
  based,
  type BasedOptions,
  type BasedResult,
  basedStep,
  type BasedStepOptions,
} from "./based.ts";
export { comba, combaStep } from "./comba.ts";
export {
  deltaRule,
  type DeltaRuleOptions,
  deltaRuleStep,
  type GatedDeltaForm,
  gatedDeltaRule,
  type GatedDeltaRuleOptions,
  gatedDeltaRuleStep,
} from "./delta.ts";
export type { BetaParameters, DeltaForm, GateParameters } from "./delta_gates.ts";
export {
  deltaProduct,
  type DeltaProductOptions,
  deltaProductStep,
  type Householders,
} from "./delta_product.ts";
export { dplr, dplrStep, rwkv7, rwkv7Step } from "./dplr.ts";
export { gdn2, gdn2Step, kda, type KdaForm, type KdaOptions, kdaStep } from "./kda.ts";
export { gla, type GlaOptions, glaStep, simpleGla, simpleGlaStep } from "./gla.ts";
export { linearAttentionFull } from "./full.ts";
export type { LinearAttentionFullOptions } from "./full_problem.ts";
export {
  lightningAttention,
  type LightningAttentionOptions,
  lightningAttentionStep,
  lightningSlopes,
} from "./lightning.ts";
export { hgrn2, type Hgrn2Options, hgrn2Step } from "./hgrn2.ts";
export {
  type FeatureMap,
  linearAttention,
  type LinearAttentionOptions,
  linearAttentionStep,
  type LinearAttentionStepOptions,
} from "./linear.ts";
export {
  lightNet,
  type LightNetOptions,
  type LightNetResult,
  type LightNetState,
  lightNetStep,
} from "./light_net.ts";
export { mamba2, type Mamba2Form, type Mamba2Options, mamba2Step } from "./mamba2.ts";
export {
  mlstm,
  type MlstmForm,
  type MlstmOptions,
  type MlstmResult,
  type MlstmState,
  mlstmStep,
  type MlstmStepOptions,
} from "./mlstm.ts";
export type { RecurrenceOptions, RecurrenceState, SequenceOptions } from "./options.ts";
export { retention, retentionStep } from "./retention.ts";
export type { RecurrenceResult } from "./run.ts";
export { rwkv6, rwkv6Step } from "./rwkv6.ts";
export type { StateOptions, StateResult, StepOptions } from "./state.ts";

/**
 * The engine of linear recurrences: linear attention, retention, gated linear attention, SSD, RWKV6.
 *
 * For each sequence and state head a matrix S of K × V, 0 or `initialState` at first; token t does
 *
 *     S_t = diag(e^g_t) S_{t-1} diag(e^gv_t) + k_tᵀ v_t
 *     o_t = scale · q_t S_t                                without u
 *     o_t = scale · q_t (S_{t-1} + diag(u) k_tᵀ v_t)       with u
 *
 * and with `normalize` o_t is divided by what the query reads from the running sum of the keys, plus
 * eps. Gates are natural logarithms of decays, those below −88 clear the state. Output head h reads
 * query head ⌊h·HQ/HO⌋ and state head ⌊h·HV/HO⌋, HO = max(HQ, HV); state head s is written with key
 * head ⌊s·HK/HV⌋. Storage f32 or f16; states and arithmetic f32.
 *
 * Definition: Katharopoulos et al., "Transformers are RNNs" (2020); Yang et al., "Gated Linear
 * Attention" (2023), as flash-linear-attention computes them.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`, K up to 256
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`, V up to 256
 * @param options gates, bonus, normalisation, states, sequences, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A state that halves with each token
 * ```ts
 * import { recurrence, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 3, 1, 1]);
 * const g = gpu.tensor(Float32Array.of(-Math.LN2), [1]);
 * const { out } = recurrence(x(1, 1, 1), x(1, 1, 1), x(8, 4, 2), { g });
 * const o = await out.read();
 * [8, 8, 6].forEach((expected, t) => assertAlmostEquals(o[t], expected, 1e-5));
 * ```
 */
export function recurrence<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: RecurrenceOptions = {},
): RecurrenceResult<T> {
  return recall(run<T>, q, k, v, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: RecurrenceOptions,
): RecurrenceResult<T> {
  return runRecurrence({ name: "recurrence", action: "compute a recurrence" }, [q, k, v], options);
}
