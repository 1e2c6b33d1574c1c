import { volume } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { NeighborhoodConfig } from "../../kernels/neighborhood/pattern.ts";
import {
  keysOfBinding,
  keysOfTile,
  length,
  type Range,
  sourceOf,
  tilesOfLoop,
  type TokenPlan,
} from "../attention/tokens.ts";
import { axisWindow, groupPlaces, type NeighborhoodAxis } from "./axes.ts";
import type { NeighborhoodProblem } from "./problem.ts";
import { boxOf, type TiledSchedule } from "./schedule.ts";
import { tileModel } from "./tile_model.ts";

/** Places along x that one part of the keys holds where they are not divided: all. */
const UNDIVIDED = 2 ** 30;

/** How the tokens of a neighborhood are tiled, cut and divided. */
export interface NeighborhoodTokens extends TokenPlan {
  readonly pattern: NeighborhoodConfig;
}

/** Tokens on one to three axes, of which a query sees a neighborhood, cut and divided along x. */
export function neighborhoodTokens(
  problem: NeighborhoodProblem,
  schedule: TiledSchedule,
  limits: GpuLimits,
): NeighborhoodTokens {
  const { axes, attention } = problem;
  const { queryTile, keyTile } = schedule;
  const [x, ...others] = axes;
  const inner = volume(others.map(({ length }) => length));
  const [, bandsY, bandsZ] = boxOf(axes.map((axis, i) => bands(axis, queryTile[i])));
  const cost = tileModel(axes, schedule, "window");
  const { parts, partPlaces, partAdditional } = divideKeys(problem, schedule, limits);
  const count = attention.additional?.count ?? 0;
  const cells = volume([...queryTile, ...keyTile]);
  const pairsPerQuery = cost.visits * cells / attention.qLen + count;
  const tokensOf = (places: number): number => Math.min(places * x.dilation, x.length) * inner;
  return {
    pattern: patternConfig(problem, schedule, parts > 1),
    parts,
    queryStep: queryTile[0] * x.dilation * inner,
    queryTiles: (queries) =>
      bands({ ...x, length: length(queries) / inner }, queryTile[0]) * bandsY * bandsZ,
    keys: ({ queries, parts }) => {
      const [first, end] = windowsOf(x, [
        queries[0] / inner / x.dilation,
        Math.ceil(queries[1] / inner / x.dilation),
      ]);
      const begin = Math.min(Math.max(first, parts[0] * partPlaces), end);
      return [
        tokensOf(begin),
        tokensOf(Math.max(begin, Math.min(end, parts[1] * partPlaces))),
      ];
    },
    additional: ({ parts }) => [
      Math.min(parts[0] * partAdditional, count),
      Math.min(parts[1] * partAdditional, count),
    ],
    pairs: (slice) => length(slice.queries) * pairsPerQuery * length(slice.parts) / parts,
    params: ({ queries }) => ({
      ...windowParams(axes),
      tile0: queries[0] / (queryTile[0] * inner) * bandsY * bandsZ,
      bandsY,
      bandsZ,
      partPlaces,
      additionalLen: count,
      partAdditional,
    }),
  };
}

/** Run-time parameters of the windows. */
export function windowParams(axes: readonly NeighborhoodAxis[]): Record<string, number> {
  const params = {
    len: boxOf(axes.map((axis) => axis.length)),
    dilation: boxOf(axes.map((axis) => axis.dilation)),
    window: boxOf(axes.map((axis) => axis.windowSize)),
    stride: boxOf(axes.map((axis) => axis.stride)),
  };
  return Object.fromEntries(
    Object.entries(params).flatMap(([name, sizes]) =>
      sizes.map((size, axis) => [name + "XYZ"[axis], size])
    ),
  );
}

/** What a kernel must know of the windows when compiled. */
export function windowConfig(
  axes: readonly NeighborhoodAxis[],
): Pick<NeighborhoodConfig, "causal" | "strided" | "dilated"> {
  const [x, y = false, z = false] = axes.map(({ causal }) => causal);
  return {
    causal: [x, y, z],
    strided: axes.some(({ stride }) => stride > 1),
    dilated: axes.some(({ dilation }) => dilation > 1),
  };
}

function patternConfig(
  { axes, attention }: NeighborhoodProblem,
  { queryTile, keyTile }: TiledSchedule,
  parted: boolean,
): NeighborhoodConfig {
  const [x, y = false, z = false] = axes.map((axis, i) =>
    !tileModel([axis], { queryTile: [queryTile[i]], keyTile: [keyTile[i]] }, "window").blockSparse
  );
  return {
    kind: "neighborhood",
    ...windowConfig(axes),
    queryTile: boxOf(queryTile),
    keyTile: boxOf(keyTile),
    masked: [x, y, z],
    parted,
    additional: attention.additional !== null,
  };
}

/** Query tiles along an axis, of all residues as if their groups were as long as the longest. */
function bands(axis: NeighborhoodAxis, tile: number): number {
  return axis.dilation * Math.ceil(groupPlaces(axis, 0) / tile);
}

/** The places that queries at some places see in any dilation group. */
function windowsOf(axis: NeighborhoodAxis, [first, end]: Range): Range {
  const longest = groupPlaces(axis, 0);
  const lengths = [longest, groupPlaces(axis, axis.dilation - 1)];
  const windows = lengths.map((places) => ({
    first: axisWindow(axis, places, Math.min(first, places - 1)).first,
    last: axisWindow(axis, places, Math.min(end, places) - 1).last,
  }));
  return [
    Math.min(...windows.map(({ first }) => first)),
    Math.max(...windows.map(({ last }) => last)) + 1,
  ];
}

/** Divides the keys along x where one query tile sees more than a loop or a binding takes. */
function divideKeys(
  problem: NeighborhoodProblem,
  schedule: TiledSchedule,
  limits: GpuLimits,
): { parts: number; partPlaces: number; partAdditional: number } {
  const { axes, attention } = problem;
  const [x, ...others] = axes;
  const { placesOfLoop, tiles } = loopOf(problem, schedule, limits);
  if (placesOfLoop < 1) {
    throw new RangeError(
      `Cannot plan neighborhood attention as the keys at one place of axis 0 must fit one loop: the device allows ${
        Math.floor(tiles)
      } tiles of ${keysOfTile(schedule)} keys`,
    );
  }
  const count = attention.additional?.count ?? 0;
  const inner = volume(others.map(({ length }) => length));
  const bound = keysOfBinding(attention, sourceOf(schedule), limits);
  const longest = Math.max(1, Math.floor(Math.min(placesOfLoop, bound / (inner * x.dilation))));
  const most = Math.max(1, Math.floor(Math.min(tiles * keysOfTile(schedule), bound)));
  const tile = { queryTile: [schedule.queryTile[0]], keyTile: [1] };
  const seen = tileModel([x], tile, "window").busiest;
  const places = groupPlaces(x, 0);
  const parts = Math.max(seen > longest ? Math.ceil(places / longest) : 1, Math.ceil(count / most));
  return parts === 1
    ? { parts, partPlaces: UNDIVIDED, partAdditional: count }
    : { parts, partPlaces: Math.ceil(places / parts), partAdditional: Math.ceil(count / parts) };
}

/** Whether a loop takes the keys at one place along x, so that dividing them can help. */
export function fitsLoop(
  problem: NeighborhoodProblem,
  schedule: TiledSchedule,
  limits: GpuLimits,
): boolean {
  return loopOf(problem, schedule, limits).placesOfLoop >= 1;
}

/** Tiles of keys that a loop takes, half of them where the others are additional, and places along x. */
function loopOf(
  { axes, attention }: NeighborhoodProblem,
  schedule: TiledSchedule,
  limits: GpuLimits,
): { tiles: number; placesOfLoop: number } {
  const [, ...others] = axes;
  const [queryTile, keyTile] = [schedule.queryTile.slice(1), schedule.keyTile.slice(1)];
  const slab = others.length === 0
    ? 1
    : tileModel(others, { queryTile, keyTile }, "window").busiest;
  const tiles = tilesOfLoop(schedule, attention, limits) / (attention.additional === null ? 1 : 2);
  return { tiles, placesOfLoop: Math.floor(tiles / slab) * schedule.keyTile[0] };
}
