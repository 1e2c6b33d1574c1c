import { hex, type Tone } from "./palette.ts";
import type { Paint, Panel } from "./picture.ts";

/** Where a grid of cells stands. */
export interface Place {
  readonly pitch: number;
  readonly gap: number;
  readonly x: number;
  readonly y: number;
}

/** Cells of a row that look the same: row, first column, count. */
export type Run = readonly [row: number, column: number, count: number];

type Corner = readonly [u: number, v: number];

/** The cells of each paint, those beside each other together, at most `longest` of them. */
export function runsOf({ rows, columns, cells }: Panel, paints: number, longest: number): Run[][] {
  const runs: Run[][] = Array.from({ length: paints }, () => []);
  for (let row = 0; row < rows; row++) {
    const line = cells.subarray(row * columns, (row + 1) * columns);
    for (let column = 0; column < columns;) {
      let end = column + 1;
      while (end < columns && end - column < longest && line[end] === line[column]) end++;
      runs[line[column]].push([row, column, end - column]);
      column = end;
    }
  }
  return runs;
}

/** Runs of a paint as one path for each of its tones; several tones share a cell in bands. */
export function paintPaths({ tones }: Paint, runs: readonly Run[], place: Place): string[] {
  if (runs.length === 0) return [];
  const { pitch, gap, x, y } = place;
  const size = pitch - gap;
  if (tones.length > 1) {
    return tones.map((tone, band) => {
      const corners = bandCorners(band / tones.length, (band + 1) / tones.length);
      const cells = runs.flatMap(([row, column, count]) =>
        Array.from({ length: count }, (_, i) => {
          const points = corners.map(([u, v]) =>
            `${decimal(x + (column + i) * pitch + u * size)} ${decimal(y + row * pitch + v * size)}`
          );
          return `M${points.join("L")}z`;
        })
      );
      return `<path class="${classOf(tone)}" d="${cells.join("")}" />`;
    });
  }
  // cells that stand apart have round corners: a stroke of 2 around what is 2 smaller
  const round = size >= 6 && runs.every(([, , count]) => count === 1) ? 1 : 0;
  const cells = runs.map(([row, column, count]) => {
    const wide = count * pitch - gap - 2 * round;
    const high = size - 2 * round;
    return `M${x + column * pitch + round} ${y + row * pitch + round}h${wide}v${high}h-${wide}z`;
  });
  const name = classOf(tones[0]) + (round ? " round" : "");
  return [`<path class="${name}" d="${cells.join("")}" />`];
}

/** Corners of what lies in a unit square between two diagonals, 0 the first corner and 1 the last. */
function bandCorners(from: number, to: number): Corner[] {
  const [start, end] = [from, to].map((t): Corner => t <= 0.5 ? [2 * t, 0] : [1, 2 * t - 1]);
  const upper: Corner[] = from < 0.5 && to > 0.5 ? [start, [1, 0], end] : [start, end];
  // the diagonal of the square mirrors one side to the other
  return [...upper, ...upper.map(([u, v]): Corner => [v, u]).reverse()];
}

/** The class of what has this tone. */
export function classOf({ light }: Tone): string {
  return `c${hex(light).slice(1)}`;
}

/** A coordinate with at most two digits behind the point. */
export function decimal(value: number): number {
  return Math.round(value * 100) / 100;
}
