import { UsageError } from "../command.ts";
import type { Tone } from "./palette.ts";

/** How cells of one kind look. */
export interface Paint {
  /** Its tone, or one for each of the windows that overlap in the cell. */
  readonly tones: readonly Tone[];
  /** The character that stands for it where there is no colour. */
  readonly mark: string;
}

/** A grid of cells. */
export interface Panel {
  /** What stands above it, or "". */
  readonly caption: string;
  /** Titles of the axes; where they are absent, no numbers stand beside the grid either. */
  readonly axes?: { readonly rows: string; readonly columns: string };
  readonly rows: number;
  readonly columns: number;
  /** Row by row, which of the picture's paints each cell has. */
  readonly cells: Uint8Array;
}

/** What some paints mean. */
export interface LegendEntry {
  readonly paints: readonly Paint[];
  readonly text: string;
}

/** A picture of who sees whom, before it becomes text, SVG or PNG; its panels have one size. */
export interface Picture {
  readonly title: string;
  /** From the least to the most telling: where cells have to share a place, the last one shows. */
  readonly paints: readonly Paint[];
  readonly panels: readonly Panel[];
  readonly legend: readonly LegendEntry[];
}

/** Most cells of a picture. */
const MAX_CELLS = 2 ** 22;

/** Throws where a picture would have more cells than can be looked at. */
export function checkCells(sizes: readonly number[]): void {
  const cells = sizes.reduce((product, size) => product * size, 1);
  if (cells <= MAX_CELLS) return;
  throw new UsageError(
    `Cannot show the pattern as its picture must have at most ${MAX_CELLS} cells: it has ${
      sizes.join(" x ")
    }`,
  );
}

/** Where numbers stand beside an axis: at most 8, a power of two apart. */
export function ticks(count: number): number[] {
  let step = 1;
  while (count > 8 * step) step *= 2;
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
}

/** The characters of some paints, each once. */
export function marksOf(paints: readonly Paint[]): string {
  return [...new Set(paints.map(({ mark }) => mark))].join("");
}

/** The picture as a JSON document: a character for each cell. */
export function documentOf({ title, paints, panels, legend }: Picture): Record<string, unknown> {
  return {
    title,
    legend: legend.map(({ paints, text }) => ({
      marks: marksOf(paints),
      text,
    })),
    panels: panels.map(({ caption, rows, columns, cells }) => ({
      ...(caption !== "" && { caption }),
      rows: Array.from(
        { length: rows },
        (_, row) =>
          Array.from(
            cells.subarray(row * columns, (row + 1) * columns),
            (cell) => paints[cell].mark,
          ).join(""),
      ),
    })),
  };
}
