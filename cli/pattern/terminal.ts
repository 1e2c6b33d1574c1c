import { mix, type Rgb } from "./palette.ts";
import { marksOf, type Paint, type Panel, type Picture, ticks } from "./picture.ts";

/** What the terminal can show. */
export interface TerminalOptions {
  /** Characters of a line. */
  readonly width: number;
  readonly colour: boolean;
}

/** How cells become characters. */
interface Scale {
  /** Characters before the grid: numbers and the title of the axis. */
  readonly gutter: number;
  /** Cells on the side of the square that becomes one place; it shows its most telling cell. */
  readonly share: number;
  /** Characters of a place. */
  readonly wide: 1 | 2;
  /** Places of a column in one line: in colour a character has an upper and a lower half. */
  readonly halves: 1 | 2;
  readonly colour: boolean;
}

/** Between panels that stand beside each other. */
const BETWEEN = "   ";

/** The picture as text of at most `width` characters a line, as large as fits. */
export function renderTerminal(picture: Picture, { width, colour }: TerminalOptions): string {
  const { title, paints, panels, legend } = picture;
  const [{ rows, columns, axes }] = panels;
  const gutter = axes ? Math.max(axes.rows.length, String(rows).length) + 2 : 0;
  const room = Math.max(1, width - gutter);
  const share = Math.ceil(columns / room);
  const places = Math.ceil(columns / share);
  const wide = 2 * places <= room ? 2 : 1;
  const scale: Scale = { gutter, share, wide, halves: colour && wide === 1 ? 2 : 1, colour };
  const heads = panels.map((panel) => headsOf(panel, scale));
  const grid = gutter + wide * places;
  const span = Math.max(grid, ...heads.flat().map(({ length }) => length));
  const blocks = panels.map((panel, i) => [
    ...heads[i].map((head) => head.padEnd(span)),
    ...linesOf(panel, paints, scale).map((line) => line + " ".repeat(span - grid)),
  ]);
  const across = Math.max(1, Math.floor((width + BETWEEN.length) / (span + BETWEEN.length)));
  const lines = [
    title,
    "",
    ...besideEachOther(blocks, across),
    "",
    ...legend.map(({ paints, text }) => `${samples(paints, colour)} ${text}`),
    ...(share > 1 ? [`one place shows the most telling of ${share} x ${share} cells`] : []),
  ];
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** What stands above a panel: caption, titles of the axes, numbers of the columns. */
function headsOf({ caption, axes, columns }: Panel, { gutter, share, wide }: Scale): string[] {
  const captions = caption ? [" ".repeat(gutter) + caption] : [];
  // the panels after the first have no axes, but stand beside it
  if (!axes) return [...captions, "", ""];
  let numbers = axes.rows;
  for (const tick of ticks(columns)) {
    const at = gutter + wide * Math.floor(tick / share);
    if (numbers.length < at) numbers = numbers.padEnd(at) + tick;
  }
  return [...captions, " ".repeat(gutter) + axes.columns, numbers];
}

/** The rows of a panel, each with its number. */
function linesOf(panel: Panel, paints: readonly Paint[], scale: Scale): string[] {
  const { gutter, share, halves } = scale;
  const { rows, columns, cells } = reduced(panel, share);
  const numbers = panel.axes
    ? ticks(panel.rows).map((tick) => [tick, Math.floor(tick / share)])
    : [];
  return Array.from({ length: Math.ceil(rows / halves) }, (_, line) => {
    const together = [halves * line, halves * line + 1].slice(0, halves).filter((row) =>
      row < rows
    );
    const [number = ""] = numbers.find(([, row]) => together.includes(row)) ?? [];
    const places = Array.from(
      { length: columns },
      (_, column) => place(together.map((row) => paints[cells[row * columns + column]]), scale),
    );
    return String(number).padStart(gutter - 2).padEnd(gutter) + places.join("");
  });
}

/** A grid in which a cell stands for a square of `share` x `share`. */
function reduced(panel: Panel, share: number): Pick<Panel, "rows" | "columns" | "cells"> {
  const rows = Math.ceil(panel.rows / share);
  const columns = Math.ceil(panel.columns / share);
  const cells = new Uint8Array(rows * columns);
  panel.cells.forEach((cell, i) => {
    const row = Math.floor(Math.floor(i / panel.columns) / share);
    const at = row * columns + Math.floor((i % panel.columns) / share);
    cells[at] = Math.max(cells[at], cell);
  });
  return { rows, columns, cells };
}

/** The characters of a place, or of two, one above the other. */
function place(paints: readonly Paint[], { colour, wide }: Scale): string {
  const [upper, lower] = paints;
  if (!colour) return upper.mark.padEnd(wide);
  if (wide === 2) return wideCell(upper);
  return `\x1b[38;5;${blend(upper)}m${lower ? `\x1b[48;5;${blend(lower)}m` : ""}▀\x1b[0m`;
}

/** Two coloured spaces; where windows overlap, the first and the last of their tones. */
function wideCell({ tones }: Paint): string {
  const [left, right] = [tones[0], tones[tones.length - 1]].map(({ dark }) => colourIndex(dark));
  return `\x1b[48;5;${left}m \x1b[48;5;${right}m \x1b[0m`;
}

function blend({ tones }: Paint): number {
  return colourIndex(mix(tones[0].dark, tones[tones.length - 1].dark, 0.5));
}

/** Samples for the legend. */
function samples(paints: readonly Paint[], colour: boolean): string {
  return colour ? paints.map((paint) => wideCell(paint)).join("") : marksOf(paints);
}

/** The nearest of the 256 colours that terminals share: a cube of 6 x 6 x 6, and 24 greys. */
function colourIndex([red, green, blue]: Rgb): number {
  if (Math.max(red, green, blue) - Math.min(red, green, blue) < 24) {
    return 232 + Math.min(23, Math.max(0, Math.round(((red + green + blue) / 3 - 8) / 10)));
  }
  const level = (part: number) => part < 48 ? 0 : part < 115 ? 1 : Math.round((part - 55) / 40);
  return 16 + 36 * level(red) + 6 * level(green) + level(blue);
}

/** Blocks of lines, `across` of them beside each other. */
function besideEachOther(blocks: readonly string[][], across: number): string[] {
  const lines: string[] = [];
  for (let first = 0; first < blocks.length; first += across) {
    const line = blocks.slice(first, first + across);
    if (first > 0) lines.push("");
    line[0].forEach((_, i) => lines.push(line.map((block) => block[i]).join(BETWEEN)));
  }
  return lines;
}
