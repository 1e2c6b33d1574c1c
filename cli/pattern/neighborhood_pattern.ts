import { axisWindow, groupPlaces, type NeighborhoodAxis } from "../../ops/neighborhood/axes.ts";
import { matrixPanel } from "./matrix.ts";
import { neighborhoodTitle } from "./neighborhood_title.ts";
import { groundTone, HUE_COUNT, markOf, toneOf } from "./palette.ts";
import { checkCells, type LegendEntry, type Paint, type Panel, type Picture } from "./picture.ts";

/** Most queries on a map: each has a hue of its own. */
export const MAX_QUERIES: number = HUE_COUNT;

/** Most greys that tell dilation groups apart; beyond them they repeat. */
const MAX_GROUNDS = 9;

/**
 * Draws which keys the queries of a neighborhood of one axis see, as a matrix, or which of every
 * `step`-th key every `step`-th query sees.
 */
export function neighborhoodMatrix(axis: NeighborhoodAxis, step = 1): Picture {
  const { length, stride, dilation } = axis;
  const hues = Math.min(dilation, HUE_COUNT);
  const shades = stride > 1 ? ["seen", "soft"] as const : ["seen"] as const;
  const hidden: Paint = { tones: [groundTone(0)], mark: "·" };
  const seen = Array.from(
    { length: hues },
    (_, hue) =>
      shades.map((shade): Paint => ({ tones: [toneOf(hue, shade)], mark: markOf(hue, shade) })),
  ).flat();
  const selves = Array.from({ length: hues }, (_, hue): Paint => ({
    tones: [toneOf(hue, "self")],
    mark: "@",
  }));
  const panel = matrixPanel(length, length, (query) => {
    const keys = new Set(visibleOnAxis(axis, query));
    const hue = query % dilation % hues;
    const strideGroup = Math.floor(Math.floor(query / dilation) / stride);
    const paint = 1 + hue * shades.length + strideGroup % shades.length;
    const self = 1 + seen.length + hue;
    return (key) => key === query ? self : keys.has(key) ? paint : 0;
  }, step);
  return {
    title: neighborhoodTitle([axis]),
    paints: [hidden, ...seen, ...selves],
    panels: [panel],
    legend: [
      {
        paints: seen,
        text: "seen by the query" + (dilation > 1 ? ", a colour for each dilation group" : "") +
          (stride > 1 ? ", the tone tells stride groups apart" : ""),
      },
      { paints: selves, text: "the query itself" },
      { paints: [hidden], text: "not seen" },
    ],
  };
}

/**
 * Draws the windows of some queries of a neighborhood of two axes on the map of its tokens, or of
 * three axes on the slices of the map along the first.
 */
export function neighborhoodMap(
  axes: readonly NeighborhoodAxis[],
  queries: readonly (readonly number[])[],
): Picture {
  const lengths = axes.map(({ length }) => length);
  checkCells(lengths);
  const groups = groupsOf(axes);
  const windows = queries.map((query) =>
    productOf(axes.map((axis, i) => visibleOnAxis(axis, query[i])), lengths)
  );
  // which queries see a token, as bits
  const seers = new Uint8Array(groups.length);
  windows.forEach((window, q) => window.forEach((token) => seers[token] |= 1 << q));

  const grounds = groundPaints(axes);
  const masks = [...new Set(seers)].filter((mask) => mask > 0).sort((a, b) => a - b);
  const seen = masks.map((mask) =>
    windowPaint(queries.map((_, q) => q).filter((q) => mask >> q & 1))
  );
  const selves = queries.map((_, q): Paint => ({
    tones: [toneOf(q, "self")],
    mark: String(q + 1),
  }));

  const cells = seers.map((mask, token) =>
    mask > 0 ? grounds.length + masks.indexOf(mask) : groups[token] % grounds.length
  );
  queries.forEach((query, q) => {
    const [token] = productOf(query.map((x) => [x]), lengths);
    cells[token] = grounds.length + seen.length + q;
  });
  const shared = seen.filter(({ tones }) => tones.length > 1).slice(0, 3);
  return {
    title: neighborhoodTitle(axes),
    paints: [...grounds, ...seen, ...selves],
    panels: panelsOf(lengths, cells),
    legend: [
      ...queries.map((query, q): LegendEntry => ({
        paints: [selves[q], windowPaint([q])],
        text: `query ${query.join(",")} and the ${windows[q].length} keys that it sees`,
      })),
      ...(shared.length > 0 ? [{ paints: shared, text: "seen by several of them" }] : []),
      {
        paints: grounds,
        text: grounds.length > 1 ? "not seen, a grey for each dilation group" : "not seen",
      },
    ],
  };
}

/** Queries that show a neighborhood: near a corner, at an edge and free on a map, free in slices. */
export function tellingQueries(lengths: readonly number[]): number[][] {
  const middle = lengths.map((length) => length >> 1);
  if (lengths.length > 2) return [middle];
  const [rows, columns] = lengths;
  const queries = [[1, 1], [Math.floor(0.75 * rows), columns - 1], middle];
  // on the smallest maps they meet
  return [...new Map(queries.map((query) => [query.join(), query])).values()];
}

/** The keys that a query sees on one axis. */
function visibleOnAxis(axis: NeighborhoodAxis, query: number): number[] {
  const { dilation } = axis;
  const residue = query % dilation;
  const place = Math.floor(query / dilation);
  const { first, last } = axisWindow(axis, groupPlaces(axis, residue), place);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * dilation + residue);
}

/** The tokens whose coordinates are one of `places` on each axis. */
function productOf(places: readonly (readonly number[])[], lengths: readonly number[]): number[] {
  return places.reduce<number[]>(
    (tokens, xs, axis) => tokens.flatMap((token) => xs.map((x) => token * lengths[axis] + x)),
    [0],
  );
}

/** The dilation group of each token: residues, the last axis fastest. */
function groupsOf(axes: readonly NeighborhoodAxis[]): Uint32Array {
  return Uint32Array.from(axes.reduce<number[]>(
    (groups, { length, dilation }) =>
      groups.flatMap((group) => Array.from({ length }, (_, x) => group * dilation + x % dilation)),
    [0],
  ));
}

function groundPaints(axes: readonly NeighborhoodAxis[]): Paint[] {
  const groups = axes.reduce((product, { dilation }) => product * dilation, 1);
  const count = Math.min(groups, MAX_GROUNDS);
  return Array.from({ length: count }, (_, i) => ({
    tones: [groundTone(i / Math.max(1, count - 1))],
    mark: "·:',;`~_^"[i],
  }));
}

/** The paint of keys that these queries see. */
function windowPaint(queries: readonly number[]): Paint {
  return {
    tones: queries.map((q) => toneOf(q, "seen")),
    mark: queries.length > 1 ? "*" : markOf(queries[0], "seen"),
  };
}

/** One panel for two axes, a slice for each place on the first of three. */
function panelsOf(lengths: readonly number[], cells: Uint8Array): Panel[] {
  const [rows, columns] = lengths.slice(-2);
  const slices = cells.length / (rows * columns);
  return Array.from({ length: slices }, (_, slice) => ({
    caption: lengths.length > 2 ? `axis 0 = ${slice}` : "",
    ...(slice === 0 &&
      { axes: { rows: `axis ${lengths.length - 2}`, columns: `axis ${lengths.length - 1}` } }),
    rows,
    columns,
    cells: cells.subarray(slice * rows * columns, (slice + 1) * rows * columns),
  }));
}
