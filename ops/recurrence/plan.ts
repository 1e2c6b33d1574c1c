import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { carryMatrixIterations } from "../../kernels/recurrence/carry_matrix.ts";
import { type InputName, INPUTS, inputWidth, isPerToken } from "../../kernels/recurrence/inputs.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import {
  channelsOfWorkgroup,
  loopIterations,
  stateIterations,
} from "../../kernels/recurrence/loop.ts";
import { seriesIterations, seriesTile } from "../../kernels/recurrence/series.ts";
import { defaultsOf } from "../defaults.ts";
import { chunkTokens, type Round, roundsOf } from "../segments.ts";
import { tunedWalk } from "../tuning.ts";
import { FULL, recurrenceClass } from "./class.ts";
import { CHUNK_SIZES, type RecurrenceProblem } from "./problem.ts";
import {
  chooseRecurrenceSchedule,
  type RecurrenceSchedule,
  recurrenceScheduleName,
  type TiledRecurrence,
} from "./schedule.ts";

/** How a recurrence will be computed; no GPU was touched. */
export interface RecurrencePlan {
  readonly schedule: RecurrenceSchedule;
  readonly rounds: readonly Round[];
}

/** Tokens of a piece where nothing limits it. */
const UNCUT = 2 ** 30;

/** Chooses schedule and mode, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planRecurrence(problem: RecurrenceProblem, device: PlanDevice): RecurrencePlan {
  const schedule = chooseRecurrenceSchedule(problem, device);
  const { bounds, reverse, substeps } = problem;
  const chunk = schedule.kind === "tiled" ? chunkOf(problem, schedule, device) : null;
  checkStates(problem, device);
  if (schedule.kind === "tiled" && chunk !== null) checkSeries(problem, schedule, chunk, device);
  // launches hold as many chunks as bindings do, but a piece that is walked whole must fit
  const longest = chunk === null
    ? tokensOfWalk(problem, schedule, device)
    : Math.min(UNCUT, tokensOfChunks(problem, chunk, device));
  // neither pieces nor chunks part the writes of a token
  const whole = (writes: number): number => Math.max(substeps, writes - writes % substeps);
  const chunkSize = chunk === null ? null : whole(chunk);
  const rounds = roundsOf(bounds, { longest: whole(longest), chunkSize, reverse });
  return { schedule, rounds };
}

/** Tokens of the chunks that are computed in parallel, or null for a loop. */
function chunkOf(
  problem: RecurrenceProblem,
  schedule: TiledRecurrence,
  device: PlanDevice,
): number | null {
  const { bounds, heads, valueDim } = problem;
  const blocks = Math.ceil(valueDim / channelsOfWorkgroup(schedule));
  const workgroups = (bounds.length - 1) * heads * blocks;
  const tuned = { device, problemClass: recurrenceClass(problem) };
  return chunkTokens(problem, {
    parallel: defaultsOf(device.adapter).parallel,
    idle: workgroups < FULL,
    tuned: tunedWalk(tuned, recurrenceScheduleName(schedule), CHUNK_SIZES),
  });
}

/** Tokens of a segment that a driver walks to its end, and whose rows one binding holds. */
export function tokensOfWalk(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  device: PlanDevice,
): number {
  const most = Math.min(
    tokensOfLoop(problem, schedule, device),
    tokensOfBinding(problem, schedule, device.limits),
  );
  return Math.max(1, Math.floor(Math.min(most, UNCUT)));
}

/**
 * Tokens that one loop walks before a driver would end it. A token of the baseline loops over K for its write,
 * for what it erases, for each query, and for each norm.
 */
function tokensOfLoop(
  { keyDim, qHeads, heads, erase, l2norm }: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  { limits }: PlanDevice,
): number {
  const iterations = 0.9 * limits.maxLoopIterations;
  const rows = 1 + Math.max(1, qHeads / heads); // a key and its queries
  const loops = rows + Number(erase !== "none") + (l2norm ? rows : 0);
  return schedule.kind !== "tiled"
    ? iterations / (loops * (keyDim + 2)) - 2
    : Math.max(1, iterations - stateIterations({ keyDim })) / loopIterations(schedule) *
      schedule.tokens;
}

/** Tokens whose rows one binding holds, of whatever tensor has the longest. */
export function tokensOfBinding(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  limits: GpuLimits,
): number {
  const { qHeads, heads, valueDim, elem, inputs } = problem;
  const textures = schedule.kind === "tiled" && schedule.source === "texture";
  const tokens = Object.entries(inputs).map(([name, rows]) => {
    const { per, read } = INPUTS[name as InputName];
    if (!isPerToken(per) || (textures && read === "row")) return 0;
    return rows.heads * inputWidth(name as InputName, problem) * elementBytes(rows.elem);
  });
  const out = Math.max(qHeads, heads) * valueDim * elementBytes(elem);
  const { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment } =
    limits;
  return largest / Math.max(out, ...tokens) - alignment;
}

/** The queries of a chunk by series are those of one invocation, however many read a state. */
function checkSeries(
  { featureMap, valueDim, qHeads, heads, keyDim }: RecurrenceProblem,
  schedule: TiledRecurrence,
  chunkSize: number,
  { limits }: PlanDevice,
): void {
  if (featureMap !== "taylor2") return;
  const group = Math.max(1, qHeads / heads);
  const iterations = stateIterations({ keyDim }) +
    seriesIterations(seriesTile(schedule, valueDim), chunkSize, group);
  if (iterations <= limits.maxLoopIterations) return;
  throw new RangeError(
    `Cannot plan a recurrence as the queries of a chunk must fit one loop: ${group} heads of ${chunkSize} take ${iterations} iterations, the device allows ${limits.maxLoopIterations}`,
  );
}

/** States are bound whole. */
function checkStates(
  { bounds, heads, keyDim, valueDim, initial, final }: RecurrenceProblem,
  { limits }: PlanDevice,
): void {
  const bytes = 4 * (bounds.length - 1) * heads * keyDim * valueDim;
  if (!(initial || final) || bytes <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan a recurrence as the states of all sequences must fit one binding: they have ${bytes} bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}

/** Tokens of a sequence whose chunk states fit one binding, and whose chunks one loop carries. */
function tokensOfChunks(
  { bounds, heads, keyDim, valueDim, erase }: RecurrenceProblem,
  chunkSize: number,
  { limits }: PlanDevice,
): number {
  const columns = erase === "none" ? valueDim : Math.max(keyDim, valueDim);
  const iterations = erase === "none" ? 1 : carryMatrixIterations(keyDim);
  const sequences = Math.max(1, bounds.length - 1);
  const states = limits.maxStorageBufferBindingSize / (4 * heads * keyDim * columns);
  const chunks = Math.min(states / sequences - 1, 0.9 * limits.maxLoopIterations / iterations);
  return Math.max(1, Math.floor(chunks)) * chunkSize;
}
