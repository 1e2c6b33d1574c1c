import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import { FAST_INPUTS, type FastInput, type Rule } from "../../kernels/fast_weights/config.ts";
import { areCopyable, checkElem, checkScale } from "../attention/sizes.ts";
import { checkEps, checkFlags, oneOf } from "../options.ts";
import { checkSizes } from "../recurrence/problem.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkShape, checkShared, checkTensors } from "../tensors.ts";
import type { FastWeightsOptions } from "./options.ts";

/** What fast weights are to compute, validated; no tensors and no GPU. */
export interface FastProblem {
  readonly rule: Rule;
  readonly batch: number;
  readonly length: number;
  /** HQ, HK and HV. */
  readonly qHeads: number;
  readonly kHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Storage of the inputs that are there. */
  readonly inputs: Readonly<Partial<Record<FastInput, "f32" | "f16">>>;
  /** Storage of q, k, v and the output. */
  readonly elem: "f32" | "f16";
  readonly miniBatch: number;
  readonly eps: number;
  readonly scale: number;
  readonly initial: boolean;
  readonly final: boolean;
  readonly valueFirst: boolean;
  /** First token of each sequence among all, and one past the last token of the last. */
  readonly bounds: readonly number[];
  readonly schedule: string | null;
}

/** The tensors of a call by name, those that are there. */
export type FastTensors = Readonly<Partial<Record<FastInput, Tensor>>>;

/** The tensors of a state, by the names of what kernels bind. */
export type FastState = Readonly<Record<string, Tensor<"f32">>>;

/** A problem, its tensors, and the device that computes it. */
export interface CheckedFastWeights {
  readonly problem: FastProblem;
  readonly inputs: FastTensors;
  readonly initial: FastState | null;
  readonly gpu: Gpu;
}

/** An operator of fast weights. */
export interface FastRule {
  readonly rule: Rule;
  /** What it does, for errors. */
  readonly action: string;
  /** Inputs beside q, k and v that must be there. */
  readonly required: readonly FastInput[];
  /** What callers know inputs as, where it is not their name. */
  readonly names: Readonly<Partial<Record<FastInput, string>>>;
  /** The parts of a state, by the names of what kernels bind. */
  readonly parts: Readonly<Record<string, string>>;
  readonly miniBatch: number;
}

/** Options of any rule, and the record of its state. */
export type FastOptions = FastWeightsOptions & { eps?: number; initialState?: object };

/** q, k and v, and the other inputs, those that are not given included. */
export interface FastGiven {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly others: Readonly<Partial<Record<FastInput, Tensor | undefined>>>;
}

/** Validates the arguments of fast weights: the one place that throws for them, but names of options. */
export function fastProblem(
  rule: FastRule,
  { q, k, v, others }: FastGiven,
  options: FastOptions,
): CheckedFastWeights {
  const { action } = rule;
  const { finalState = false, stateLayout = "kv", schedule = null, cuSeqlens } = options;
  const { miniBatch = rule.miniBatch, eps = 1e-6, initialState } = options;
  checkFlags(action, { finalState });
  const more = Object.entries(others).filter(([name, tensor]) =>
    tensor !== undefined || rule.required.includes(name as FastInput)
  );
  const inputs = { q, k, v, ...Object.fromEntries(more) } as FastTensors;
  const initial = stateOf(rule, initialState);
  const gpu = checkTensors(action, {
    ...named(inputs, (name) => nameOf(rule, name)),
    ...(initial && named(initial, (part) => `initialState.${rule.parts[part]}`)),
    ...(cuSeqlens !== undefined && { cuSeqlens }),
  });
  const sizes = checkSizes({ action, featureMap: "identity" }, q, k, v);
  const { batch, length, qHeads, kHeads, heads, keyDim, valueDim } = sizes;
  if (rule.rule === "ttt") checkShared(action, "a head dim", { k: keyDim, v: valueDim });
  const elem = checkElem(action, { q, k, v });
  const stored = Object.entries(inputs).map(([name, tensor]) => {
    const { per, width } = FAST_INPUTS[name as FastInput];
    const row = width === "value" ? [valueDim] : [];
    const known = nameOf(rule, name);
    if (name in others) {
      checkShape(action, known, tensor, [
        ...(per === "token" ? [batch, length] : []),
        heads,
        ...row,
      ]);
    }
    return [name, checkDType(action, known, tensor, ["f32", "f16"])] as const;
  });
  oneOf(action, "stateLayout", stateLayout, ["kv", "vk"]);
  checkEps(action, eps);
  checkMiniBatch(action, miniBatch);
  if (schedule !== null && typeof schedule !== "string") {
    throw new TypeError(
      `Cannot ${action} as schedule must be a name: schedule is ${kindOf(schedule)}`,
    );
  }
  const problem: FastProblem = {
    ...{ rule: rule.rule, batch, length, qHeads, kHeads, heads, keyDim, valueDim, elem },
    inputs: Object.fromEntries(stored),
    ...{ miniBatch, eps, scale: checkScale(action, options.scale, keyDim) },
    ...{ initial: initial !== null, final: finalState, valueFirst: stateLayout === "vk" },
    bounds: boundsOf(action, batch, length, cuSeqlens),
    schedule,
  };
  if (initial) checkState(rule, initial, problem);
  return { problem, inputs, initial, gpu };
}

/** The shape of a part of the states of all sequences. */
export function partShape(
  part: string,
  { bounds, heads, keyDim, valueDim, valueFirst }: FastProblem,
): number[] {
  const rows = [bounds.length - 1, heads];
  if (part === "bias") return [...rows, valueDim];
  return [...rows, ...(valueFirst ? [valueDim, keyDim] : [keyDim, valueDim])];
}

function nameOf({ names }: FastRule, name: string): string {
  return names[name as FastInput] ?? name;
}

function named<T>(
  values: Readonly<Record<string, T>>,
  nameOf: (name: string) => string,
): Record<string, T> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [nameOf(name), value]));
}

/** The tensors of a given state. */
function stateOf({ action, parts }: FastRule, initialState: unknown): FastState | null {
  if (initialState === undefined) return null;
  if (
    typeof initialState !== "object" || initialState === null || initialState instanceof Tensor
  ) {
    const names = Object.values(parts).join(", ");
    throw new TypeError(
      `Cannot ${action} as initialState must be a record { ${names} }: initialState is ${
        kindOf(initialState)
      }`,
    );
  }
  const record = initialState as Readonly<Record<string, Tensor<"f32">>>;
  return Object.fromEntries(Object.entries(parts).map(([part, name]) => [part, record[name]]));
}

function checkState({ action, parts }: FastRule, state: FastState, problem: FastProblem): void {
  for (const [part, tensor] of Object.entries(state)) {
    const name = `initialState.${parts[part]}`;
    checkDType(action, name, tensor, ["f32"]);
    checkShape(action, name, tensor, partShape(part, problem));
    if (areCopyable([tensor])) continue;
    throw new TypeError(
      `Cannot ${action} as the buffer of ${name} must have COPY_SRC usage: it has not`,
    );
  }
}

function checkMiniBatch(action: string, miniBatch: unknown): void {
  if (Number.isInteger(miniBatch) && Number(miniBatch) >= 1 && Number(miniBatch) < 2 ** 31) return;
  throw new RangeError(
    `Cannot ${action} as miniBatch must be an integer from 1 to 2^31 - 1: miniBatch is ${
      kindOf(miniBatch)
    }`,
  );
}
