import type { Gpu } from "../../gpu/device.ts";
import { record } from "../../gpu/runtime.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { StepConfig } from "../../kernels/recurrence/config.ts";
import type { FeatureMap } from "../../kernels/recurrence/features.ts";
import { areCopyable } from "../attention/sizes.ts";
import { launchRecurrence } from "./launch.ts";
import type { StateBuffers } from "./states.ts";
import { planRecurrence } from "./plan.ts";
import type { RecurrenceOptions, RecurrenceState } from "./options.ts";
import { type RecurrenceProblem, recurrenceProblem } from "./problem.ts";

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

/** An operator that the engine computes. */
export interface RecurrenceCase {
  /** Its name in the library, for errors of the device. */
  readonly name: string;
  /** What it does, for errors of its arguments, for example `"compute gated linear attention"`. */
  readonly action: string;
  /** Log decay of each state head, where they are plain numbers. */
  readonly headGates?: readonly number[];
  /** What is applied to queries and keys; none by default. */
  readonly featureMap?: FeatureMap;
  /** Of the channels that a Taylor series is of, `dim ** -0.25` by default. */
  readonly featureScale?: number;
  /** Of forget gates, which k then holds before their sigmoid; no others by default. */
  readonly lowerBound?: number | Tensor;
  /** Step sizes in the place of gates, and what they come with. */
  readonly step?: StepInputs;
  /** Whether `initialState` receives the state behind the last token, too. */
  readonly inPlace?: boolean;
}

/** Steps in the place of gates; what is added to the output comes with them. */
export interface StepInputs {
  readonly config: StepConfig;
  readonly limits: readonly [number, number];
  /** `[B, T, HV]` */
  readonly steps: Tensor;
  /** `[HV]` */
  readonly rates: Tensor;
  readonly stepBias: Tensor | null;
  readonly skip: Tensor | null;
  readonly outGate: Tensor | null;
}

/** Validates, plans and records one call of an operator of the engine. */
export function runRecurrence<T extends "f32" | "f16">(
  { inPlace = false, ...family }: RecurrenceCase,
  [q, k, v]: readonly [Tensor<T>, Tensor<T>, Tensor<T>],
  options: RecurrenceOptions,
): RecurrenceResult<T> {
  const { name, action, headGates, featureMap = "identity", featureScale, step } = family;
  const { lowerBound } = family;
  // without a state there would be none to go on from, and none to leave
  if (inPlace && options.initialState === undefined) {
    throw new TypeError(`Cannot ${action} as a step needs a state: state is undefined`);
  }
  const given = recurrenceProblem(q, k, v, options, { action, featureMap });
  const { gpu } = given;
  const problem: RecurrenceProblem = {
    ...given.problem,
    ...(headGates && { gate: "head" }),
    ...(featureScale && { featureScale }),
    ...(step && {
      ...{ gate: "step", step: step.config, stepLimits: step.limits },
      gateElem: step.steps.dtype as "f32" | "f16",
      copyable: given.problem.copyable && (!step.outGate || areCopyable([step.outGate])),
    }),
    ...(typeof lowerBound === "number" && { gate: "forget", lowerBound }),
    ...(lowerBound instanceof Tensor && {
      ...{ gate: "forget", lowerBounds: lowerBound.dtype as "f32" | "f16" },
    }),
    ...(inPlace && { final: true }),
  };
  const plan = planRecurrence(problem, gpu);
  const { g = null, gv = null, u = null, initialState } = options;
  return record(gpu, name, (operation) => {
    const { batch, length, qHeads, heads, valueDim } = problem;
    const out = gpu.empty([batch, length, Math.max(qHeads, heads), valueDim], q.dtype);
    const finalState = problem.final && !inPlace ? emptyState(gpu, problem) : undefined;
    const table = headGates &&
      operation.table(new Uint32Array(Float32Array.from(headGates).buffer)).buffer;
    launchRecurrence(operation, {
      problem,
      plan,
      tensors: {
        ...{ q, k, v, gv, u, out },
        g: table ? { buffer: table, dtype: "f32" } : step?.steps ?? g,
        lowerBounds: lowerBound instanceof Tensor ? lowerBound : null,
        keyWeights: null,
        rates: step?.rates ?? null,
        stepBias: step?.stepBias ?? null,
        skip: step?.skip ?? null,
        outGate: step?.outGate ?? null,
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
