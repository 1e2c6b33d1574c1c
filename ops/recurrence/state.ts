import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkTensors } from "../tensors.ts";
import { checkRows } from "./checks.ts";
import { named, nameOf } from "./names.ts";
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

/** What a family makes of its arguments: options of the engine, and the rest of its case. */
export interface FamilyForm
  extends Pick<RecurrenceCase, "headGates" | "substeps" | "inputs" | "set"> {
  /** Gates, bonus and what is erased. */
  readonly options?: Pick<RecurrenceOptions, "g" | "gv" | "u" | "beta" | "p" | "a" | "b">;
}

/** A family whose state is one tensor, with tensors called N and options O of its own. */
export interface StateFamily<N extends string, O extends object = object>
  extends Pick<RecurrenceCase, "name" | "action" | "names" | "gates"> {
  /** The default of the scale; K^-1/2 by default. */
  readonly scale?: number;
  /** The names of O. */
  readonly options?: readonly (keyof O & string)[];
  /** Those of them that are tensors. */
  readonly tensors?: readonly (keyof O & string)[];
  /** Is called when all tensors are live, q, k and v have four axes, and all options are known. */
  readonly form: (tensors: Readonly<Record<N, Tensor>>, options: O) => FamilyForm;
}

/** Runs a family over sequences. */
export function runFamily<T extends "f32" | "f16", N extends string, O extends object>(
  family: StateFamily<N, O>,
  tensors: Readonly<Record<N, Tensor>>,
  options: StateOptions & NoInfer<O>,
): StateResult<T> {
  return recall(operatorsOf<T, N, O>(family).run, tensors, options);
}

/** Runs a family on one token (or a few) in place: `state` then is what they leave. */
export function stepFamily<T extends "f32" | "f16", N extends string, O extends object>(
  family: StateFamily<N, O>,
  state: Tensor<"f32">,
  tensors: Readonly<Record<N, Tensor>>,
  options: StepOptions & NoInfer<O>,
): Tensor<T> {
  return recall(operatorsOf<T, N, O>(family).step, state, tensors, options);
}

/** What a family does with tensors and options alone. */
interface FamilyOperators<T extends "f32" | "f16", N extends string, O extends object> {
  readonly run: (tensors: Readonly<Record<N, Tensor>>, options: StateOptions & O) => StateResult<T>;
  readonly step: (
    state: Tensor<"f32">,
    tensors: Readonly<Record<N, Tensor>>,
    options: StepOptions & O,
  ) => Tensor<T>;
}

/** The operators of each family, which calls are remembered by. */
const OPERATORS: WeakMap<object, unknown> = new WeakMap();

function operatorsOf<T extends "f32" | "f16", N extends string, O extends object>(
  family: StateFamily<N, O>,
): FamilyOperators<T, N, O> {
  const known = OPERATORS.get(family);
  if (known !== undefined) return known as FamilyOperators<T, N, O>;
  const operators: FamilyOperators<T, N, O> = {
    run(tensors, options) {
      const { call, rows, engine } = callOf<T, N, O>(family, tensors, options, STATE_OPTIONS);
      return runRecurrence(call, rows, engine) as StateResult<T>;
    },
    step(state, tensors, options) {
      const { call, rows, engine } = callOf<T, N, O>(family, tensors, options, STEP_OPTIONS);
      const stepped = { ...engine, initialState: state, mode: "loop" as const };
      return runRecurrence({ ...call, inPlace: true }, rows, stepped).out;
    },
  };
  OPERATORS.set(family, operators);
  return operators;
}

/** A call of a family as the engine takes it. */
interface EngineCall<T extends "f32" | "f16"> {
  readonly call: RecurrenceCase;
  readonly rows: readonly [Tensor<T>, Tensor<T>, Tensor<T>];
  readonly engine: RecurrenceOptions;
}

/** Checks what no family can do without, then asks the family. */
function callOf<T extends "f32" | "f16", N extends string, O extends object>(
  family: StateFamily<N, O>,
  tensors: Readonly<Record<N, Tensor>>,
  options: StateOptions & O,
  shared: readonly string[],
): EngineCall<T> {
  const { action, names = {}, options: own = [], tensors: ownTensors = [] } = family;
  checkOptionNames(action, options, [...shared, ...own]);
  const given = ownTensors.filter((name) => options[name] !== undefined);
  checkTensors(action, {
    ...tensors,
    ...Object.fromEntries(given.map((name) => [name, options[name]])),
  });
  const rows = Object.fromEntries(
    (["q", "k", "v"] as const).map((name) => [name, tensors[nameOf(names, name) as N]]),
  );
  checkRows(action, named(names, rows));
  const { options: set, ...form } = family.form(tensors, options);
  const others = Object.entries(options).filter(([name]) => !own.some((known) => known === name));
  const { scale = family.scale, ...engine }: RecurrenceOptions = Object.fromEntries(others);
  const { name, gates } = family;
  return {
    call: { name, action, names, ...(gates && { gates }), ...form },
    rows: [rows.q, rows.k, rows.v] as [Tensor<T>, Tensor<T>, Tensor<T>],
    engine: { ...engine, ...(scale !== undefined && { scale }), ...set },
  };
}
