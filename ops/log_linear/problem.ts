import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { Tensor } from "../../gpu/tensor.ts";
import type { LogLinearInput } from "../../kernels/log_linear/config.ts";
import { areCopyable, checkElem, checkScale } from "../attention/sizes.ts";
import { checkFlags, oneOf } from "../options.ts";
import { checkSizes } from "../recurrence/problem.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";
import { type LogLinearAttentionOptions, type LogLinearState, OPTIONS } from "./options.ts";

/** The tensors of a call. */
export type LogLinearTensors = Readonly<Record<LogLinearInput, Tensor>>;

/** What log-linear attention is to compute, validated; no tensors and no GPU. */
export interface LogLinearProblem {
  /** HQ, HK and HV. */
  readonly qHeads: number;
  readonly kHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** L. */
  readonly levels: number;
  /** Storage of the inputs; the output has that of q. */
  readonly inputs: Readonly<Record<LogLinearInput, "f32" | "f16">>;
  readonly scale: number;
  /** Whether sequences start from given states. */
  readonly resumed: boolean;
  readonly final: boolean;
  /** Whether the given states receive those behind the last tokens. */
  readonly inPlace: boolean;
  readonly valueFirst: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly schedule: string | null;
}

/** A problem, its tensors and their device. */
export interface CheckedLogLinear {
  readonly problem: LogLinearProblem;
  readonly gpu: Gpu;
}

/** What the operator does, for errors. */
export const ACTION = "compute log-linear attention";

/** Most levels: places are u32. */
const MAX_LEVELS = 32;

/** Validates the arguments of log-linear attention: the one place that throws for them. */
export function logLinearProblem(
  tensors: LogLinearTensors,
  options: LogLinearAttentionOptions,
  inPlace: boolean,
): CheckedLogLinear {
  checkOptionNames(ACTION, options, OPTIONS);
  const { initialState, finalState = false, stateLayout = "kv", cuSeqlens } = options;
  const { schedule = null } = options;
  checkFlags(ACTION, { finalState });
  oneOf(ACTION, "stateLayout", stateLayout, ["kv", "vk"]);
  if (schedule !== null && typeof schedule !== "string") {
    throw new TypeError(
      `Cannot ${ACTION} as schedule must be a name: schedule is ${kindOf(schedule)}`,
    );
  }
  const state = initialState === undefined ? null : partsOf(initialState);
  const gpu = checkTensors(ACTION, {
    ...tensors,
    ...(state && { "initialState.s": state.s, "initialState.t": state.t }),
    ...(cuSeqlens !== undefined && { cuSeqlens }),
  });
  const { q, k, v, g, lambda } = tensors;
  const sizes = checkSizes({ action: ACTION, featureMap: "identity" }, q, k, v);
  const { batch, length, qHeads, kHeads, heads, keyDim, valueDim } = sizes;
  const elem = checkElem(ACTION, { q, k, v });
  const bounds = boundsOf(ACTION, batch, length, cuSeqlens);
  checkShape(ACTION, "g", g, [batch, length, heads]);
  const levels = levelsOf(lambda, [batch, length, heads], bounds);
  const axes = stateLayout === "kv" ? [keyDim, valueDim] : [valueDim, keyDim];
  if (state) checkState(state, [bounds.length - 1, heads, levels, ...axes]);
  const problem: LogLinearProblem = {
    ...{ qHeads, kHeads, heads, keyDim, valueDim, levels },
    inputs: {
      ...{ q: elem, k: elem, v: elem },
      g: checkDType(ACTION, "g", g, ["f32", "f16"]),
      lambda: checkDType(ACTION, "lambda", lambda, ["f32", "f16"]),
    },
    scale: checkScale(ACTION, options.scale ?? 1, keyDim),
    resumed: state !== null,
    final: finalState || inPlace,
    inPlace,
    valueFirst: stateLayout === "vk",
    bounds,
    schedule,
  };
  return { problem, gpu };
}

/** L: enough levels for the longest sequence; how many tokens a state has had only the GPU knows. */
function levelsOf(
  lambda: Tensor,
  rows: readonly number[],
  bounds: readonly number[],
): number {
  checkRank(ACTION, "lambda", lambda, ["B", "T", "HV", "L"]);
  const levels = lambda.shape[3];
  checkShape(ACTION, "lambda", lambda, [...rows, levels]);
  const longest = bounds.reduce(
    (most, bound, n) => Math.max(most, bound - (bounds[n - 1] ?? 0)),
    0,
  );
  const needed = Math.max(1, 33 - Math.clz32(Math.max(0, longest - 1)));
  if (levels >= needed && levels <= MAX_LEVELS) return levels;
  throw new RangeError(
    `Cannot ${ACTION} as sequences of ${longest} tokens need ${needed} to ${MAX_LEVELS} levels: lambda is [${lambda.shape}]`,
  );
}

function partsOf(state: unknown): LogLinearState {
  if (typeof state === "object" && state !== null && !(state instanceof Tensor)) {
    return state as LogLinearState;
  }
  throw new TypeError(
    `Cannot ${ACTION} as initialState must be a record { s, t }: initialState is ${kindOf(state)}`,
  );
}

function checkState({ s, t }: LogLinearState, shape: readonly number[]): void {
  checkDType(ACTION, "initialState.s", s, ["f32"]);
  checkDType(ACTION, "initialState.t", t, ["i32"]);
  checkShape(ACTION, "initialState.s", s, shape);
  checkShape(ACTION, "initialState.t", t, shape.slice(0, 1));
  for (const [part, tensor] of Object.entries({ s, t })) {
    if (areCopyable([tensor])) continue;
    throw new TypeError(
      `Cannot ${ACTION} as the buffer of initialState.${part} must have COPY_SRC usage: it has not`,
    );
  }
}
