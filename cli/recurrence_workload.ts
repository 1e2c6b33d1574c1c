import type { Gpu } from "../gpu/device.ts";
import { planRecurrence } from "../ops/recurrence/plan.ts";
import { recurrenceScheduleName, recurrenceSchedules } from "../ops/recurrence/schedule.ts";
import { attentionWorkload } from "./attention_workload.ts";
import {
  loadRecurrence,
  RECURRENCE_TOLERANCE,
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceDType,
  recurrenceError,
  type RecurrenceInput,
  type RecurrenceInputs,
  recurrenceProblemOf,
  recurrenceShapes,
} from "./recurrence_case.ts";
import type { SweepKeys } from "./sweep.ts";
import type { LoadedWorkload, Workload } from "./workload.ts";

/** A case that runs forwards, each row of the batch as one sequence, and returns the output alone. */
export type RecurrenceProfile = Omit<RecurrenceCase, "cuSeqlens" | "reverse" | "final">;

/** Sizes that a sweep of a recurrence may change. */
export const RECURRENCE_SWEEPS: SweepKeys<RecurrenceProfile> = {
  t: (size) => ({ length: size }),
  batch: (size) => ({ batch: size }),
  heads: (size) => ({ heads: size, qHeads: size, kHeads: size }),
  "key-dim": (size) => ({ keyDim: size }),
  "value-dim": (size) => ({ valueDim: size }),
};

/** Elements of states that the float64 reference may write in a check before timing. */
const BUDGET = 3e7;

/** A case of a recurrence as a workload, under the name of the engine or of a family. */
export function recurrenceWorkload(c: RecurrenceProfile, operator = "recurrence"): Workload {
  const { batch, length, heads, qHeads, keyDim, valueDim } = c;
  const tokens = batch * length;
  const outHeads = Math.max(heads, qHeads);
  return {
    operator,
    problem: c,
    name: recurrenceCaseName(c),
    tolerance: RECURRENCE_TOLERANCE[c.dtype],
    // decay and write of each state, and a multiply-add for what each output reads
    flops: tokens * keyDim * valueDim * (4 * heads + 2 * outHeads),
    bytes: inputBytes(c) + elementBytes(c.dtype) * tokens * outHeads * valueDim,
    rivals: {
      naive: () => recurrenceWorkload({ ...c, schedule: "naive" }, operator),
      attention: () => attentionWorkload(attentionCase(c)),
    },
    always: [],
    scheduleOn: (gpu) =>
      recurrenceScheduleName(planRecurrence(recurrenceProblemOf(gpu, c), gpu).schedule),
    schedulesOn: (gpu) =>
      recurrenceSchedules(recurrenceProblemOf(gpu, c), gpu).map(recurrenceScheduleName),
    load: (gpu) => loadWorkload(gpu, c),
    model: (_, medianMs) => ({ tokensPerSecond: 1000 * tokens / medianMs }),
  };
}

function inputBytes(c: RecurrenceProfile): number {
  return Object.entries(recurrenceShapes(c)).reduce(
    (sum, [name, shape]) => sum + elementBytes(recurrenceDType(c, name)) * product(shape),
    0,
  );
}

function elementBytes(dtype: "f32" | "f16"): number {
  return dtype === "f16" ? 2 : 4;
}

/** Causal attention over the same tokens. */
function attentionCase(c: RecurrenceProfile): Parameters<typeof attentionWorkload>[0] {
  const { batch, length, heads, qHeads, keyDim, valueDim, dtype, seed } = c;
  return {
    ...{ batch, qLen: length, kvLen: length, heads: Math.max(heads, qHeads), kvHeads: heads },
    ...{ headDim: keyDim, valueDim, dtype, inputs: "normal", seed, causal: true, lse: false },
  };
}

function loadWorkload(gpu: Gpu, c: RecurrenceProfile): LoadedWorkload {
  const loaded = loadRecurrence(gpu, c);
  return {
    compute: () => [loaded.compute().out],
    errorOf: (out) => spotCheckRecurrence(c, loaded.inputs, out),
    [Symbol.dispose]: () => loaded[Symbol.dispose](),
  };
}

/**
 * Compares an output with float64 on as many first tokens as the budget allows, all of them where the
 * problem is small: causality makes what they give independent of the others.
 */
export function spotCheckRecurrence(
  c: RecurrenceProfile,
  inputs: RecurrenceInputs,
  out: ArrayLike<number>,
): number {
  const { batch, length, heads, qHeads, keyDim, valueDim } = c;
  const affordable = Math.floor(BUDGET / (batch * heads * keyDim * valueDim));
  const tokens = Math.min(length, Math.max(1, affordable));
  const shape = [batch, length, Math.max(heads, qHeads), valueDim];
  const cut = Object.entries(inputs).map(([name, tensor]) => [
    name,
    tensor.shape[0] === batch && tensor.shape[1] === length && tensor.shape.length > 2
      ? firstTokens(tensor, tokens)
      : tensor,
  ]);
  return recurrenceError({ ...c, length: tokens }, Object.fromEntries(cut), {
    out: firstTokens({ data: out as Float32Array, shape }, tokens).data,
  });
}

/** The first tokens of each row of a `[B, T, …]` tensor. */
function firstTokens({ data, shape }: RecurrenceInput, tokens: number): RecurrenceInput {
  const [batch, length, ...row] = shape;
  const width = product(row);
  const first = new Float32Array(batch * tokens * width);
  for (let b = 0; b < batch; b++) {
    const start = b * length * width;
    first.set(data.subarray(start, start + tokens * width), b * tokens * width);
  }
  return { data: first, shape: [batch, tokens, ...row] };
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((result, size) => result * size, 1);
}
