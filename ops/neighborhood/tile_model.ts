import { volume } from "../../gpu/dtype.ts";
import { once } from "../once.ts";
import { axisWindow, groupPlaces, type NeighborhoodAxis } from "./axes.ts";

/** The tiles of a kernel: one size for each token axis, in places of a dilation group. */
export interface TilePair {
  /** Queries of a workgroup along each axis. */
  readonly queryTile: readonly number[];
  /** Keys of a tile along each axis. */
  readonly keyTile: readonly number[];
}

/**
 * Where key tiles start: on a grid from the first place of the dilation group, or where the first
 * window of the query tile starts.
 */
export type TilePlacement = "grid" | "window";

/** What a pair of tiles costs on a problem, for one head of one batch entry. */
export interface TileCost {
  /** Query tiles of all dilation groups. */
  readonly queryTiles: number;
  /** Key tiles visited, summed over the query tiles; empty tiles of a box of windows included. */
  readonly visits: number;
  /** Key tiles visited by the query tile that visits most. */
  readonly busiest: number;
  /** Key tiles that dense attention visits for a query tile: the product of ⌈L / b⌉. */
  readonly denseTiles: number;
  /** T² over the query-key cells of all visits: dense pairs for each pair that is computed. */
  readonly workBound: number;
  /** `denseTiles / busiest`: the speedup where every query tile has a processor of its own. */
  readonly busiestBound: number;
  /** T² over the visible pairs: the speedup of a kernel that wastes no cell. */
  readonly flopBound: number;
  /** The share of visited cells that are visible pairs; 1 means nothing wasted. */
  readonly density: number;
  /** Whether no mask is needed: the queries of a tile see all keys of all tiles that it visits. */
  readonly blockSparse: boolean;
}

/**
 * The cost of a pair of tiles, from the loop bounds of a kernel alone.
 *
 * Everything factors by axis: a query tile visits the product of what it visits on each axis, so
 * sums and maxima are products of those of the axes.
 */
export function tileModel(
  axes: readonly NeighborhoodAxis[],
  tiles: TilePair,
  placement: TilePlacement,
): TileCost {
  const { queryTile, keyTile } = tiles;
  const costs = axisCosts(axes, tiles, placement);
  const visits = volume(costs.map((cost) => cost.visits));
  const busiest = volume(costs.map((cost) => cost.busiest));
  const denseTiles = volume(axes.map(({ length }, axis) => Math.ceil(length / keyTile[axis])));
  const cells = visits * volume(queryTile) * volume(keyTile);
  const densePairs = volume(axes.map(({ length }) => length)) ** 2;
  const visible = visiblePairs(axes);
  return {
    queryTiles: volume(costs.map((cost) => cost.queryTiles)),
    visits,
    busiest,
    denseTiles,
    workBound: densePairs / cells,
    busiestBound: denseTiles / busiest,
    flopBound: densePairs / visible,
    density: visible / cells,
    // tiles that hold no more keys than one window hold one window, and all queries share it
    blockSparse: axes.every(({ causal, windowSize }, axis) =>
      !causal && costs[axis].busiest * keyTile[axis] === windowSize
    ),
  };
}

/** Tokens of the tiles of a kernel on a layout. */
export interface TileBudget {
  readonly axes: readonly NeighborhoodAxis[];
  /** Queries of a tile. */
  readonly queries: number;
  /** Keys of a tile. */
  readonly keys: number;
  /** Whether a query tile may hold one place of the first of several axes only. */
  readonly flat: boolean;
}

/** The pair of tiles that visits least, key tiles starting at windows; of equals, the one whose rows
 * are longest on the last axes. */
export function bestTiles(
  { axes, queries, keys, flat }: TileBudget,
): TilePair & { visits: number } {
  const visitsOf = axes.map((axis) =>
    once(([a, b]: readonly [number, number]) => axisCost(axis, a, b, "window").visits)
  );
  let best: TilePair & { visits: number } | null = null;
  const shapes = flat && axes.length > 1
    ? tileShapes(queries, axes.slice(1)).map((shape) => [1, ...shape])
    : tileShapes(queries, axes);
  for (const queryTile of shapes) {
    for (const keyTile of tileShapes(keys, axes)) {
      const visits = volume(axes.map((_, i) => visitsOf[i]([queryTile[i], keyTile[i]])));
      if (best === null || visits < best.visits) best = { queryTile, keyTile, visits };
    }
  }
  if (best === null) throw new RangeError("Cannot choose tiles as there must be a token axis: 0");
  return best;
}

/**
 * All ways to write `volume` as one tile size for each axis, in lexicographic order.
 *
 * Shapes with a size whose half covers the longest dilation group are left out, unless all have
 * one.
 */
export function tileShapes(volume: number, axes: readonly NeighborhoodAxis[]): number[][] {
  const shapes = factorizations(volume, axes.length);
  const useful = shapes.filter((shape) =>
    shape.every((size, axis) => size < 2 * groupPlaces(axes[axis], 0))
  );
  return useful.length > 0 ? useful : shapes;
}

function factorizations(volume: number, rank: number): number[][] {
  if (rank === 1) return [[volume]];
  const shapes: number[][] = [];
  for (let size = 1; size <= volume; size++) {
    if (volume % size !== 0) continue;
    for (const rest of factorizations(volume / size, rank - 1)) shapes.push([size, ...rest]);
  }
  return shapes;
}

/** What the model counts on one axis, over its dilation groups. */
type AxisCost = Pick<TileCost, "queryTiles" | "visits" | "busiest">;

function axisCosts(
  axes: readonly NeighborhoodAxis[],
  { queryTile, keyTile }: TilePair,
  placement: TilePlacement,
): AxisCost[] {
  return axes.map((axis, i) => axisCost(axis, queryTile[i], keyTile[i], placement));
}

function axisCost(
  axis: NeighborhoodAxis,
  queryTile: number,
  keyTile: number,
  placement: TilePlacement,
): AxisCost {
  let [queryTiles, visits, busiest] = [0, 0, 0];
  for (const { places, groups } of groupLengths(axis)) {
    for (let place = 0; place < places; place += queryTile) {
      const lastPlace = Math.min(place + queryTile, places) - 1;
      const { first } = axisWindow(axis, places, place);
      const { last } = axisWindow(axis, places, lastPlace);
      const start = placement === "grid" ? first - first % keyTile : first;
      const visited = Math.ceil((last + 1 - start) / keyTile);
      queryTiles += groups;
      visits += groups * visited;
      busiest = Math.max(busiest, visited);
    }
  }
  return { queryTiles, visits, busiest };
}

/** Pairs of a query and a key that it sees, for one head of one batch entry. */
export function visiblePairs(axes: readonly NeighborhoodAxis[]): number {
  return volume(axes.map(axisPairs));
}

function axisPairs(axis: NeighborhoodAxis): number {
  let pairs = 0;
  for (const { places, groups } of groupLengths(axis)) {
    for (let place = 0; place < places; place++) {
      const { first, last } = axisWindow(axis, places, place);
      pairs += groups * (last - first + 1);
    }
  }
  return pairs;
}

/** How many dilation groups have how many places: their lengths differ by one at most. */
function groupLengths(axis: NeighborhoodAxis): { places: number; groups: number }[] {
  const { length, dilation } = axis;
  const places = groupPlaces(axis, 0);
  const groups = length - dilation * (places - 1);
  return [{ places, groups }, { places: places - 1, groups: dilation - groups }]
    .filter(({ groups }) => groups > 0);
}
