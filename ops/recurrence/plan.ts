import type { GpuLimits } from "../../gpu/limits.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import {
  columnsOfWorkgroup,
  loopIterations,
  stateIterations,
} from "../../kernels/recurrence/loop.ts";
import { chunksOf, type Round, roundsOf } from "../segments.ts";
import type { RecurrenceProblem } from "./problem.ts";
import {
  chooseRecurrenceSchedule,
  type RecurrenceSchedule,
  type TiledRecurrence,
} from "./schedule.ts";

/** How a recurrence will be computed; no GPU was touched. */
export interface RecurrencePlan {
  readonly schedule: RecurrenceSchedule;
  readonly rounds: readonly Round[];
}

/** Tokens of a piece where nothing limits it. */
const UNCUT = 2 ** 30;

/** Workgroups that fill a GPU: with fewer sequences and heads, chunks in parallel are worth a pass. */
const FULL = 512;

/** Chooses schedule and mode, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planRecurrence(problem: RecurrenceProblem, device: PlanDevice): RecurrencePlan {
  const schedule = chooseRecurrenceSchedule(problem, device);
  const { bounds, reverse } = problem;
  const sequences = bounds.slice(1).map((end, n) => ({ first: bounds[n], end, state: n }));
  const chunk = schedule.kind === "tiled" && chunked(problem, schedule, device);
  checkStates(problem, device);
  // launches hold as many chunks as bindings do, but a piece that is walked whole must fit
  const most = chunk ? tokensOfChunks(problem, device) : Math.min(
    tokensOfLoop(problem, schedule, device),
    tokensOfBinding(problem, schedule, device.limits),
  );
  const longest = Math.max(1, Math.floor(Math.min(most, UNCUT)));
  const rounds = roundsOf(sequences, longest, reverse).map((pieces) =>
    chunk ? chunksOf(pieces, problem) : { pieces, chunks: null, chunkRanges: [] }
  );
  return { schedule, rounds };
}

/** Whether chunks are computed in parallel: asked for, or a device would otherwise idle. */
function chunked(
  { mode, bounds, heads, length, valueDim, chunkSize }: RecurrenceProblem,
  schedule: TiledRecurrence,
  { adapter }: PlanDevice,
): boolean {
  if (mode !== "auto") return mode === "chunk";
  const blocks = Math.ceil(valueDim / (4 * columnsOfWorkgroup(schedule)));
  const workgroups = (bounds.length - 1) * heads * blocks;
  return !adapter.software && length >= 4 * chunkSize && workgroups < FULL;
}

/** Tokens that one loop walks before a driver would end it; a token of the baseline loops over K. */
function tokensOfLoop(
  { keyDim, qHeads, heads }: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  { limits }: PlanDevice,
): number {
  const iterations = 0.9 * limits.maxLoopIterations;
  const loops = 1 + Math.max(1, qHeads / heads);
  return schedule.kind === "naive"
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
  const { qHeads, kHeads, heads, dim, keyDim, valueDim, elem, gate, gateElem, valueGate, step } =
    problem;
  const bytes = (stored: "f32" | "f16" | null): number =>
    stored === null ? 0 : stored === "f16" ? 2 : 4;
  const out = Math.max(qHeads, heads) * valueDim * bytes(elem);
  const gates = gate === "token" || gate === "step" ? heads * bytes(gateElem) : 0;
  const inputs = schedule.kind === "tiled" && schedule.source === "texture" ? 0 : Math.max(
    Math.max(qHeads, kHeads) * dim * bytes(elem),
    heads * valueDim * Math.max(bytes(elem), bytes(valueGate), bytes(step?.outGate ?? null)),
    gate === "channel" ? heads * keyDim * bytes(gateElem) : 0,
  );
  const { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment } =
    limits;
  return largest / Math.max(out, gates, inputs) - alignment;
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
  { bounds, heads, keyDim, valueDim, chunkSize }: RecurrenceProblem,
  { limits }: PlanDevice,
): number {
  const sequences = Math.max(1, bounds.length - 1);
  const states = limits.maxStorageBufferBindingSize / (4 * heads * keyDim * valueDim);
  const chunks = Math.min(states / sequences - 1, 0.9 * limits.maxLoopIterations);
  return Math.max(1, Math.floor(chunks)) * chunkSize;
}
