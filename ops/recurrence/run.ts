import type { Gpu } from "../../gpu/device.ts";
import { record } from "../../gpu/runtime.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { FeatureMap } from "../../kernels/recurrence/features.ts";
import type { Inputs } from "../../kernels/recurrence/inputs.ts";
import { areCopyable } from "../attention/sizes.ts";
import { launchRecurrence } from "./launch.ts";
import type { StateBuffers } from "./states.ts";
import { planRecurrence, type RecurrencePlan } from "./plan.ts";
import type { RecurrenceOptions, RecurrenceState } from "./options.ts";
import {
  inputRows,
  type RecurrenceForm,
  type RecurrenceProblem,
  recurrenceProblem,
} from "./problem.ts";

/** What the operators of the engine return. */
export interface RecurrenceResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /**
   * The state behind the last token of each sequence, f32 `[N, HV, K, V]` or `[N, HV, V, K]`, where it
   * is asked for; with `normalize` the record of it and the running sum of the keys.
   */
  finalState?: Tensor<"f32"> | RecurrenceState;
}

/** What operators say of a problem beside their tensors. */
type Settable =
  | ("gate" | "gateForm" | "lowerBound" | "softplus" | "stepLimits")
  | ("featureScale" | "l2norm" | "erase" | "betaForm" | "divisor");

/** An operator that the engine computes. */
export interface RecurrenceCase extends Omit<RecurrenceForm, "featureMap" | "cross"> {
  /** Its name in the library, for errors of the device. */
  readonly name: string;
  /** Log decay of each state head, where they are plain numbers. */
  readonly headGates?: readonly number[];
  /** What is applied to queries and keys; none by default. */
  readonly featureMap?: FeatureMap;
  /** Tensors beside those of the engine's options, validated. */
  readonly inputs?: Inputs<Tensor>;
  /** What they and the operator's other options make of the problem. */
  readonly set?: Partial<Pick<RecurrenceProblem, Settable>>;
  /** Whether `initialState` receives the state behind the last token, too. */
  readonly inPlace?: boolean;
}

/** A call that fits the library and the device. */
interface PlannedCall {
  readonly problem: RecurrenceProblem;
  readonly plan: RecurrencePlan;
  readonly inputs: Inputs<Tensor>;
  readonly gpu: Gpu;
}

/** Validates and plans one call: throws all that can be thrown for its arguments, and records nothing. */
export function plannedRecurrence<T extends "f32" | "f16">(
  { inPlace = false, ...family }: RecurrenceCase,
  [q, k, v]: readonly [Tensor<T>, Tensor<T>, Tensor<T>],
  options: RecurrenceOptions,
): PlannedCall {
  const { action, headGates, featureMap = "identity", inputs: more = {}, set } = family;
  // without a state there would be none to go on from, and none to leave
  if (inPlace && options.initialState === undefined) {
    throw new TypeError(`Cannot ${action} as a step needs a state: state is undefined`);
  }
  const names = { ...(inPlace && { initialState: "state" }), ...family.names };
  const given = recurrenceProblem(q, k, v, options, { ...family, featureMap, names });
  const { gpu } = given;
  const inputs: Inputs<Tensor> = { ...given.inputs, ...more };
  const headGate = headGates && { elem: "f32" as const, heads: headGates.length };
  const problem: RecurrenceProblem = {
    ...given.problem,
    inputs: { ...inputRows(inputs), ...(headGate && { headGate }) },
    // features are in scratch, which may be copied
    copyable: areCopyable(Object.values(family.features === undefined ? inputs : { ...more, v })),
    ...(headGates && { gate: "head" }),
    ...set,
    ...(inPlace && { final: true }),
  };
  return { problem, plan: planRecurrence(problem, gpu), inputs, gpu };
}

/** Validates, plans and records one call of an operator of the engine. */
export function runRecurrence<T extends "f32" | "f16">(
  family: RecurrenceCase,
  [q, k, v]: readonly [Tensor<T>, Tensor<T>, Tensor<T>],
  options: RecurrenceOptions,
): RecurrenceResult<T> {
  const { problem, plan, inputs, gpu } = plannedRecurrence(family, [q, k, v], options);
  const { name, headGates, inPlace = false } = family;
  const { initialState } = options;
  return record(gpu, name, (operation) => {
    const { batch, qHeads, heads, valueDim } = problem;
    const out = gpu.empty([batch, q.shape[1], Math.max(qHeads, heads), valueDim], q.dtype);
    const finalState = problem.final && !inPlace ? emptyState(gpu, problem) : undefined;
    const headGate = headGates &&
      operation.table(new Uint32Array(Float32Array.from(headGates).buffer));
    launchRecurrence(operation, {
      problem,
      plan,
      tensors: {
        inputs: { ...inputs, ...(headGate && { headGate }) },
        out,
        initial: buffersOf(initialState),
        final: buffersOf(inPlace ? initialState : finalState),
      },
      limits: gpu.limits,
    });
    return { out, ...(finalState && { finalState }) };
  });
}

function emptyState(gpu: Gpu, problem: RecurrenceProblem): Tensor<"f32"> | RecurrenceState {
  const { bounds, heads, keyDim, valueDim, valueFirst, normalize } = problem;
  const axes = valueFirst ? [valueDim, keyDim] : [keyDim, valueDim];
  const rows = [bounds.length - 1, heads];
  const s = gpu.empty([...rows, ...axes], "f32");
  return normalize ? { s, z: gpu.empty([...rows, keyDim], "f32") } : s;
}

function buffersOf(state: Tensor<"f32"> | RecurrenceState | undefined): StateBuffers | null {
  if (state === undefined) return null;
  return state instanceof Tensor
    ? { s: state.buffer, z: null }
    : { s: state.s.buffer, z: state.z.buffer };
}
