import type { AttentionWindow, Band } from "../../ops/attention/window.ts";
import type { DrawnHooks } from "../drawn_hooks.ts";
import { blockShading, blockStates } from "./block_shading.ts";
import { matrixPanel } from "./matrix.ts";
import { checkCells, type Picture } from "./picture.ts";
import { scoreShading } from "./score_shading.ts";
import { plainShading, type Sees, type Shading } from "./shading.ts";

/** What a picture of attention shows: `band` and hooks decide, the rest goes into the title. */
export interface AttentionPattern {
  readonly qLen: number;
  readonly kvLen: number;
  readonly causal: boolean;
  readonly window: AttentionWindow | undefined;
  /** Keys that a query sees, or null where it sees all. */
  readonly band: Band | null;
  /** Heads that are shown, one by default. */
  readonly heads?: number;
  readonly hooks?: DrawnHooks;
  /** The batch entry of which hooks are asked, 0 by default. */
  readonly batchEntry?: number;
  /** Blocks of a map of the mask, or of one that `statesOf` gives: states of a head's, row by row. */
  readonly map?: {
    readonly queryBlock: number;
    readonly keyBlock: number;
    readonly statesOf?: (h: number) => Uint8Array;
  } | undefined;
  /** How far apart the queries and keys are that are drawn, 1 by default. */
  readonly step?: number;
}

/** Draws which keys the queries of attention see, as a matrix for each head. */
export function attentionPattern(pattern: AttentionPattern): Picture {
  const { qLen, kvLen, heads = 1, step = 1 } = pattern;
  const [rows, columns] = [qLen, kvLen].map((length) => Math.ceil(length / step));
  checkCells([...(heads > 1 ? [heads] : []), rows, columns]);
  const { paints, legend, paintOf } = shadingOf(pattern);
  return {
    title: titleOf(pattern),
    paints,
    panels: Array.from({ length: heads }, (_, h) => {
      const { axes, ...panel } = matrixPanel(qLen, kvLen, paintOf(h), step);
      return {
        ...panel,
        ...(h === 0 && axes && { axes }),
        caption: heads > 1 ? `head ${h}` : "",
      };
    }),
    legend,
  };
}

function shadingOf(pattern: AttentionPattern): Shading {
  const { qLen, kvLen, band, map, batchEntry: b = 0, hooks: { score, mask } = {} } = pattern;
  const { lo, hi } = band ?? { lo: -qLen, hi: kvLen };
  const masked: Sees = (h, i, j) =>
    i + lo <= j && j <= i + hi && (mask === undefined || mask({ b, h, i, j }));
  const scored = (h: number, i: number, j: number): number => score?.(0, { b, h, i, j }) ?? 0;
  const sees: Sees = score === undefined
    ? masked
    : (h, i, j) => masked(h, i, j) && scored(h, i, j) > -Infinity;
  if (map) {
    const blocks = { qLen, kvLen, ...map };
    return blockShading(sees, map.statesOf ?? ((h) => blockStates(h, masked, blocks)), blocks);
  }
  if (score === undefined) return plainShading(sees);
  return scoreShading(sees, scored, extremesOf(pattern, sees, scored));
}

/** The lowest and the highest score that is finite and seen. */
function extremesOf(
  { qLen, kvLen, heads = 1 }: AttentionPattern,
  sees: Sees,
  scored: (h: number, i: number, j: number) => number,
): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < qLen; i++) {
      for (let j = 0; j < kvLen; j++) {
        const s = sees(h, i, j) ? scored(h, i, j) : NaN;
        if (!Number.isFinite(s)) continue;
        low = Math.min(low, s);
        high = Math.max(high, s);
      }
    }
  }
  return low <= high ? [low, high] : [0, 0];
}

function titleOf({ qLen, kvLen, causal, window, hooks, map }: AttentionPattern): string {
  const { left = "", right = "" } = window ?? {};
  return [
    "Attention",
    `${qLen} queries`,
    `${kvLen} keys`,
    ...(causal ? ["causal"] : []),
    ...(window ? [`window ${left},${right}`] : []),
    ...(hooks?.titles ?? []),
    ...(map ? [`blocks ${map.queryBlock}x${map.keyBlock}`] : []),
  ].join(", ");
}
