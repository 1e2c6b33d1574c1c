import type { Gpu } from "../../gpu/device.ts";
import type { SubgroupTile } from "../../kernels/attention/subgroup.ts";
import { splitBytes, type SplitTile } from "../../kernels/attention/split.ts";
import {
  workgroupBytes,
  workgroupThreads,
  type WorkgroupTile,
} from "../../kernels/attention/workgroup.ts";
import type { InputSource } from "../../kernels/shared/rows.ts";
import { defaultsOf, type DriverDefaults } from "../defaults.ts";
import { tunedFirst } from "../tuning.ts";
import { attentionClass, hasFewRows } from "./class.ts";
import type { AttentionProblem } from "./problem.ts";
import { attentionSources } from "./sources.ts";

/** How attention is cut up; {@linkcode attentionSchedules} lists those that fit. */
export type AttentionSchedule =
  | SubgroupSchedule
  | WorkgroupSchedule
  | SplitSchedule
  | NaiveSchedule;

/** Rows per lane, values handed round inside a subgroup. */
export interface SubgroupSchedule extends SubgroupTile {
  /** Discriminates. */
  readonly kind: "subgroup";
  /** Where q, k and v are read. */
  readonly source: InputSource;
}

/** Tiles in workgroup memory, a register tile per thread. */
export interface WorkgroupSchedule extends WorkgroupTile {
  /** Discriminates. */
  readonly kind: "workgroup";
}

/** Keys divided over invocations and workgroups, for few queries. */
export interface SplitSchedule extends SplitTile {
  /** Discriminates. */
  readonly kind: "split";
  /** Workgroups that share the keys of a row. */
  readonly parts: number;
  /** Where q, k and v are read. */
  readonly source: InputSource;
}

/** Three passes, one thread per element: the baseline. */
export interface NaiveSchedule {
  /** Discriminates. */
  readonly kind: "naive";
}

/** What planning needs to know of a device; a `Gpu` is one. */
export type PlanDevice = Pick<Gpu, "adapter" | "features" | "limits"> & Partial<Pick<Gpu, "tuned">>;

/** Statements of unrolled text in a kernel that compilers still take, in seconds. */
const TEXT_LIMIT = 4096;
/** Statements up to which they take about a second: the default, of up to 2 rows, keeps to it. */
const TEXT_COMFORT = 1024;
/** vec4 registers of a thread that holds its own rows. */
const REGISTER_BUDGET = 160;
/** The same where they need not be registers, and few queries walk many keys: text of up to 2 seconds. */
const CACHED_REGISTERS = 256;

/** The name of a schedule, as the command line prints and takes it. */
export function scheduleName(schedule: AttentionSchedule): string {
  switch (schedule.kind) {
    case "naive":
      return "naive";
    case "subgroup":
      return `subgroup-${schedule.lanes}x${schedule.rows}-${schedule.exchange}-${schedule.source}`;
    case "workgroup": {
      const { blockQ, blockKv, rows, cols, depth } = schedule;
      return `workgroup-${blockQ}x${blockKv}-${rows}x${cols}-${depth}`;
    }
    case "split":
      return `split-${schedule.threads}x${schedule.rows}-${schedule.parts}-${schedule.source}`;
  }
}

/**
 * Lists the schedules that fit a problem and a device, those expected to be fastest first within
 * each kind, and the best kind first.
 */
export function attentionSchedules(
  problem: AttentionProblem,
  device: PlanDevice,
): AttentionSchedule[] {
  const subgroup = subgroupSchedules(problem, device);
  const workgroup = workgroupSchedules(problem, device);
  const split = fitsSplit(problem) ? splitSchedules(problem, device) : [];
  const tiles = defaultsOf(device.adapter).first === "subgroup"
    ? [...subgroup, ...workgroup]
    : [...workgroup, ...subgroup];
  const tiled: AttentionSchedule[] = hasFewRows(problem)
    ? [...split, ...tiles]
    : [...tiles, ...split];
  // the baseline walks keys in a row
  return problem.keys.kind === "row" ? [...tiled, { kind: "naive" }] : tiled;
}

/** The keys of a stick must follow one another, and the heads that share a kv head see the same keys. */
function fitsSplit({ weight, keys, kvHeads }: AttentionProblem): boolean {
  const lists = keys.kind === "blocks"
    ? [keys.heads]
    : keys.kind === "cache"
    ? [keys.tableHeads, Math.max(1, keys.lengthHeads)]
    : [];
  return weight.rule !== "stick" && lists.every((heads) => kvHeads % heads === 0);
}

function subgroupSchedules(problem: AttentionProblem, device: PlanDevice): SubgroupSchedule[] {
  const lanes = device.features.subgroups?.size;
  if (lanes === undefined) return [];
  const columns = vectors(problem);
  const exchanges = lanes === defaultsOf(device.adapter).shuffleLanes
    ? ["shuffle", "broadcast"] as const
    : ["broadcast", "shuffle"] as const;
  const text = (rows: number): number => lanes * rows * columns;
  const valid = [8, 4, 3, 2, 1].filter((rows) =>
    rows === 1 || (text(rows) <= TEXT_LIMIT && rows * columns <= REGISTER_BUDGET)
  );
  const comfortable = valid.filter((rows) => rows <= 2 && text(rows) <= TEXT_COMFORT)
    .toSorted((a, b) => costOf(a, lanes, problem) - costOf(b, lanes, problem));
  const ordered = [...new Set([...comfortable, ...valid.toReversed()])];
  return attentionSources(problem, device).flatMap((source) =>
    exchanges.flatMap((exchange) =>
      ordered.map((rows): SubgroupSchedule => ({ kind: "subgroup", lanes, rows, exchange, source }))
    )
  );
}

/** What a query costs at so many rows a lane: a share of the loads, and what tiles waste of a block. */
function costOf(rows: number, lanes: number, { keys }: AttentionProblem): number {
  const tile = lanes * rows;
  const block = keys.kind === "blocks" ? keys.queryBlock : tile;
  return (1 + LOADS / rows) * Math.ceil(block / tile) * tile / block;
}

/** The loads of a key tile, in units of what one row of queries multiplies with it. */
const LOADS = 0.35;

/** The best first, where they fit. */
const TILES: readonly WorkgroupTile[] = [
  { blockQ: 64, blockKv: 64, rows: 8, cols: 8, depth: 16 },
  { blockQ: 64, blockKv: 64, rows: 8, cols: 4, depth: 16 },
  { blockQ: 128, blockKv: 32, rows: 8, cols: 4, depth: 16 },
  { blockQ: 32, blockKv: 32, rows: 4, cols: 4, depth: 32 },
  { blockQ: 32, blockKv: 64, rows: 4, cols: 4, depth: 16 },
  { blockQ: 64, blockKv: 64, rows: 4, cols: 4, depth: 16 },
  { blockQ: 16, blockKv: 32, rows: 4, cols: 4, depth: 16 },
  { blockQ: 16, blockKv: 16, rows: 4, cols: 4, depth: 16 },
];

/** vec4 registers of a thread of the workgroup schedule. */
const TILE_REGISTERS = 64;

function workgroupSchedules(
  problem: AttentionProblem,
  { adapter, limits }: PlanDevice,
): WorkgroupSchedule[] {
  const { tiles, registers } = defaultsOf(adapter);
  const crowded = (tile: WorkgroupTile): boolean => tileRegisters(tile, problem) > registers;
  return tilesOf(tiles)
    .filter((tile) =>
      tileRegisters(tile, problem) <= TILE_REGISTERS &&
      workgroupThreads(tile) <= limits.maxComputeInvocationsPerWorkgroup &&
      workgroupBytes(tile, problem.valueDim) <= limits.maxComputeWorkgroupStorageSize
    )
    .toSorted((a, b) => Number(crowded(a)) - Number(crowded(b)))
    .map((tile) => ({ kind: "workgroup", ...tile }));
}

/** vec4 of the scores and outputs of a thread. */
export function tileRegisters(
  { blockKv, rows, cols }: WorkgroupTile,
  { valueDim }: Pick<AttentionProblem, "valueDim">,
): number {
  return rows * (cols / 4 + Math.ceil(Math.ceil(valueDim / 4) / (blockKv / cols)));
}

/** The best first. */
function tilesOf(tiles: DriverDefaults["tiles"]): readonly WorkgroupTile[] {
  if (tiles === "all") return TILES;
  const small = TILES.filter(({ rows, cols }) => rows * cols <= 16);
  const large = TILES.filter((tile) => !small.includes(tile));
  return tiles === "small only" ? small : [...small, ...large];
}

function splitSchedules(problem: AttentionProblem, device: PlanDevice): SplitSchedule[] {
  const { adapter, features, limits } = device;
  const defaults = defaultsOf(adapter);
  const lanes = defaults.parallel ? 0 : features.subgroups?.size ?? 0;
  // no fewer than the columns that are summed at a time
  const threads = Math.max(defaults.threads, lanes);
  const exchange = threads === lanes ? "lanes" : "memory";
  const columns = vectors(problem);
  const group = problem.heads / problem.kvHeads;
  // lanes are those of a CPU, which keeps in its cache what it has no registers for
  const budget = exchange === "lanes" ? CACHED_REGISTERS : REGISTER_BUDGET;
  const rows = [4, 2, 1].filter((rows) =>
    rows === 1 || (rows <= group && rows * columns <= budget)
  );
  if (splitBytes({ threads, rows: 1, exchange }) > limits.maxComputeWorkgroupStorageSize) return [];
  const parts = splitParts(problem, defaults.workgroups);
  return attentionSources(problem, device).flatMap((source) =>
    rows.map((rows): SplitSchedule => ({ kind: "split", threads, rows, exchange, parts, source }))
  );
}

/** Enough workgroups to fill a device, but no part of fewer than 128 keys. */
function splitParts({ batch, kvHeads, kvLen }: AttentionProblem, workgroups: number): number {
  const wanted = Math.ceil(workgroups / Math.max(1, batch * kvHeads));
  return Math.max(1, Math.min(wanted, Math.floor(kvLen / 128)));
}

/** vec4 columns of a row of q and of the output together. */
function vectors({ headDim, valueDim }: AttentionProblem): number {
  return Math.ceil(headDim / 4) + Math.ceil(valueDim / 4);
}

/**
 * The name by which tuning knows a schedule: without what follows from lengths, and null for the
 * baseline, which measures and does not serve.
 */
export function tunedName(schedule: AttentionSchedule): string | null {
  if (schedule.kind === "naive") return null;
  return schedule.kind === "split"
    ? `split-${schedule.threads}x${schedule.rows}-${schedule.source}`
    : scheduleName(schedule);
}

/** Picks the schedule that the caller named, or that tuning chose, or the default. */
export function chooseSchedule(problem: AttentionProblem, device: PlanDevice): AttentionSchedule {
  const valid = attentionSchedules(problem, device);
  const { schedule } = problem;
  if (schedule === null) {
    return tunedFirst({ device, problemClass: attentionClass(problem) }, valid, tunedName)[0];
  }
  const wanted = typeof schedule === "string" ? schedule : scheduleName(schedule);
  const found = valid.find((candidate) =>
    candidate.kind === wanted || scheduleName(candidate) === wanted
  );
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot plan attention as schedule must fit the problem and the device: "${wanted}" is not among ${
      valid.map(scheduleName).join(", ")
    }`,
  );
}
