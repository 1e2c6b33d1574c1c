import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  MAX_STATES,
  SELECTIVE_INPUTS,
  SELECTIVE_NAMES,
  type SelectiveInput,
} from "../../kernels/selective_scan/config.ts";
import { areCopyable } from "../attention/sizes.ts";
import { checkFlags, oneOf } from "../options.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";
import { SCAN_OPTIONS, type SelectiveScanOptions } from "./options.ts";

/** What a selective scan is to compute, validated; no tensors and no GPU. */
export interface SelectiveScanProblem {
  readonly batch: number;
  readonly length: number;
  /** C. */
  readonly channels: number;
  /** N. */
  readonly states: number;
  /** Storage of the output: that of u. */
  readonly elem: "f32" | "f16";
  /** Storage of the inputs that are there. */
  readonly inputs: Readonly<Partial<Record<SelectiveInput, "f32" | "f16">>>;
  readonly softplus: boolean;
  readonly initial: boolean;
  readonly final: boolean;
  readonly reverse: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly mode: "auto" | "chunk" | "loop";
  /** Tokens of a chunk, or null where the caller leaves them open. */
  readonly chunkSize: number | null;
  /** Whether all inputs may be copied. */
  readonly copyable: boolean;
  readonly schedule: string | null;
}

/** The tensors of a call by name, those that are there. */
export type SelectiveTensors = Readonly<Partial<Record<SelectiveInput, Tensor>>>;

/** A problem, its tensors, and the device that computes it. */
export interface CheckedSelectiveScan {
  readonly problem: SelectiveScanProblem;
  readonly inputs: SelectiveTensors;
  readonly gpu: Gpu;
}

/** What the operator does, for errors. */
export const ACTION = "compute a selective scan";
/** Tokens that a chunk may have. */
export const CHUNK_SIZES: readonly number[] = [16, 32, 64, 128, 256];

/** What callers know the inputs as. */
const ARGUMENTS: Readonly<Record<SelectiveInput, string>> = {
  ...{ u: "u", delta: "delta", rates: "a", writes: "b", reads: "c" },
  ...{ skip: "d", outGate: "z", deltaBias: "deltaBias" },
};

/** Validates the arguments of a selective scan: the one place that throws for them. */
export function selectiveScanProblem(
  { u, delta, a, b, c }: Readonly<Record<"u" | "delta" | "a" | "b" | "c", Tensor>>,
  options: SelectiveScanOptions,
): CheckedSelectiveScan {
  checkOptionNames(ACTION, options, SCAN_OPTIONS);
  const { deltaSoftplus = false, finalState = false, reverse = false, cuSeqlens } = options;
  const { mode = "auto", chunkSize, schedule = null, initialState } = options;
  const { d, z, deltaBias } = options;
  checkFlags(ACTION, { deltaSoftplus, finalState, reverse });
  const others = there({ d, z, deltaBias, initialState, cuSeqlens });
  const gpu = checkTensors(ACTION, { u, delta, a, b, c, ...others });
  const inputs: SelectiveTensors = {
    ...{ u, delta, rates: a, writes: b, reads: c },
    ...there({ skip: d, outGate: z, deltaBias }),
  };
  const sizes = checkSizes(u, a, inputs);
  oneOf(ACTION, "mode", mode, ["auto", "chunk", "loop"]);
  if (chunkSize !== undefined) oneOf<number>(ACTION, "chunkSize", chunkSize, CHUNK_SIZES);
  if (schedule !== null && typeof schedule !== "string") {
    throw new TypeError(
      `Cannot ${ACTION} as schedule must be a name: schedule is ${kindOf(schedule)}`,
    );
  }
  const bounds = boundsOf(ACTION, sizes.batch, sizes.length, cuSeqlens);
  if (initialState) checkState(initialState, [bounds.length - 1, sizes.channels, sizes.states]);
  const stored = Object.entries(inputs).map(([name, tensor]) =>
    [name, checkElem(ARGUMENTS[name as SelectiveInput], tensor)] as const
  );
  const problem: SelectiveScanProblem = {
    ...sizes,
    elem: checkElem("u", u),
    inputs: Object.fromEntries(stored),
    softplus: deltaSoftplus,
    initial: initialState !== undefined,
    final: finalState,
    ...{ reverse, bounds, mode, chunkSize: chunkSize ?? null, schedule },
    copyable: areCopyable(Object.values(inputs)),
  };
  return { problem, inputs, gpu };
}

/** Entries that are not undefined. */
function there<T>(values: Readonly<Record<string, T | undefined>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, T] => entry[1] !== undefined),
  );
}

type Sizes = Pick<SelectiveScanProblem, "batch" | "length" | "channels" | "states">;

/** Checks that all tensors have the shapes that u and a ask for. */
function checkSizes(u: Tensor, a: Tensor, inputs: SelectiveTensors): Sizes {
  checkRank(ACTION, "u", u, ["B", "T", "C"]);
  checkRank(ACTION, "a", a, ["C", "N"]);
  const [batch, length, channels] = u.shape;
  const [, states] = a.shape;
  if (channels < 1 || states < 1 || states > MAX_STATES) {
    throw new RangeError(
      `Cannot ${ACTION} as there must be at least one channel, of 1 to ${MAX_STATES} states: current numbers are ${channels} and ${states}`,
    );
  }
  const sizes = { channels, states };
  for (const name of SELECTIVE_NAMES) {
    const tensor = inputs[name];
    const { per, width } = SELECTIVE_INPUTS[name];
    const rows = { token: [batch, length], channel: [channels], call: [] }[per];
    if (tensor) checkShape(ACTION, ARGUMENTS[name], tensor, [...rows, sizes[width]]);
  }
  return { batch, length, channels, states };
}

function checkElem(name: string, tensor: Tensor): "f32" | "f16" {
  return checkDType(ACTION, name, tensor, ["f32", "f16"]);
}

function checkState(state: Tensor, shape: readonly number[]): void {
  checkDType(ACTION, "initialState", state, ["f32"]);
  checkShape(ACTION, "initialState", state, shape);
  if (areCopyable([state])) return;
  throw new TypeError(
    `Cannot ${ACTION} as the buffer of initialState must have COPY_SRC usage: it has not`,
  );
}
