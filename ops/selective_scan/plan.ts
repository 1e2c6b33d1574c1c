import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import {
  SELECTIVE_INPUTS,
  SELECTIVE_NAMES,
  selectiveWidth,
} from "../../kernels/selective_scan/config.ts";
import { naiveIterations } from "../../kernels/selective_scan/naive.ts";
import { walkIterations } from "../../kernels/selective_scan/walk.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { defaultsOf } from "../defaults.ts";
import { chunkTokens, type Round, roundsOf } from "../segments.ts";
import { tunedWalk } from "../tuning.ts";
import { FULL, selectiveClass } from "./class.ts";
import { CHUNK_SIZES, type SelectiveScanProblem } from "./problem.ts";
import {
  chooseSelectiveSchedule,
  type SelectiveSchedule,
  selectiveScheduleName,
} from "./schedule.ts";

/** How a selective scan will be computed; no GPU was touched. */
export interface SelectivePlan {
  readonly schedule: SelectiveSchedule;
  readonly rounds: readonly Round[];
}

/** Chooses schedule and mode, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planSelectiveScan(
  problem: SelectiveScanProblem,
  device: PlanDevice,
): SelectivePlan {
  const schedule = chooseSelectiveSchedule(problem, device);
  const { bounds, reverse, length, initial, final } = problem;
  const { limits } = device;
  checkRows(problem, limits);
  const chunkSize = chunkOf(problem, schedule, device);
  const longest = chunkSize === null
    ? Math.min(tokensOfLoop(problem, schedule, limits), tokensOfBinding(problem, limits))
    : tokensOfChunks(problem, chunkSize, limits);
  const rounds = roundsOf(bounds, {
    longest: Math.max(1, Math.floor(Math.min(longest, Math.max(1, length)))),
    ...{ chunkSize, reverse },
  });
  if (chunkSize !== null || initial || final || rounds.length > 1) checkStates(problem, limits);
  return { schedule, rounds };
}

/** Tokens of the chunks that are computed in parallel, or null for a loop. */
function chunkOf(
  problem: SelectiveScanProblem,
  schedule: SelectiveSchedule,
  device: PlanDevice,
): number | null {
  if (schedule.kind === "naive") return null;
  const invocations = (problem.bounds.length - 1) * Math.ceil(problem.channels / schedule.own);
  const tuned = { device, problemClass: selectiveClass(problem) };
  return chunkTokens(problem, {
    parallel: defaultsOf(device.adapter).parallel,
    idle: invocations < FULL,
    tuned: tunedWalk(tuned, selectiveScheduleName(schedule), CHUNK_SIZES),
  });
}

/** Tokens that one loop walks before a driver would end it; a token of the baseline loops over N. */
function tokensOfLoop(
  problem: SelectiveScanProblem,
  schedule: SelectiveSchedule,
  { maxLoopIterations }: GpuLimits,
): number {
  const iterations = 0.9 * maxLoopIterations;
  if (schedule.kind === "tiled") {
    return Math.max(1, Math.floor(iterations / walkIterations(schedule))) * schedule.tokens;
  }
  const [token, states] = naiveIterations(problem);
  return (iterations - states) / token;
}

/** Tokens whose rows one binding holds, of whatever tensor has the longest. */
export function tokensOfBinding(
  problem: SelectiveScanProblem,
  { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment }: GpuLimits,
): number {
  const tokens = SELECTIVE_NAMES.map((name) => {
    const elem = problem.inputs[name];
    if (elem === undefined || SELECTIVE_INPUTS[name].per !== "token") return Infinity;
    const row = selectiveWidth(name, problem) * elementBytes(elem);
    // bindings start at whole rows that are aligned; row & -row is the power of two that divides it
    return largest / row - alignment / Math.min(alignment, row & -row) + 1;
  });
  return Math.floor(Math.min(...tokens));
}

/** Tokens of a sequence whose chunks one binding holds, and one loop carries. */
function tokensOfChunks(
  { bounds, channels, states }: SelectiveScanProblem,
  chunkSize: number,
  limits: GpuLimits,
): number {
  const sequences = Math.max(1, bounds.length - 1);
  const held = limits.maxStorageBufferBindingSize / (4 * channels * states) / sequences;
  const chunks = Math.min(held, 0.9 * limits.maxLoopIterations);
  return Math.max(1, Math.floor(chunks)) * chunkSize;
}

/** The rows of a token are bound whole. */
function checkRows(problem: SelectiveScanProblem, limits: GpuLimits): void {
  if (tokensOfBinding(problem, limits) >= 1) return;
  throw new RangeError(
    `Cannot plan a selective scan as a token must fit one binding: it has ${problem.channels} channels, the device allows ${limits.maxStorageBufferBindingSize} bytes`,
  );
}

/** States are bound whole. */
function checkStates({ bounds, channels, states }: SelectiveScanProblem, limits: GpuLimits): void {
  const bytes = 4 * (bounds.length - 1) * channels * states;
  if (bytes <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan a selective scan as the states of all sequences must fit one binding: they have ${bytes} bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}
