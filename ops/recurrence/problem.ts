import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type {
  BetaForm,
  Divisor,
  Erase,
  GateForm,
  GateShape,
} from "../../kernels/recurrence/config.ts";
import { featureDim, type FeatureMap } from "../../kernels/recurrence/features.ts";
import {
  type InputName,
  INPUTS,
  type Inputs,
  isPerToken,
} from "../../kernels/recurrence/inputs.ts";
import { areCopyable, checkElem, checkScale } from "../attention/sizes.ts";
import { checkDims, checkDType, checkShape, checkShared, checkTensors } from "../tensors.ts";
import { checkEps, checkFlags, oneOf } from "../options.ts";
import { boundsOf } from "../sequences.ts";
import {
  checkBonus,
  checkErase,
  checkRows,
  checkState,
  GATES,
  gateShape,
  type GivenGate,
  statesOf,
} from "./checks.ts";
import { named, nameOf, type TensorNames } from "./names.ts";
import type { RecurrenceOptions } from "./options.ts";

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
  readonly divisor: Divisor;
  readonly eps: number;
  readonly scale: number;
  readonly initial: boolean;
  readonly final: boolean;
  readonly valueFirst: boolean;
  readonly reverse: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly mode: "auto" | "chunk" | "loop";
  /** Tokens of a chunk, or null where the caller leaves them open. */
  readonly chunkSize: number | null;
  readonly copyable: boolean;
  readonly schedule: string | null;
}

const OPTIONS: readonly (keyof RecurrenceOptions)[] = [
  ...["g", "gv", "beta", "p", "a", "b", "u", "normalize", "eps", "scale"] as const,
  ...["initialState", "finalState"] as const,
  ...["stateLayout", "cuSeqlens", "reverse", "mode", "chunkSize", "schedule"] as const,
];
/** Tokens that a chunk may have. */
export const CHUNK_SIZES: readonly number[] = [16, 32, 64];

/** What an operator makes of the arguments. */
export interface RecurrenceForm {
  /** What it does, for errors. */
  readonly action: string;
  readonly featureMap: FeatureMap;
  /** Whether queries have a length of their own. */
  readonly cross?: boolean;
  /** Rows of k and v for each of q; 1 by default. */
  readonly substeps?: number;
  /** What callers know tensors as, for errors. */
  readonly names?: TensorNames;
  /** Channels of the features that take the place of q and k; q and k themselves by default. */
  readonly features?: number | undefined;
  /** Shapes that gates may have; all by default. */
  readonly gates?: readonly GivenGate[];
}

/** Validates the arguments of a recurrence: the one place that throws for them. */
export function recurrenceProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: RecurrenceOptions,
  form: RecurrenceForm = { action: "compute a recurrence", featureMap: "identity" },
): { problem: RecurrenceProblem; inputs: Inputs<Tensor>; gpu: Gpu } {
  const { action, featureMap, substeps = 1, names = {} } = form;
  checkOptionNames(action, options, OPTIONS);
  const { g, gv, u, initialState, cuSeqlens, normalize = false, eps = 1e-10 } = options;
  const { beta, p, a, b } = options;
  const { finalState = false, stateLayout = "kv", reverse = false } = options;
  const { mode = "auto", chunkSize, schedule = null } = options;
  checkFlags(action, { normalize, finalState, reverse });
  const states = statesOf(form, initialState, normalize);
  const optional = Object.entries({ g, gv, u, beta, p, a, b, cuSeqlens })
    .filter(([, tensor]) => tensor !== undefined);
  const gpu = checkTensors(action, {
    ...{ ...named(names, { q, k, v }), ...states },
    ...named(names, Object.fromEntries(optional)),
  });
  const sizes = checkSizes(form, q, k, v);
  const { batch, length, heads, keyDim, valueDim } = sizes;
  const tokens = length / substeps;
  oneOf(action, "mode", mode, ["auto", "chunk", "loop"]);
  oneOf(action, "stateLayout", stateLayout, ["kv", "vk"]);
  if (chunkSize !== undefined) oneOf<number>(action, "chunkSize", chunkSize, CHUNK_SIZES);
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
  const gate = g === undefined ? "none" : gateShape(form, g, { ...sizes, length: tokens });
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
    if (tensor === undefined) continue;
    checkDType(action, nameOf(names, name), tensor, ["f32", "f16"]);
  }
  const problem: RecurrenceProblem = {
    ...sizes,
    inputs: inputRows(inputs),
    elem: checkElem(action, named(names, { q, k, v })),
    gate,
    featureMap,
    featureScale: sizes.dim ** -0.25,
    ...{ softplus: false, stepLimits: [0, 0], lowerBound: 0, keyCount: 0 },
    ...{ gateForm: "log", betaForm: "plain", l2norm: false, substeps },
    erase: a ? "pair" : beta ? "late" : "none",
    ...{ normalize, divisor: "sum" },
    eps,
    scale: checkScale(action, options.scale, keyDim),
    initial: initialState !== undefined,
    final: finalState,
    valueFirst: stateLayout === "vk",
    reverse,
    bounds,
    mode,
    chunkSize: chunkSize ?? null,
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
  const { action, featureMap, cross = false, substeps = 1, names = {}, features } = form;
  const [qName, kName, vName] = ["q", "k", "v"].map((name) => nameOf(names, name));
  checkRows(action, named(names, { q, k, v }));
  const [batch, qLength, qHeads, dim] = q.shape;
  const length = cross ? qLength : k.shape[1];
  const [, , kHeads, kDim] = k.shape;
  const [, , heads, valueDim] = v.shape;
  checkShared(action, "a batch", named(names, { q: batch, k: k.shape[0], v: v.shape[0] }));
  const lengths = { ...(!cross && { q: qLength * substeps }), k: k.shape[1], v: v.shape[1] };
  checkShared(action, "a length", named(names, lengths));
  checkShared(action, "a key dim", named(names, { q: dim, k: kDim }));
  const keys = `${qName} and ${kName}`;
  checkDims(action, { [`key dim of ${keys}`]: dim, [`value dim of ${vName}`]: valueDim });
  const width = features ?? dim;
  const keyDim = featureDim(featureMap, width);
  checkDims(action, { [`number of features of ${keys}`]: keyDim });
  const multiple = heads >= 1 && kHeads >= 1 && heads % kHeads === 0;
  const grouped = qHeads >= 1 && (heads % qHeads === 0 || qHeads % heads === 0);
  if (!multiple || !grouped) {
    throw new TypeError(
      `Cannot ${action} as the heads of ${vName} must be a multiple of those of ${kName}, and those of ${qName} and ${vName} one of the other: current heads are ${qName}=${qHeads}, ${kName}=${kHeads}, ${vName}=${heads}`,
    );
  }
  return { batch, length, qHeads, kHeads, heads, dim: width, keyDim, valueDim };
}
