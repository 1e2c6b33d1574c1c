import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { hostCopyOf } from "../../gpu/host_copy.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { BetaForm, Erase, GateForm, GateShape } from "../../kernels/recurrence/config.ts";
import { featureDim, type FeatureMap } from "../../kernels/recurrence/features.ts";
import {
  type InputName,
  INPUTS,
  type Inputs,
  isPerToken,
} from "../../kernels/recurrence/inputs.ts";
import { areCopyable, checkElem, checkScale } from "../attention/sizes.ts";
import {
  checkDims,
  checkDType,
  checkRank,
  checkShape,
  checkShared,
  checkTensors,
} from "../tensors.ts";

import type { RecurrenceOptions, RecurrenceState } from "./options.ts";

/** An input that is there: its storage, and its rows for each token, or in all. */
export interface InputRows {
  readonly elem: "f32" | "f16";
  readonly heads: number;
}

/** Inputs as rows. */
export function inputRows(tensors: Inputs<Pick<Tensor, "dtype" | "shape">>): Inputs<InputRows> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape }]) => [
      name,
      { elem: dtype, heads: isPerToken(INPUTS[name as InputName].per) ? shape[2] : shape[0] },
    ]),
  );
}

/** What a recurrence is to compute, validated; no tensors and no GPU. */
export interface RecurrenceProblem {
  readonly batch: number;
  readonly length: number;
  /** HQ, HK and HV. */
  readonly qHeads: number;
  readonly kHeads: number;
  readonly heads: number;
  /** Channels of a row of q and k. */
  readonly dim: number;
  /** K, rows of the state: the features of a row. */
  readonly keyDim: number;
  readonly valueDim: number;
  /** The tensors that are there. */
  readonly inputs: Inputs<InputRows>;
  readonly elem: "f32" | "f16";
  readonly gate: GateShape;
  readonly featureMap: FeatureMap;
  /** Of the channels that a Taylor series is of. */
  readonly featureScale: number;
  readonly gateForm: GateForm;
  readonly erase: Erase;
  readonly betaForm: BetaForm;
  readonly l2norm: boolean;
  /** Writes of a token: rows of k and v for each of q; length and bounds count them. */
  readonly substeps: number;
  /** Of step sizes: whether they go through softplus, and their bounds. */
  readonly softplus: boolean;
  readonly stepLimits: readonly [number, number];
  /** Of forget gates, where it is one for all. */
  readonly lowerBound: number;
  /** Keys of which outputs are the mean, where they are. */
  readonly keyCount: number;
  readonly normalize: boolean;
  readonly eps: number;
  readonly scale: number;
  readonly initial: boolean;
  readonly final: boolean;
  readonly valueFirst: boolean;
  readonly reverse: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly mode: "auto" | "chunk" | "loop";
  readonly chunkSize: number;
  readonly copyable: boolean;
  readonly schedule: string | null;
}

const OPTIONS: readonly (keyof RecurrenceOptions)[] = [
  ...["g", "gv", "beta", "p", "a", "b", "u", "normalize", "eps", "scale"] as const,
  ...["initialState", "finalState"] as const,
  ...["stateLayout", "cuSeqlens", "reverse", "mode", "chunkSize", "schedule"] as const,
];
const CHUNK_SIZES: readonly number[] = [16, 32, 64];

/** What an operator makes of the arguments. */
export interface RecurrenceForm {
  /** What it does, for errors. */
  readonly action: string;
  readonly featureMap: FeatureMap;
  /** Whether queries have a length of their own. */
  readonly cross?: boolean;
  /** Rows of k and v for each of q; 1 by default. */
  readonly substeps?: number;
}

/** Validates the arguments of a recurrence: the one place that throws for them. */
export function recurrenceProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: RecurrenceOptions,
  { action, featureMap, substeps = 1 }: RecurrenceForm = {
    action: "compute a recurrence",
    featureMap: "identity",
  },
): { problem: RecurrenceProblem; inputs: Inputs<Tensor>; gpu: Gpu } {
  checkOptionNames(action, options, OPTIONS);
  const { g, gv, u, initialState, cuSeqlens, normalize = false, eps = 1e-10 } = options;
  const { beta, p, a, b } = options;
  const { finalState = false, stateLayout = "kv", reverse = false } = options;
  const { mode = "auto", chunkSize = 64, schedule = null } = options;
  checkFlags(action, { normalize, finalState, reverse });
  const states = statesOf(action, initialState, normalize);
  const optional = Object.entries({ g, gv, u, beta, p, a, b, cuSeqlens })
    .filter(([, tensor]) => tensor !== undefined);
  const gpu = checkTensors(action, { q, k, v, ...states, ...Object.fromEntries(optional) });
  const sizes = checkSizes({ action, featureMap, substeps }, q, k, v);
  const { batch, length, heads, keyDim, valueDim } = sizes;
  const tokens = length / substeps;
  oneOf(action, "mode", mode, ["auto", "chunk", "loop"]);
  oneOf(action, "stateLayout", stateLayout, ["kv", "vk"]);
  oneOf(action, "chunkSize", chunkSize, CHUNK_SIZES);
  checkEps(action, eps);
  if (schedule !== null && typeof schedule !== "string") {
    throw new TypeError(
      `Cannot ${action} as schedule must be a name: schedule is ${kindOf(schedule)}`,
    );
  }
  const bounds = boundsOf(action, batch, tokens, cuSeqlens).map((bound) => bound * substeps);
  const sequences = bounds.length - 1;
  const state = stateLayout === "kv" ? [keyDim, valueDim] : [valueDim, keyDim];
  checkState(action, states, [sequences, heads, ...state], [sequences, heads, keyDim]);
  if (gv !== undefined) checkShape(action, "gv", gv, [batch, length, heads, valueDim]);
  if (u !== undefined) checkBonus(action, u, heads, keyDim);
  const gate = g === undefined ? "none" : gateShape(action, g, { ...sizes, length: tokens });
  const inputs: Inputs<Tensor> = {
    ...{ q, k, v },
    ...(g && { [GATES[gate]]: g }),
    ...(gv && { gv }),
    ...(u && { u }),
    ...(beta && { beta }),
    ...(p && { p }),
    ...(a && b && { p: a, b }),
  };
  checkErase(action, options, sizes);
  for (const name of ["g", "gv", "u", "beta", "p", "a", "b"] as const) {
    const tensor = options[name];
    if (tensor !== undefined) checkDType(action, name, tensor, ["f32", "f16"]);
  }
  const problem: RecurrenceProblem = {
    ...sizes,
    inputs: inputRows(inputs),
    elem: checkElem(action, { q, k, v }),
    gate,
    featureMap,
    featureScale: sizes.dim ** -0.25,
    ...{ softplus: false, stepLimits: [0, 0], lowerBound: 0, keyCount: 0 },
    ...{ gateForm: "log", betaForm: "plain", l2norm: false, substeps },
    erase: a ? "pair" : beta ? "late" : "none",
    normalize,
    eps,
    scale: checkScale(action, options.scale, keyDim),
    initial: initialState !== undefined,
    final: finalState,
    valueFirst: stateLayout === "vk",
    reverse,
    bounds,
    mode,
    chunkSize,
    copyable: areCopyable(Object.values(inputs)),
    schedule,
  };
  return { problem, inputs, gpu };
}

/** Sizes of q, k and v. */
export type Sizes = Pick<
  RecurrenceProblem,
  "batch" | "length" | "qHeads" | "kHeads" | "heads" | "dim" | "keyDim" | "valueDim"
>;

/** Checks that q, k and v fit each other. */
export function checkSizes(form: RecurrenceForm, q: Tensor, k: Tensor, v: Tensor): Sizes {
  const { action, featureMap } = form;
  for (const [name, tensor] of Object.entries({ q, k, v })) {
    checkRank(action, name, tensor, ["B", "T", "heads", "dim"]);
  }
  const [batch, qLength, qHeads, dim] = q.shape;
  const length = form.cross ? qLength : k.shape[1];
  const [, , kHeads, kDim] = k.shape;
  const [, , heads, valueDim] = v.shape;
  checkShared(action, "a batch", { q: batch, k: k.shape[0], v: v.shape[0] });
  const lengths = { k: k.shape[1], v: v.shape[1] };
  const rows = qLength * (form.substeps ?? 1);
  checkShared(action, "a length", form.cross ? lengths : { q: rows, ...lengths });
  checkShared(action, "a key dim", { q: dim, k: kDim });
  checkDims(action, { "key dim": dim, "value dim": valueDim });
  const keyDim = featureDim(featureMap, dim);
  checkDims(action, { "number of features": keyDim });
  const multiple = heads >= 1 && kHeads >= 1 && heads % kHeads === 0;
  const grouped = qHeads >= 1 && (heads % qHeads === 0 || qHeads % heads === 0);
  if (!multiple || !grouped) {
    throw new TypeError(
      `Cannot ${action} as the heads of v must be a multiple of those of k, and those of q and v one of the other: current heads are q=${qHeads}, k=${kHeads}, v=${heads}`,
    );
  }
  return { batch, length, qHeads, kHeads, heads, dim, keyDim, valueDim };
}

/** Checks what is erased: the delta rule, or a pair of vectors. */
function checkErase(action: string, options: RecurrenceOptions, sizes: Sizes): void {
  const { beta, p, a, b, gv, u, normalize } = options;
  const { batch, length, heads, kHeads, keyDim } = sizes;
  const given = Object.entries({ beta, p, a, b, gv, u }).filter(([, tensor]) =>
    tensor !== undefined
  );
  const names = given.map(([name]) => name).join(", ");
  if ((a === undefined) !== (b === undefined)) {
    throw new TypeError(`Cannot ${action} as a and b come together: given are ${names}`);
  }
  if (a !== undefined && (beta !== undefined || p !== undefined)) {
    throw new TypeError(
      `Cannot ${action} as a and b exclude beta and p, the delta rule: given are ${names}`,
    );
  }
  if (p !== undefined && beta === undefined) {
    throw new TypeError(`Cannot ${action} as p needs beta: given are ${names}`);
  }
  const erases = a !== undefined || beta !== undefined;
  if (erases && (gv !== undefined || u !== undefined || normalize === true)) {
    throw new TypeError(
      `Cannot ${action} as gv, u and normalize go with no erase: given are ${
        normalize === true ? `${names}, normalize` : names
      }`,
    );
  }
  if (beta !== undefined) checkShape(action, "beta", beta, [batch, length, heads]);
  for (const [name, tensor] of Object.entries({ p, a, b })) {
    if (tensor === undefined) continue;
    const shapes = [kHeads, heads].map((own) => [batch, length, own, keyDim]);
    checkShape(action, name, tensor, ...shapes);
  }
}

/** The input that holds gates of a shape. */
const GATES: Readonly<Record<GateShape, InputName>> = {
  ...{ none: "g", head: "headGate", token: "g", channel: "gk", forget: "k", step: "g" },
};

function gateShape(action: string, g: Tensor, { batch, length, heads, keyDim }: Sizes): GateShape {
  const shapes: Record<Exclude<GateShape, "none" | "forget" | "step">, number[]> = {
    head: [heads],
    token: [batch, length, heads],
    channel: [batch, length, heads, keyDim],
  };
  for (const [gate, shape] of Object.entries(shapes)) {
    if (String(g.shape) === String(shape)) return gate as GateShape;
  }
  throw new TypeError(
    `Cannot ${action} as g must be [HV] = [${shapes.head}], [B, T, HV] = [${shapes.token}] or [B, T, HV, K] = [${shapes.channel}]: g is [${g.shape}]`,
  );
}

function checkBonus(action: string, u: Tensor, heads: number, keyDim: number): void {
  const [own, dim] = u.shape;
  if (u.shape.length === 2 && own >= 1 && heads % own === 0 && dim === keyDim) return;
  throw new TypeError(
    `Cannot ${action} as u must be [H, K] with H a divisor of ${heads} and K = ${keyDim}: u is [${u.shape}]`,
  );
}

function statesOf(
  action: string,
  initialState: unknown,
  normalize: boolean,
): Record<string, Tensor> {
  if (initialState === undefined) return {};
  if (!normalize) return { initialState: initialState as Tensor };
  if (
    typeof initialState === "object" && initialState !== null && !(initialState instanceof Tensor)
  ) {
    const { s, z } = initialState as RecurrenceState;
    return { "initialState.s": s, "initialState.z": z };
  }
  throw new TypeError(
    `Cannot ${action} as initialState must be a record { s, z } where normalize is true: initialState is ${
      kindOf(initialState)
    }`,
  );
}

function checkState(
  action: string,
  states: Readonly<Record<string, Tensor>>,
  state: readonly number[],
  sums: readonly number[],
): void {
  for (const [name, tensor] of Object.entries(states)) {
    checkDType(action, name, tensor, ["f32"]);
    checkShape(action, name, tensor, name.endsWith(".z") ? sums : state);
    if (!areCopyable([tensor])) {
      throw new TypeError(
        `Cannot ${action} as the buffer of ${name} must have COPY_SRC usage: it has not`,
      );
    }
  }
}

/** Checks what is added to a divisor. */
export function checkEps(action: string, eps: unknown): void {
  if (typeof eps === "number" && eps >= 0 && Number.isFinite(Math.fround(eps))) return;
  throw new RangeError(
    `Cannot ${action} as eps must be a finite f32 >= 0: eps is ${kindOf(eps)}`,
  );
}

/** Checks options that are true or false. */
export function checkFlags(action: string, flags: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(flags)) {
    if (typeof value === "boolean") continue;
    throw new TypeError(
      `Cannot ${action} as ${name} must be true or false: ${name} is ${kindOf(value)}`,
    );
  }
}

/** Where sequences begin and end among all tokens: batch entries, or what `cuSeqlens` cuts. */
export function boundsOf(
  action: string,
  batch: number,
  length: number,
  cuSeqlens: Tensor | undefined,
): number[] {
  if (cuSeqlens === undefined) return Array.from({ length: batch + 1 }, (_, b) => b * length);
  if (batch !== 1) {
    throw new TypeError(
      `Cannot ${action} as cuSeqlens needs a batch of 1: current batch is ${batch}`,
    );
  }
  checkDType(action, "cuSeqlens", cuSeqlens, ["i32"]);
  checkRank(action, "cuSeqlens", cuSeqlens, ["N + 1"]);
  const data = hostCopyOf(cuSeqlens);
  if (data === undefined) {
    throw new TypeError(
      `Cannot ${action} as cuSeqlens must be made from data by gpu.tensor(), for plans depend on it: it was computed or wrapped`,
    );
  }
  const bounds = [...data];
  const falls = bounds.findIndex((bound, n) => n > 0 && bound < bounds[n - 1]);
  if (bounds.length >= 1 && bounds[0] === 0 && bounds[bounds.length - 1] === length && falls < 0) {
    return bounds;
  }
  throw new RangeError(
    `Cannot ${action} as cuSeqlens must rise from 0 to T = ${length}: cuSeqlens is [${bounds}]`,
  );
}

/** Checks an option against its values. */
export function oneOf<T>(action: string, name: string, value: T, allowed: readonly T[]): void {
  if (allowed.includes(value)) return;
  throw new RangeError(
    `Cannot ${action} as ${name} must be one of ${allowed.join(", ")}: ${name} is ${kindOf(value)}`,
  );
}
