import { figure } from "../output.ts";
import { fadedTone } from "./palette.ts";
import type { Paint } from "./picture.ts";
import { HIDDEN, type Sees, type Shading } from "./shading.ts";

/** From the lowest to the highest scores. */
const MARKS = ["-", "=", "+", "#"];
const LEVELS: readonly Paint[] = MARKS.map((mark, level) => ({
  tones: [fadedTone(0, 0.75 * (1 - level / (MARKS.length - 1)))],
  mark,
}));

/** Shades what is seen by a score; `extremes` are the lowest and the highest that are finite. */
export function scoreShading(
  sees: Sees,
  score: (h: number, i: number, j: number) => number,
  [low, high]: readonly [number, number],
): Shading {
  const step = (high - low) / LEVELS.length;
  const levelOf = (s: number): number =>
    step > 0 ? Math.min(LEVELS.length - 1, Math.max(0, Math.floor((s - low) / step))) : 3;
  const shown = LEVELS.map((paint, level) => ({
    paints: [paint],
    text: `seen, score ${figure(low + level * step)} to ${figure(low + (level + 1) * step)}`,
  }));
  return {
    paints: [HIDDEN, ...LEVELS],
    legend: [
      ...(step > 0
        ? shown.toReversed()
        : [{ paints: [LEVELS[3]], text: `seen, score ${figure(low)}` }]),
      { paints: [HIDDEN], text: "not seen" },
    ],
    paintOf: (h) => (i) => (j) => sees(h, i, j) ? 1 + levelOf(score(h, i, j)) : 0,
  };
}
