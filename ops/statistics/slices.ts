import { elementBytes } from "../../gpu/dtype.ts";
import type { BlockSizes } from "../../kernels/statistics/block_max.ts";
import { heldTokens, type StatisticsConfig } from "../../kernels/statistics/config.ts";
import type { RowStatistics } from "../../kernels/statistics/rows.ts";
import { biasRange, cut, WORK_BUDGET } from "../attention/plan.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { length, type Range, type Slice } from "../attention/tokens.ts";
import type { StatisticsProblem } from "./problem.ts";
import { iterationsOfTile, type PassKind } from "./tiles.ts";

/** A pass over the pairs that is not cut yet. */
export interface Draft {
  readonly kind: PassKind;
  readonly config: StatisticsConfig;
  /** What a pass over rows keeps of them. */
  readonly rows: RowStatistics;
  /** Sizes of the blocks of a pass over blocks. */
  readonly blocks: BlockSizes;
}

/** Diagonals of square tiles in the whole matrix. */
export function diagonalSlots({ qLen, kvLen }: Tokens, tile: number): number {
  return Math.max(0, Math.ceil(qLen / tile) + Math.ceil(kvLen / tile) - 1);
}

type Tokens = Pick<StatisticsProblem["scores"], "qLen" | "kvLen">;

/** Cuts a pass: first to what loops may walk, then until every dispatch fits. */
export function slicesOf(
  { scores }: StatisticsProblem,
  draft: Draft,
  { limits }: PlanDevice,
): Slice[] {
  const { batch, kvHeads, qLen, kvLen, headDim } = scores;
  const { kind, config: { tile }, rows } = draft;
  const step = heldTokens(tile);
  const needs = { kind, top: rows.top };
  const tiles = 0.9 * limits.maxLoopIterations / iterationsOfTile(tile, headDim, needs);
  const walk = walkOf(draft, tiles);
  const bound = boundOf(scores, draft, limits);
  const longest = {
    queries: Math.min(walk.queries, bound.queries),
    keys: Math.min(walk.keys, bound.keys),
  };
  const steps = { batch: 1, kvHeads: 1, queries: step, parts: step };
  const fits = (slice: Slice): boolean => fitsLaunch(slice, scores, draft, limits);
  return pieces(qLen, longest.queries).flatMap((queries) =>
    pieces(kvLen, longest.keys).flatMap((parts) =>
      cut({ batch: [0, batch], kvHeads: [0, kvHeads], queries, parts }, steps, fits)
    )
  );
}

/** The queries and keys of a launch whose invocations walk no more than so many tiles. */
function walkOf(
  { kind, config: { tile }, blocks }: Draft,
  tiles: number,
): Readonly<Record<"queries" | "keys", number>> {
  const held = heldTokens(tile);
  const walked = Math.max(1, Math.floor(tiles)) * tile.columns;
  switch (kind) {
    case "rows":
      return { queries: Infinity, keys: walked };
    case "columns":
      return { queries: walked, keys: Infinity };
    case "diagonals": // each step walks the tiles of a square
      return { queries: Infinity, keys: Math.max(1, Math.floor(walked / (2 * held))) * held };
    case "blocks": { // large blocks are cut between queries, then between keys
      const most = Math.max(1, Math.min(64, Math.floor(tiles / 8)));
      const rows = Math.min(most, Math.ceil(blocks.queryBlock / held));
      const keys = Math.max(1, Math.floor(tiles / rows)) * tile.columns;
      return {
        queries: Math.ceil(blocks.queryBlock / held) > most ? most * held : Infinity,
        keys: blocks.keyBlock > keys ? keys : Infinity,
      };
    }
  }
}

/** The queries and keys of which the rows of one batch entry fit a binding each. */
function boundOf(
  { heads, kvHeads, headDim, elem }: StatisticsProblem["scores"],
  { kind, config, rows }: Draft,
  limits: PlanDevice["limits"],
): Readonly<Record<"queries" | "keys", number>> {
  const step = heldTokens(config.tile);
  const most = (ofToken: number, bytes: number): number => {
    const fitting = limits.maxStorageBufferBindingSize / bytes -
      limits.minStorageBufferOffsetAlignment;
    return Math.max(1, Math.floor(fitting / ofToken / step)) * step;
  };
  const input = config.source === "texture" ? 0 : headDim * elementBytes(elem);
  return {
    queries: most(heads, Math.max(input, 4, 4 * rows.top)),
    keys: Math.min(
      input === 0 ? Infinity : most(kvHeads, input),
      kind === "columns" ? most(heads, 4) : Infinity,
    ),
  };
}

/** Ranges of at most so many tokens; one of none where there is none. */
function pieces(tokens: number, most: number): Range[] {
  if (tokens <= most) return [[0, tokens]];
  return Array.from({ length: Math.ceil(tokens / most) }, (_, n) => [
    n * most,
    Math.min(tokens, (n + 1) * most),
  ]);
}

/** Workgroups that a slice needs for each head. */
export function tilesOf({ queries, parts }: Slice, { kind, config, blocks }: Draft): number {
  const tiles = (range: Range): number => Math.ceil(length(range) / heldTokens(config.tile));
  const blocksOf = ([first, end]: Range, size: number): number =>
    Math.ceil(end / size) - Math.floor(first / size);
  switch (kind) {
    case "rows":
      return tiles(queries);
    case "columns":
      return tiles(parts);
    case "diagonals":
      return Math.max(0, tiles(queries) + tiles(parts) - 1);
    case "blocks":
      return blocksOf(queries, blocks.queryBlock) * blocksOf(parts, blocks.keyBlock);
  }
}

/** Whether one dispatch can do a slice. */
function fitsLaunch(
  slice: Slice,
  scores: StatisticsProblem["scores"],
  draft: Draft,
  limits: PlanDevice["limits"],
): boolean {
  const { heads, kvHeads, qLen, kvLen, headDim, elem, bias } = scores;
  const { maxComputeWorkgroupsPerDimension: groups, maxStorageBufferBindingSize: largest } = limits;
  const batch = length(slice.batch);
  const headCount = length(slice.kvHeads) * (heads / kvHeads);
  const work = batch * headCount * length(slice.queries) * length(slice.parts) * headDim;
  const slack = limits.minStorageBufferOffsetAlignment;
  const rowsFit = (perEntry: number, range: Range, ofToken: number, bytes: number): boolean =>
    (((batch - 1) * perEntry + length(range)) * ofToken + slack) * bytes <= largest;
  const rowBytes = headDim * elementBytes(elem);
  const inputsFit = draft.config.source === "texture" ||
    (rowsFit(qLen, slice.queries, heads, rowBytes) &&
      rowsFit(kvLen, slice.parts, kvHeads, rowBytes));
  const ofRow = 4 * Math.max(1, draft.rows.top);
  const [biasFirst, biasEnd] = bias ? biasRange(slice, scores) : [0, 0];
  return work <= WORK_BUDGET && inputsFit && rowsFit(qLen, slice.queries, heads, ofRow) &&
    (draft.kind !== "columns" || rowsFit(kvLen, slice.parts, heads, 4)) &&
    (biasEnd - biasFirst) * elementBytes(bias?.elem ?? "f32") + 2 * slack <= largest &&
    tilesOf(slice, draft) <= groups && headCount <= groups && batch <= groups;
}
