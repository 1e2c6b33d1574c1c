import type { Gpu } from "../../gpu/device.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { SequenceOptions } from "../recurrence/options.ts";
import { checkFlags, oneOf } from "../options.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options of {@linkcode causalConv1dStep}; C channels. */
export interface CausalConv1dStepOptions {
  /** Added to the sum, f32 or f16: `[C]`. */
  bias?: Tensor;
  /**
   * What the sum goes through in the end.
   *
   * @default {"none"}
   */
  activation?: "silu" | "none";
}

/** Options of {@linkcode causalConv1d}; C channels, W taps, N sequences. */
export interface CausalConv1dOptions
  extends CausalConv1dStepOptions, Pick<SequenceOptions, "cuSeqlens"> {
  /**
   * The W − 1 inputs before the first token of each sequence, f32 `[N, C, W − 1]`, the oldest first; 0 by
   * default.
   */
  state?: Tensor<"f32">;
  /**
   * Whether the last W − 1 inputs of each sequence are returned.
   *
   * @default {false}
   */
  finalState?: boolean;
}

/** What a causal convolution is to compute, validated; no tensors and no GPU. */
export interface ConvProblem {
  readonly channels: number;
  /** W. */
  readonly width: number;
  readonly elem: "f32" | "f16";
  readonly weightElem: "f32" | "f16";
  readonly biasElem: "f32" | "f16" | null;
  readonly activation: "silu" | "none";
  readonly initial: boolean;
  readonly final: boolean;
  /** Whether the given states receive those behind the last tokens. */
  readonly inPlace: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
}

/** The tensors of a call. */
export interface ConvTensors {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly state: Tensor | undefined;
}

const ACTION = "compute a causal convolution";
const STEP_OPTIONS: readonly string[] = ["bias", "activation"];
const OPTIONS: readonly string[] = [...STEP_OPTIONS, "state", "finalState", "cuSeqlens"];

/** Most taps of a filter: it takes twice as many registers of four channels. */
const MAX_WIDTH = 8;

/** Most tokens of a step: one invocation reads a state and writes it, and walks what is between. */
const MAX_STEP = 64;

/** Validates the arguments of a causal convolution. */
export function convProblem(
  x: Tensor,
  weight: Tensor,
  options: CausalConv1dOptions,
): { problem: ConvProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { finalState = false, bias, state, cuSeqlens } = options;
  checkFlags(ACTION, { finalState });
  const optional = Object.entries({ bias, state, cuSeqlens }).filter(([, t]) => t !== undefined);
  const gpu = checkTensors(ACTION, { x, weight, ...Object.fromEntries(optional) });
  const sizes = checkSizes({ x, weight, bias, state }, options.activation);
  const bounds = boundsOf(ACTION, x.shape[0], x.shape[1], cuSeqlens);
  if (state !== undefined) checkState(state, bounds.length - 1, sizes);
  const states = { initial: state !== undefined, final: finalState, inPlace: false };
  return { problem: { ...sizes, ...states, bounds }, gpu };
}

/** Validates the arguments of a step of a causal convolution. */
export function convStepProblem(
  { x, weight, state }: { readonly x: Tensor; readonly weight: Tensor; readonly state: Tensor },
  options: CausalConv1dStepOptions,
): { problem: ConvProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  const { bias } = options;
  const gpu = checkTensors(ACTION, { x, weight, state, ...(bias !== undefined && { bias }) });
  const sizes = checkSizes({ x, weight, bias, state }, options.activation);
  const [batch, length] = x.shape;
  if (length > MAX_STEP) {
    throw new TypeError(
      `Cannot ${ACTION} as a step takes at most ${MAX_STEP} tokens: x is [${x.shape}]`,
    );
  }
  checkState(state, batch, sizes);
  const bounds = boundsOf(ACTION, batch, length, undefined);
  return { problem: { ...sizes, initial: true, final: true, inPlace: true, bounds }, gpu };
}

type Sizes = Omit<ConvProblem, "initial" | "final" | "inPlace" | "bounds">;

/** Checks x, weight and bias against each other. */
function checkSizes({ x, weight, bias }: ConvTensors, activation: unknown = "none"): Sizes {
  checkRank(ACTION, "x", x, ["B", "T", "C"]);
  checkRank(ACTION, "weight", weight, ["C", "W"]);
  const channels = x.shape[2];
  const [filters, width] = weight.shape;
  if (channels < 1) {
    throw new TypeError(`Cannot ${ACTION} as x must have a channel: x is [${x.shape}]`);
  }
  if (filters !== channels) {
    throw new TypeError(
      `Cannot ${ACTION} as weight must have a filter for each of the ${channels} channels of x: weight is [${weight.shape}]`,
    );
  }
  if (width < 1 || width > MAX_WIDTH) {
    throw new RangeError(
      `Cannot ${ACTION} as filters must have 1 to ${MAX_WIDTH} taps: weight is [${weight.shape}]`,
    );
  }
  if (bias !== undefined) checkShape(ACTION, "bias", bias, [channels]);
  oneOf<unknown>(ACTION, "activation", activation, ["silu", "none"]);
  return {
    ...{ channels, width },
    elem: checkDType(ACTION, "x", x, ["f32", "f16"]),
    weightElem: checkDType(ACTION, "weight", weight, ["f32", "f16"]),
    biasElem: bias === undefined ? null : checkDType(ACTION, "bias", bias, ["f32", "f16"]),
    activation: activation as "silu" | "none",
  };
}

function checkState(state: Tensor, sequences: number, { channels, width }: Sizes): void {
  checkDType(ACTION, "state", state, ["f32"]);
  checkShape(ACTION, "state", state, [sequences, channels, width - 1]);
}
