import type { AdapterSummary } from "../../gpu/adapter.ts";
import { blockMaxBytes } from "../../kernels/statistics/block_max.ts";
import { heldTokens, type PairTile } from "../../kernels/statistics/config.ts";
import { diagonalBytes } from "../../kernels/statistics/diagonals.ts";
import { stageBytes } from "../../kernels/statistics/exchange.ts";
import { listLoops } from "../../kernels/statistics/rows.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { defaultsOf, shufflesWell } from "../defaults.ts";
import { ACTION, type StatisticsProblem } from "./problem.ts";

/** What a pass over the pairs is for. */
export type PassKind = "rows" | "columns" | "diagonals" | "blocks";

/** What tiles depend on, beside the problem. */
export interface TileNeeds {
  readonly kind: PassKind;
  /** Length of the lists that invocations keep for each token; 0 without any. */
  readonly top: number;
}

/** vec4 that an invocation may hold. */
const REGISTER_BUDGET = 64;
/** Tokens that an invocation may hold. */
const MOST_ROWS = 4;

/** The tile of a pass: subgroups serve software adapters best, workgroup memory the others. */
export function pairTile(
  { scores, wanted, schedule }: StatisticsProblem,
  { adapter, features, limits }: PlanDevice,
  { kind, top }: TileNeeds,
): PairTile {
  const lanes = features.subgroups?.size;
  const { first, threads } = defaultsOf(adapter);
  const kindOfTile = schedule ??
    (lanes !== undefined ? first : "workgroup");
  const { headDim } = scores;
  const vectors = Math.ceil(headDim / 4) + Math.ceil(top / 2);
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(REGISTER_BUDGET / vectors)));
  const fits = (tile: PairTile): boolean =>
    stageBytes({ headDim, tile }) + ownBytes(kind, tile) <= limits.maxComputeWorkgroupStorageSize;
  // no more than there are to hold
  const held = { rows: scores.qLen, columns: scores.kvLen, diagonals: Infinity };
  const tokens = kind === "blocks" ? wanted.blockMax?.queryBlock ?? 1 : held[kind];
  const rowsOf = (rows: number, threads: number): number =>
    Math.max(1, Math.min(rows, Math.ceil(tokens / threads)));
  const tiles = kindOfTile === "subgroup" && lanes !== undefined
    ? [most, 1].map((rows) => subgroupTile(adapter, lanes, rowsOf(rows, lanes)))
    : [16, 8, 4, 2, 1].map((columns) =>
      workgroupTile(threads, rowsOf(Math.min(most, 2), threads), columns)
    );
  const found = tiles.find(fits);
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot ${ACTION} as the tiles of its ${kind} must fit ${limits.maxComputeWorkgroupStorageSize} bytes of workgroup memory: none does`,
  );
}

function subgroupTile(adapter: AdapterSummary, lanes: number, rows: number): PairTile {
  const exchange = shufflesWell(adapter, lanes) ? "shuffle" : "broadcast";
  return { threads: lanes, rows, columns: lanes, exchange };
}

function workgroupTile(threads: number, rows: number, columns: number): PairTile {
  return { threads, rows, columns, exchange: "stage" };
}

function ownBytes(kind: PassKind, tile: PairTile): number {
  if (kind === "diagonals") return diagonalBytes(tile);
  return kind === "blocks" ? blockMaxBytes(tile.threads) : 0;
}

/** Loop iterations of an invocation for a tile of walked tokens, the ones that end loops included. */
export function iterationsOfTile(
  tile: PairTile,
  headDim: number,
  { kind, top }: TileNeeds,
): number {
  const { threads, rows, columns, exchange } = tile;
  const staging = exchange !== "stage" ? 0 : columns * Math.ceil(headDim / 4) / threads + 4;
  const lists = 2 * listLoops(top) * rows * columns;
  const diagonals = kind === "diagonals" && exchange === "stage"
    ? 1 + Math.ceil((heldTokens(tile) + columns) / threads) * (columns + 2)
    : 0;
  return 2 + columns + staging + lists + diagonals;
}
