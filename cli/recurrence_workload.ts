import type { Gpu } from "../gpu/device.ts";
import { elementBytes, volume } from "../gpu/dtype.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { planRecurrence } from "../ops/recurrence/plan.ts";
import { recurrenceScheduleName, recurrenceSchedules } from "../ops/recurrence/schedule.ts";
import { attentionWorkload } from "./attention_workload.ts";
import { firstTokens } from "./first_tokens.ts";
import { flattened } from "./records.ts";
import {
  loadRecurrence,
  RECURRENCE_TOLERANCE,
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceDType,
  recurrenceError,
  type RecurrenceInputs,
  recurrenceProblemOf,
  recurrenceShapes,
} from "./recurrence_case.ts";
import type { SweepKeys } from "./sweep.ts";
import { recurrenceChoices } from "./tune/recurrence_choices.ts";
import { type LoadedWorkload, tokenModel, type Workload } from "./workload.ts";

/** A case that runs forwards, each row of the batch as one sequence. */
export type RecurrenceProfile = Omit<RecurrenceCase, "cuSeqlens" | "reverse">;

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
  const bytes = bytesOf(c);
  return {
    operator,
    problem: c,
    name: recurrenceCaseName(c),
    tolerance: RECURRENCE_TOLERANCE[c.dtype],
    // decay, write and, of a delta rule, erase of each state; a multiply-add for what each output reads
    flops: tokens * keyDim * valueDim * ((c.delta ? 6 : 4) * heads + 2 * outHeads),
    bytes,
    rivals: {
      naive: () => recurrenceWorkload({ ...c, schedule: "naive" }, operator),
      attention: () => attentionWorkload(attentionCase(c)),
    },
    always: [],
    scheduleOn: (gpu) =>
      recurrenceScheduleName(planRecurrence(recurrenceProblemOf(gpu, c), gpu).schedule),
    schedulesOn: (gpu) =>
      recurrenceSchedules(recurrenceProblemOf(gpu, c), gpu).map(recurrenceScheduleName),
    choices: (gpu) =>
      recurrenceChoices(
        recurrenceProblemOf(gpu, c),
        bytes,
        gpu,
        (choice) => recurrenceWorkload({ ...c, ...choice as Partial<RecurrenceProfile> }, operator),
      ),
    load: (gpu) => loadWorkload(gpu, c),
    model: tokenModel(tokens, bytes),
  };
}

/** Bytes of the inputs, of the output and of the state that is left, if any. */
function bytesOf(c: RecurrenceProfile): number {
  const { batch, length, heads, qHeads, keyDim, valueDim, dtype, normalize, final } = c;
  const inputs = Object.entries(recurrenceShapes(c)).map(
    ([name, shape]) => elementBytes(recurrenceDType(c, name)) * volume(shape),
  );
  const out = elementBytes(dtype) * batch * length * Math.max(heads, qHeads) * valueDim;
  const columns = valueDim + (normalize ? 1 : 0); // of S, and the running sum of the keys
  const finalState = final ? elementBytes("f32") * batch * heads * keyDim * columns : 0;
  return inputs.reduce((sum, bytes) => sum + bytes, out + finalState);
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
    compute: () => Object.values(flattened<Tensor>(loaded.compute())),
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
  const hasTokens = (name: string): boolean =>
    ["q", "k", "v", "gv"].includes(name) || (name === "g" && c.gate !== "head");
  const cut = Object.entries(inputs).map(([name, tensor]) => [
    name,
    hasTokens(name) ? firstTokens(tensor, tokens) : tensor,
  ]);
  return recurrenceError({ ...c, length: tokens, final: false }, Object.fromEntries(cut), {
    out: firstTokens({ data: out, shape }, tokens).data,
  });
}
