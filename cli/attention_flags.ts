import type { Gpu } from "../gpu/device.ts";
import type { AttentionWindow } from "../ops/attention/problem.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { attentionSchedules, scheduleName } from "../ops/attention/schedule.ts";
import type { AttentionCase } from "./attention_case.ts";
import { type Arguments, type Flag, UsageError } from "./command.ts";

/** The flags that every operator has whose tensors are heads last. */
export const SIZE_FLAGS: Readonly<Record<string, Flag>> = {
  batch: { value: "N", help: "batch entries, 1 by default" },
  heads: { value: "N", help: "query heads, 8 by default" },
  "kv-heads": { value: "N", help: "key and value heads, as many as query heads by default" },
  "head-dim": { value: "N", help: "D, 64 by default" },
  "value-dim": { value: "N", help: "Dv, the same as D by default" },
  dtype: { value: "f32|f16", help: "storage, f32 by default" },
  schedule: { value: "NAME", help: "kind or full name of a schedule (see devices)" },
};

/** The flags that describe a problem of attention. */
export const ATTENTION_FLAGS: Readonly<Record<string, Flag>> = {
  ...SIZE_FLAGS,
  "q-len": { value: "N", help: "queries, 1024 by default" },
  "kv-len": { value: "N", help: "keys, as many as queries by default" },
  causal: { help: "hide later keys" },
  window: { value: "L,R", help: "keys seen before and behind the diagonal; empty is unbounded" },
};

/** The case that the flags describe. */
export function attentionCaseOf(args: Arguments): AttentionCase {
  const heads = args.integer("heads", 8, 1);
  const qLen = args.integer("q-len", 1024);
  const headDim = args.integer("head-dim", 64, 1);
  const window = parseWindow(args.text("window"));
  const schedule = args.text("schedule");
  return {
    batch: args.integer("batch", 1, 1),
    qLen,
    kvLen: args.integer("kv-len", qLen),
    heads,
    kvHeads: args.integer("kv-heads", heads, 1),
    headDim,
    valueDim: args.integer("value-dim", headDim, 1),
    dtype: args.choice("dtype", ["f32", "f16"]) ?? "f32",
    inputs: "normal",
    seed: 1,
    lse: false,
    ...(args.has("causal") && { causal: true }),
    ...(window && { window }),
    ...(schedule !== undefined && { schedule }),
  };
}

/** Names of the schedules that fit the small problems of `check`. */
export function checkedSchedules(gpu: Gpu): string[] {
  const sizes = { batch: 1, qLen: 64, kvLen: 64, heads: 2, kvHeads: 1, headDim: 16, valueDim: 16 };
  return attentionSchedules(attentionProblemOf({ ...sizes, dtype: "f32" }), gpu).map(scheduleName);
}

function parseWindow(text: string | undefined): AttentionWindow | undefined {
  if (text === undefined) return undefined;
  const sides = text.split(",");
  if (sides.length !== 2 || !sides.every((side) => /^\d*$/.test(side.trim()))) {
    throw new UsageError(
      `Cannot run the command: --window must be L,R with integers >= 0, current value is "${text}"`,
    );
  }
  const [left, right] = sides.map((side) => side.trim());
  return { ...(left && { left: Number(left) }), ...(right && { right: Number(right) }) };
}
