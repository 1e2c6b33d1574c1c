import { classOf, dimWords } from "../tuning.ts";
import type { KeyLayout } from "./key_layout.ts";
import type { AttentionProblem } from "./problem.ts";
import { type Band, UNBOUNDED } from "./window.ts";

/** Query rows of a kv head up to which keys are split over invocations. */
export const FEW_ROWS = 8;
/** Keys from which splitting them pays. */
const MANY_KEYS = 256;

/** Whether few queries meet many keys, as in decoding. */
export function hasFewRows({ qLen, heads, kvHeads, kvLen }: AttentionProblem): boolean {
  return qLen * (heads / kvHeads) <= FEW_ROWS && kvLen >= MANY_KEYS;
}

/** What tuning knows a problem by: everything but lengths and counts of heads that decides. */
export function attentionClass(problem: AttentionProblem): string {
  const { elem, headDim, valueDim, heads, kvHeads, keys, band, softcap, bias, weight, hooks } =
    problem;
  return classOf(
    ...["attention", elem, dimWords("D", headDim, "Dv", valueDim)],
    hasFewRows(problem) && `few queries of ${heads / kvHeads}`,
    bandWord(band),
    keysWords(keys),
    softcap !== null && "softcap",
    bias !== null && "bias",
    weight.rule !== "softmax" && weight.rule,
    hooks.scores.length + hooks.masks.length > 0 && "hooks",
  );
}

function bandWord(band: Band | null): string {
  if (band === null) return "full";
  return band.lo < -UNBOUNDED / 2 ? "causal" : "window";
}

function keysWords(keys: KeyLayout): string | null {
  if (keys.kind === "row") return null;
  if (keys.kind === "blocks") return `blocks of ${keys.queryBlock}`;
  if (keys.kind !== "cache") return keys.kind;
  return `cache in ${keys.layout === "pages" && keys.named === null ? "all " : ""}${keys.layout}`;
}
