import type { AttentionWindow, Band } from "../../ops/attention/problem.ts";
import { matrixPanel } from "./matrix.ts";
import { groundTone, markOf, toneOf } from "./palette.ts";
import type { Paint, Picture } from "./picture.ts";

/** What a picture of attention shows: `band` decides, the rest goes into the title. */
export interface AttentionPattern {
  readonly qLen: number;
  readonly kvLen: number;
  readonly causal: boolean;
  readonly window: AttentionWindow | undefined;
  /** Keys that a query sees, or null where it sees all. */
  readonly band: Band | null;
}

/** Draws which keys the queries of attention see, as a matrix. */
export function attentionPattern(pattern: AttentionPattern): Picture {
  const { qLen, kvLen, band } = pattern;
  const hidden: Paint = { tones: [groundTone(0)], mark: "·" };
  const seen: Paint = { tones: [toneOf(0, "seen")], mark: markOf(0, "seen") };
  const { lo, hi } = band ?? { lo: -qLen, hi: kvLen };
  return {
    title: titleOf(pattern),
    paints: [hidden, seen],
    panels: [
      matrixPanel(qLen, kvLen, (i) => (j) => i + lo <= j && j <= i + hi ? 1 : 0),
    ],
    legend: [
      { paints: [seen], text: "seen by the query" },
      { paints: [hidden], text: "not seen" },
    ],
  };
}

function titleOf({ qLen, kvLen, causal, window }: AttentionPattern): string {
  const { left = "", right = "" } = window ?? {};
  return [
    "Attention",
    `${qLen} queries`,
    `${kvLen} keys`,
    ...(causal ? ["causal"] : []),
    ...(window ? [`window ${left},${right}`] : []),
  ].join(", ");
}
