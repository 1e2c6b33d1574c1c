import type { Panel } from "./picture.ts";

/** Where the panels of a picture stand and how large their cells are, in pixels. */
export interface Arrangement {
  /** From one cell to the next. */
  readonly pitch: number;
  /** What of that is empty; none where cells are small. */
  readonly gap: number;
  /** The upper left corner of each panel. */
  readonly places: readonly { readonly x: number; readonly y: number }[];
  readonly width: number;
  readonly height: number;
}

/** Limits of an arrangement. */
export interface ArrangementOptions {
  /** Largest pitch. */
  readonly pitch: number;
  /** What the cells of a line of panels may be wide; a cell is at least a pixel. */
  readonly width: number;
  /** Empty columns and rows between panels. */
  readonly between: { readonly x: number; readonly y: number };
}

/** Cells stand apart from this pitch on. */
const LEAST_APART = 6;

/** Arranges panels of one size in lines. */
export function arrange(panels: readonly Panel[], options: ArrangementOptions): Arrangement {
  const [{ rows, columns }] = panels;
  const across = panelsAcross(panels.length);
  const fitting = Math.floor(options.width / (across * columns));
  const pitch = Math.max(1, Math.min(options.pitch, fitting));
  const gap = pitch < LEAST_APART ? 0 : Math.round(pitch / 12);
  const stepX = columns * pitch - gap + options.between.x;
  const stepY = rows * pitch - gap + options.between.y;
  return {
    pitch,
    gap,
    places: panels.map((_, i) => ({
      x: (i % across) * stepX,
      y: Math.floor(i / across) * stepY,
    })),
    width: across * stepX - options.between.x,
    height: Math.ceil(panels.length / across) * stepY - options.between.y,
  };
}

/** Panels of a line: about as many as lines, and where possible the same number in each. */
function panelsAcross(count: number): number {
  const root = Math.ceil(Math.sqrt(count));
  for (let across = root; across <= 2 * root; across++) if (count % across === 0) return across;
  return root;
}
