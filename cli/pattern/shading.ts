import type { LegendEntry, Paint } from "./picture.ts";
import { groundTone, markOf, toneOf } from "./palette.ts";

/** Whether a query sees a key in a head. */
export type Sees = (h: number, i: number, j: number) => boolean;

/** How a matrix of queries and keys is painted. */
export interface Shading {
  readonly paints: readonly Paint[];
  readonly legend: readonly LegendEntry[];
  /** The paints of a head, of a query, of a key. */
  paintOf(h: number): (i: number) => (j: number) => number;
}

/** Keys that are not seen. */
export const HIDDEN: Paint = { tones: [groundTone(0)], mark: "·" };

/** Keys that are seen. */
export const SEEN: Paint = { tones: [toneOf(0, "seen")], mark: markOf(0, "seen") };

/** Tells what is seen from what is not. */
export function plainShading(sees: Sees): Shading {
  return {
    paints: [HIDDEN, SEEN],
    legend: [
      { paints: [SEEN], text: "seen by the query" },
      { paints: [HIDDEN], text: "not seen" },
    ],
    paintOf: (h) => (i) => (j) => Number(sees(h, i, j)),
  };
}
