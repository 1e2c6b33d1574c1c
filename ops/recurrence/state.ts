import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { RecurrenceOptions, SequenceOptions } from "./options.ts";
import { type RecurrenceCase, runRecurrence } from "./run.ts";

/** Options of the recurrences whose state is one tensor. */
export interface StateOptions extends SequenceOptions {
  /** The state that the first token of each sequence finds, f32 `[N, HV, K, V]`; 0 by default. */
  initialState?: Tensor<"f32">;
}

/** What they return. */
export interface StateResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token, f32 `[N, HV, K, V]` or `[N, HV, V, K]`, where it is asked for. */
  finalState?: Tensor<"f32">;
}

/** Options of their steps. */
export type StepOptions = Pick<SequenceOptions, "scale" | "stateLayout" | "schedule">;

const STATE_OPTIONS: readonly (keyof StateOptions)[] = [
  ...["scale", "initialState", "finalState", "stateLayout", "cuSeqlens"] as const,
  ...["reverse", "mode", "chunkSize", "schedule"] as const,
];
const STEP_OPTIONS: readonly (keyof StepOptions)[] = ["scale", "stateLayout", "schedule"];

/** q, k and v, then what the family sets in the engine. */
export interface FamilyCall<T extends "f32" | "f16"> {
  readonly tensors: readonly [Tensor<T>, Tensor<T>, Tensor<T>];
  /** Gates and bonus. */
  readonly set: Pick<RecurrenceOptions, "g" | "gv" | "u" | "beta" | "p" | "a" | "b">;
}

/** Runs a family over sequences; `more` are the names of its own options. */
export function runFamily<T extends "f32" | "f16">(
  family: RecurrenceCase,
  { tensors, set }: FamilyCall<T>,
  options: StateOptions,
  more: readonly string[] = [],
): StateResult<T> {
  checkOptionNames(family.action, options, [...STATE_OPTIONS, ...more]);
  const engine = without(options, more);
  return runRecurrence(family, tensors, { ...engine, ...set }) as StateResult<T>;
}

/** Runs a family on one token (or a few) in place: `state` then is what they leave. */
export function stepFamily<T extends "f32" | "f16">(
  family: RecurrenceCase,
  state: Tensor<"f32">,
  { tensors, set }: FamilyCall<T>,
  options: StepOptions,
  more: readonly string[] = [],
): Tensor<T> {
  checkOptionNames(family.action, options, [...STEP_OPTIONS, ...more]);
  const engine = without(options, more);
  const stepped = { ...engine, ...set, initialState: state, mode: "loop" as const };
  return runRecurrence({ ...family, inPlace: true }, tensors, stepped).out;
}

/** Options but those of the family alone. */
function without<O extends object>(options: O, names: readonly string[]): O {
  const others = Object.entries(options).filter(([name]) => !names.includes(name));
  return Object.fromEntries(others) as O;
}
