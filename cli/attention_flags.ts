import type { Gpu } from "../gpu/device.ts";
import type { AttentionWindow } from "../ops/attention/window.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { attentionSchedules, scheduleName } from "../ops/attention/schedule.ts";
import type { AttentionCase } from "./attention_case.ts";
import { type Arguments, type Flag, UsageError } from "./command.ts";
import { PROGRAMMABLE_FLAGS, programmableOf } from "./programmable_flags.ts";
import { SIZE_FLAGS, sizeCaseOf } from "./size_flags.ts";

/** The flags that describe a problem of attention. */
export const ATTENTION_FLAGS: Readonly<Record<string, Flag>> = {
  ...SIZE_FLAGS,
  "q-len": { value: "N", help: "queries, 1024 by default" },
  "kv-len": { value: "N", help: "keys, as many as queries by default" },
  causal: { help: "hide later keys" },
  window: { value: "L,R", help: "keys seen before and behind the diagonal; empty is unbounded" },
  ...PROGRAMMABLE_FLAGS,
};

/** The case that the flags describe. */
export function attentionCaseOf(args: Arguments): AttentionCase {
  const programmable = programmableOf(args);
  const tokens = programmable.packed?.reduce((sum, length) => sum + length, 0);
  const qLen = tokens ?? args.integer("q-len", 1024);
  const window = windowOf(args);
  return {
    ...sizeCaseOf(args),
    qLen,
    kvLen: args.integer("kv-len", qLen),
    ...programmable,
    ...(args.has("causal") && { causal: true }),
    ...(window && { window }),
  };
}

/** Names of the schedules that fit the small problems of `check`. */
export function checkedSchedules(gpu: Gpu): string[] {
  const sizes = { batch: 1, qLen: 64, kvLen: 64, heads: 2, kvHeads: 1, headDim: 16, valueDim: 16 };
  return attentionSchedules(attentionProblemOf({ ...sizes, dtype: "f32" }), gpu).map(scheduleName);
}

/** The window that the flag describes, or undefined where it is absent. */
export function windowOf(args: Arguments): AttentionWindow | undefined {
  const text = args.text("window");
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
