import type { Box } from "../../kernels/neighborhood/pattern.ts";
import {
  attentionSchedules,
  type NaiveSchedule,
  type PlanDevice,
  scheduleName,
  type SubgroupSchedule,
  tunedName,
  type WorkgroupSchedule,
} from "../attention/schedule.ts";
import { once } from "../once.ts";
import { tunedFirst } from "../tuning.ts";
import { groupPlaces, type NeighborhoodAxis } from "./axes.ts";
import { neighborhoodClass } from "./class.ts";
import type { NeighborhoodProblem } from "./problem.ts";
import { bestTiles, type TilePair } from "./tile_model.ts";

/** How neighborhood attention is cut up; {@linkcode neighborhoodSchedules} lists those that fit. */
export type NeighborhoodSchedule = TiledSchedule | NaiveSchedule;

/** A schedule of attention whose tiles are boxes, one size per token axis. */
export type TiledSchedule = (SubgroupSchedule | WorkgroupSchedule) & TilePair;

/** The name of a schedule, as the command line prints and takes it. */
export function neighborhoodScheduleName(schedule: NeighborhoodSchedule): string {
  if (schedule.kind === "naive") return "naive";
  const { queryTile, keyTile } = schedule;
  return `${scheduleName(schedule)}-q${queryTile.join("x")}-k${keyTile.join("x")}`;
}

/**
 * Lists the schedules that fit a problem and a device, with the boxes that visit the fewest tiles;
 * the best kind first and, by the tile model, the cheapest tiles of a kind first.
 */
export function neighborhoodSchedules(
  { axes, attention }: NeighborhoodProblem,
  device: PlanDevice,
): NeighborhoodSchedule[] {
  const tiled = attentionSchedules(attention, device)
    .filter((schedule) => schedule.kind === "subgroup" || schedule.kind === "workgroup")
    .map((schedule) => shaped(schedule, axes));
  const variants = Map.groupBy(tiled, ({ schedule }) => variantOf(schedule));
  const ordered = [...variants.values()].flatMap((variant) =>
    variant.toSorted((a, b) => a.cost - b.cost).map(({ schedule }) => schedule)
      .toSorted((a, b) => Number(isLarge(a)) - Number(isLarge(b)))
  );
  return [...ordered, { kind: "naive" }];
}

/** Whether a kernel takes long to compile for what it gains. */
function isLarge(schedule: TiledSchedule): boolean {
  return schedule.kind === "subgroup" && schedule.rows > MANY_ROWS;
}

/** Rows of a lane from which more are no faster (measured, llvmpipe). */
const MANY_ROWS = 4;

/** Schedules that differ in tile sizes only compete; the order of the others is the device's. */
function variantOf(schedule: TiledSchedule): string {
  return schedule.kind === "workgroup" ? schedule.kind : `${schedule.exchange} ${schedule.source}`;
}

/** Gives a schedule the boxes that cost least on a layout, or the best that are flat along x. */
function shaped(
  schedule: SubgroupSchedule | WorkgroupSchedule,
  axes: readonly NeighborhoodAxis[],
  flat = false,
): { schedule: TiledSchedule; cost: number } {
  const [queries, keys] = schedule.kind === "workgroup"
    ? [schedule.blockQ, schedule.blockKv]
    : [schedule.lanes * schedule.rows, schedule.lanes];
  const { visits, ...tiles } = chooseTiles({ axes: axes.map(bounded), queries, keys, flat });
  return { schedule: { ...schedule, ...tiles }, cost: visits * visitCost(schedule) };
}

const chooseTiles = once(bestTiles);

/** An axis no longer than what decides on tiles, so that other lengths need no other kernel. */
function bounded(axis: NeighborhoodAxis): NeighborhoodAxis {
  const places = Math.min(groupPlaces(axis, 0), 4 * axis.windowSize);
  return { ...axis, length: Math.min(axis.length, places * axis.dilation) };
}

/** What a visit costs, in multiply-adds of the same schedule: loads come on top of them. */
function visitCost(schedule: SubgroupSchedule | WorkgroupSchedule): number {
  if (schedule.kind === "subgroup") return schedule.lanes * schedule.rows + LOAD_COST;
  const { blockQ, blockKv, rows, cols } = schedule;
  return blockQ * blockKv * (1 + 1 / rows + 1 / cols);
}

/** Queries whose multiply-adds take as long as a subgroup's loads of a tile (measured, llvmpipe). */
const LOAD_COST = 8;

/**
 * Lists the schedules to try in turn: those that the caller named, or all, the one that tuning chose
 * first; with boxes that are flat along x behind them, for maps of which no more than that fits the limits.
 *
 * @throws RangeError if the schedule that was asked for does not fit
 */
export function candidateSchedules(
  problem: NeighborhoodProblem,
  device: PlanDevice,
): NeighborhoodSchedule[] {
  const valid = neighborhoodSchedules(problem, device);
  const { schedule, axes } = problem;
  const wanted = typeof schedule === "object" && schedule !== null
    ? neighborhoodScheduleName(schedule)
    : schedule;
  const exact = valid.find((candidate) => neighborhoodScheduleName(candidate) === wanted);
  if (exact !== undefined) return [exact];
  // boxes follow from the axes: tuning knows schedules by the rest of their names
  const found = wanted === null
    ? tunedFirst({ device, problemClass: neighborhoodClass(problem) }, valid, tunedName)
    : valid.filter((candidate) => candidate.kind === wanted || scheduleName(candidate) === wanted);
  if (found.length === 0) {
    throw new RangeError(
      `Cannot plan neighborhood attention as schedule must fit the problem and the device: "${wanted}" is not among ${
        valid.map(neighborhoodScheduleName).join(", ")
      }`,
    );
  }
  const flat = found.filter((candidate) => candidate.kind !== "naive")
    .map((candidate) => shaped(candidate, axes, true).schedule);
  return [...found, ...flat];
}

/** A size for each of the axes x, y and z; 1 for those that a layout lacks. */
export function boxOf([x, y = 1, z = 1]: readonly number[]): Box {
  return [x, y, z];
}
