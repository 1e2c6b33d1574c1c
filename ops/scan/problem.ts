import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { ScanKind } from "../../kernels/scan/element.ts";
import type { SequenceOptions } from "../recurrence/options.ts";
import { checkFlags, oneOf } from "../options.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options that all scans share. */
export interface TimeOptions
  extends Pick<SequenceOptions, "finalState" | "cuSeqlens" | "reverse" | "mode"> {
  /**
   * Tokens of a chunk.
   *
   * @default {64}
   */
  chunkSize?: 16 | 32 | 64 | 128 | 256;
}

/** Options of {@linkcode scan}, {@linkcode hgrn} and {@linkcode logCumsumExp}. */
export interface ScanOptions extends TimeOptions {
  /**
   * The value before the first token of each sequence, f32 `[N, …]`; that of no token by default, 0
   * for `scan` and `hgrn`, −∞ for `logCumsumExp`.
   */
  initialState?: Tensor<"f32">;
}

/** The state of {@linkcode softmaxScan}: Σ exp(s) v is exp(m) w and Σ exp(s) is exp(m) u. */
export interface SoftmaxScanState {
  /** The largest score, f32 `[N, H]`; −∞ before the first token. */
  m: Tensor<"f32">;
  /** The sum of exp(s − m), f32 `[N, H]`. */
  u: Tensor<"f32">;
  /** The sum of exp(s − m) v, f32 `[N, H, V]`. */
  w: Tensor<"f32">;
}

/** Options of {@linkcode softmaxScan}. */
export interface SoftmaxScanOptions extends TimeOptions {
  /** The state before the first token of each sequence; that of no token by default. */
  initialState?: SoftmaxScanState;
}

/** What a scan is to compute, validated; no tensors and no GPU. */
export interface ScanProblem {
  readonly kind: ScanKind;
  readonly batch: number;
  readonly length: number;
  /** H of a softmax scan, else 1. */
  readonly heads: number;
  /** V of a softmax scan, else all channels. */
  readonly width: number;
  /** Storage of b, x, v or i, and of out. */
  readonly elem: "f32" | "f16";
  /** Storage of a, g, f or s. */
  readonly weightElem: "f32" | "f16";
  readonly initial: boolean;
  readonly final: boolean;
  readonly reverse: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly mode: "auto" | "chunk" | "loop";
  /** Tokens of a chunk, or null where the caller leaves them open. */
  readonly chunkSize: number | null;
  /**
   * State heads of each head, where the gates of a recurrence are written in the place of the sums,
   * with its keys or their weights; else null.
   */
  readonly gateRows: number | null;
}

/** What a call is about, by name: its tensors, and the states that it starts from. */
interface ScanCall {
  readonly action: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, Tensor>>;
  readonly options: TimeOptions;
}

/** A problem and the device that computes it. */
export interface CheckedScan {
  readonly problem: ScanProblem;
  readonly gpu: Gpu;
}

const TIME_OPTIONS: readonly string[] = [
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"],
];
/** Tokens that a chunk may have. */
export const CHUNK_SIZES: readonly number[] = [16, 32, 64, 128, 256];

/** Validates the arguments of a linear scan. */
export function scanProblem(a: Tensor, b: Tensor, options: ScanOptions): CheckedScan {
  const action = "compute a scan";
  const states = stateOf(action, options);
  return linearProblem("scan", { action, inputs: { a, b }, options, states }, {
    added: "b",
    kept: "a",
  });
}

const HGRN_ACTION = "compute HGRN";

/** Validates the arguments of HGRN. */
export function hgrnProblem(x: Tensor, g: Tensor, options: ScanOptions): CheckedScan {
  const states = stateOf(HGRN_ACTION, options);
  const call = { action: HGRN_ACTION, inputs: { x, g }, options, states };
  return linearProblem("hgrn", call, { added: "x", kept: "g" });
}

/** Validates the arguments of a step of HGRN. */
export function hgrnStepProblem(state: Tensor, x: Tensor, g: Tensor): CheckedScan {
  const options = { finalState: true, mode: "loop" } as const;
  const call = { action: HGRN_ACTION, inputs: { x, g }, options, states: { state } };
  return linearProblem("hgrn", call, { added: "x", kept: "g" });
}

/** Validates two inputs of one shape: what tokens add, and what they keep of what came before. */
function linearProblem(
  kind: "scan" | "hgrn",
  call: ScanCall,
  { added, kept }: { readonly added: string; readonly kept: string },
): CheckedScan {
  const { action, inputs } = call;
  const gpu = checkCall(call);
  const [[first, { shape }], [second, other]] = Object.entries(inputs);
  checkChannels(action, first, inputs[first]);
  checkShape(action, second, other, shape);
  const [batch, length, ...axes] = shape;
  const states = Object.keys(call.states).map((name) => [name, axes]);
  const sequences = checkSequences(call, [batch, length], Object.fromEntries(states));
  const elem = elemOf(action, added, inputs[added]);
  const weightElem = elemOf(action, kept, inputs[kept]);
  return { problem: { kind, heads: 1, width: volume(axes), elem, weightElem, ...sequences }, gpu };
}

/** Validates the arguments of running sums of exponentials. */
export function logCumsumExpProblem(x: Tensor, options: ScanOptions): CheckedScan {
  const action = "compute running log-sum-exps";
  const call = { action, inputs: { x }, options, states: stateOf(action, options) };
  const gpu = checkCall(call);
  checkChannels(action, "x", x);
  const [batch, length, ...axes] = x.shape;
  const sequences = checkSequences(call, [batch, length], { initialState: axes });
  const elem = elemOf(action, "x", x);
  return {
    problem: {
      ...{ kind: "logCumsumExp", heads: 1, width: volume(axes), elem, weightElem: elem },
      ...sequences,
    },
    gpu,
  };
}

/** Validates the arguments of a softmax scan. */
export function softmaxScanProblem(
  s: Tensor,
  v: Tensor,
  options: SoftmaxScanOptions,
): CheckedScan {
  const action = "compute a softmax scan";
  const call = { action, inputs: { s, v }, options, states: recordOf(action, options) };
  const gpu = checkCall(call);
  checkRank(action, "v", v, ["B", "T", "H", "V"]);
  checkChannels(action, "v", v);
  const [batch, length, heads, width] = v.shape;
  checkShape(action, "s", s, [batch, length, heads]);
  const rows = { "initialState.m": [heads], "initialState.u": [heads] };
  const axes = { ...rows, "initialState.w": [heads, width] };
  const sequences = checkSequences(call, [batch, length], axes);
  const elems = { elem: elemOf(action, "v", v), weightElem: elemOf(action, "s", s) };
  return { problem: { kind: "softmaxScan", heads, width, ...elems, ...sequences }, gpu };
}

/** The state of a scan by its name in messages. */
function stateOf(action: string, options: ScanOptions): Record<string, Tensor> {
  checkOptionNames(action, options, TIME_OPTIONS);
  const { initialState } = options;
  return initialState === undefined ? {} : { initialState };
}

/** The parts of the state of a softmax scan by their names in messages. */
function recordOf(action: string, options: SoftmaxScanOptions): Record<string, Tensor> {
  checkOptionNames(action, options, TIME_OPTIONS);
  const { initialState } = options;
  if (initialState === undefined) return {};
  if (
    typeof initialState !== "object" || initialState === null || initialState instanceof Tensor
  ) {
    throw new TypeError(
      `Cannot ${action} as initialState must be a record { m, u, w }: initialState is ${
        kindOf(initialState)
      }`,
    );
  }
  const { m, u, w } = initialState;
  return { "initialState.m": m, "initialState.u": u, "initialState.w": w };
}

/** Checks what must hold before shapes are looked at. */
function checkCall({ action, inputs, states, options }: ScanCall): Gpu {
  const { finalState = false, reverse = false, cuSeqlens } = options;
  checkFlags(action, { finalState, reverse });
  return checkTensors(action, {
    ...inputs,
    ...states,
    ...(cuSeqlens !== undefined && { cuSeqlens }),
  });
}

function checkChannels(action: string, name: string, tensor: Tensor): void {
  if (tensor.shape.length >= 2 && volume(tensor.shape.slice(2)) >= 1) return;
  throw new TypeError(
    `Cannot ${action} as ${name} must have the axes [B, T, ...] with at least one channel: ${name} is [${tensor.shape}]`,
  );
}

/** Checks sequences, states of the axes behind `[N]`, and how tokens are walked. */
function checkSequences(
  { action, states, options }: ScanCall,
  [batch, length]: readonly [number, number],
  axes: Readonly<Record<string, readonly number[]>>,
): Omit<ScanProblem, "kind" | "heads" | "width" | "elem" | "weightElem"> {
  const { finalState = false, reverse = false, mode = "auto", chunkSize } = options;
  oneOf(action, "mode", mode, ["auto", "chunk", "loop"]);
  if (chunkSize !== undefined) oneOf<number>(action, "chunkSize", chunkSize, CHUNK_SIZES);
  const bounds = boundsOf(action, batch, length, options.cuSeqlens);
  for (const [name, state] of Object.entries(states)) {
    checkDType(action, name, state, ["f32"]);
    checkShape(action, name, state, [bounds.length - 1, ...axes[name]]);
  }
  const initial = Object.keys(states).length > 0;
  const rest = { chunkSize: chunkSize ?? null, gateRows: null };
  return { batch, length, initial, final: finalState, reverse, bounds, mode, ...rest };
}

function elemOf(action: string, name: string, tensor: Tensor): "f32" | "f16" {
  return checkDType(action, name, tensor, ["f32", "f16"]);
}
