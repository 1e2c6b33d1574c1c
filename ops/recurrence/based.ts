import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkScale } from "../attention/sizes.ts";
import { checkTensors } from "../tensors.ts";
import { checkRows } from "./checks.ts";
import type { RecurrenceState, SequenceOptions } from "./options.ts";
import { type RecurrenceCase, runRecurrence } from "./run.ts";

/** Options of {@linkcode based}; states have F = 1 + K + K(K+1)/2 rows in the place of K. */
export interface BasedOptions extends SequenceOptions {
  /**
   * Added to the sum of the weights.
   *
   * @default {1e-6}
   */
  eps?: number;
  /** The state that the first token of each sequence finds, f32, s `[N, HV, F, V]` and z `[N, HV, F]`. */
  initialState?: RecurrenceState;
}

/** What {@linkcode based} returns. */
export interface BasedResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token, where it is asked for. */
  finalState?: RecurrenceState;
}

/** Options of {@linkcode basedStep}. */
export type BasedStepOptions = Pick<BasedOptions, "eps" | "scale" | "stateLayout" | "schedule">;

const ACTION = "compute Based";
const STEP_OPTIONS: readonly (keyof BasedStepOptions)[] = [
  ...["eps", "scale", "stateLayout", "schedule"] as const,
];
const OPTIONS: readonly (keyof BasedOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"] as const,
];

/** The scale is that of the scores, of which the features take the square root. */
function family(q: Tensor, given: number | undefined): RecurrenceCase {
  checkTensors(ACTION, { q });
  checkRows(ACTION, { q });
  const scale = checkScale(ACTION, given, q.shape[3]);
  if (!(scale > 0)) {
    throw new RangeError(`Cannot ${ACTION} as scale must be positive: scale is ${scale}`);
  }
  return {
    name: "based",
    action: ACTION,
    featureMap: "taylor2",
    set: { featureScale: scale ** 0.5 },
  };
}

/**
 * The linear attention of Based (Arora et al., "Simple linear attention language models balance the
 * recall-throughput tradeoff", 2024): the second-order Taylor series of exp in the place of exp.
 *
 * o_t = Σ_{j<=t} w_tj v_j / (Σ_{j<=t} w_tj + eps), w_tj = 1 + s + s²/2 of s = scale · q_t·k_j. The state
 * is the record `{ s, z }` over the features 1, √scale·x_i, scale·x_i²/√2 and scale·x_i x_j for i < j,
 * in this order, at most 256 of them (K up to 21; the paper has 16). Features live in registers: no
 * tensor of them is made. In chunks outputs need none: weights of a chunk's own tokens come from their
 * scores, and the state that it finds is only read. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options eps, scale (default K^-1/2, must be positive), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function based<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: BasedOptions = {},
): BasedResult<T> {
  return recall(run<T>, q, k, v, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: BasedOptions,
): BasedResult<T> {
  checkOptionNames(ACTION, options, OPTIONS);
  const { scale, eps = 1e-6, ...others } = options;
  const engine = { ...others, eps, scale: 1, normalize: true };
  return runRecurrence(family(q, scale), [q, k, v], engine) as BasedResult<T>;
}

/**
 * The next token of `based`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state f32, s `[B, HV, F, V]` and z `[B, HV, F]`: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options eps, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function basedStep<T extends "f32" | "f16">(
  state: RecurrenceState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: BasedStepOptions = {},
): Tensor<T> {
  return recall(step<T>, state, q, k, v, options);
}

function step<T extends "f32" | "f16">(
  state: RecurrenceState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: BasedStepOptions,
): Tensor<T> {
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  const { scale, eps = 1e-6, ...others } = options;
  const engine = { ...others, eps, scale: 1, normalize: true };
  const stepped = { ...engine, initialState: state, mode: "loop" as const };
  return runRecurrence({ ...family(q, scale), inPlace: true }, [q, k, v], stepped).out;
}
