import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { FAST_INPUTS, FAST_NAMES, fastWidth } from "../../kernels/fast_weights/config.ts";
import { naiveFastIterations } from "../../kernels/fast_weights/naive.ts";
import { fastIterations } from "../../kernels/fast_weights/walk.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { type Round, roundsOf } from "../segments.ts";
import type { FastProblem } from "./problem.ts";
import { chooseFastSchedule, type FastSchedule } from "./schedule.ts";

/** How fast weights will be computed; no GPU was touched. */
export interface FastPlan {
  readonly schedule: FastSchedule;
  readonly rounds: readonly Round[];
  /** Whether pieces end within mini-batches. */
  readonly parted: boolean;
}

/** Tokens of a piece where nothing limits it. */
const UNCUT = 2 ** 30;

/** Chooses a schedule, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planFastWeights(problem: FastProblem, device: PlanDevice): FastPlan {
  const schedule = chooseFastSchedule(problem, device);
  const { bounds, miniBatch } = problem;
  const { limits } = device;
  checkStates(problem, limits);
  const held = tokensOfBinding(problem, limits);
  const walked = tokensOfLoop(problem, schedule, limits);
  const most = Math.max(1, Math.floor(Math.min(held, walked, UNCUT)));
  const lengths = bounds.slice(1).map((end, n) => end - bounds[n]);
  const parted = miniBatch > most && Math.max(0, ...lengths) > most;
  // whole mini-batches where a piece holds one
  const longest = most < miniBatch ? most : most - most % miniBatch;
  return {
    schedule,
    parted,
    rounds: roundsOf(bounds, { longest, chunkSize: null, reverse: false }),
  };
}

/** Outputs that read one state. */
export function groupOf({ qHeads, heads }: Pick<FastProblem, "qHeads" | "heads">): number {
  return Math.max(1, qHeads / heads);
}

/** Tokens that one loop walks before a driver would end it. */
function tokensOfLoop(
  problem: FastProblem,
  schedule: FastSchedule,
  { maxLoopIterations }: GpuLimits,
): number {
  const { rule, keyDim, valueDim, miniBatch } = problem;
  const config = { rule, keyDim, valueDim, group: groupOf(problem) };
  const iterations = 0.9 * maxLoopIterations;
  if (schedule.kind === "naive") {
    const { token, states } = naiveFastIterations(config);
    return (iterations - states) / token;
  }
  const { block, states } = fastIterations({ ...config, ...schedule });
  const blocks = Math.floor((iterations - states) / block);
  const whole = Math.floor(blocks / Math.ceil(miniBatch / schedule.tokens)) * miniBatch;
  // two blocks more where a piece ends one mini-batch and begins another
  return whole > 0 ? whole : (blocks - 2) * schedule.tokens;
}

/** Tokens whose rows one binding holds, of whatever tensor has the longest. */
export function tokensOfBinding(problem: FastProblem, limits: GpuLimits): number {
  const { inputs, elem, heads, valueDim } = problem;
  const { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment } =
    limits;
  const tokens = FAST_NAMES.flatMap((name) => {
    const stored = inputs[name];
    const { per, heads } = FAST_INPUTS[name];
    if (stored === undefined || per === "head") return [];
    return [problem[heads] * fastWidth(name, problem) * elementBytes(stored)];
  });
  const out = groupOf(problem) * heads * valueDim * elementBytes(elem);
  return largest / Math.max(out, ...tokens) - alignment;
}

/** States are bound whole. */
function checkStates(
  { bounds, heads, keyDim, valueDim }: FastProblem,
  limits: GpuLimits,
): void {
  const bytes = 4 * (bounds.length - 1) * heads * (keyDim + 1) * valueDim;
  if (bytes <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan fast weights as the states of all sequences must fit one binding: they have ${bytes} bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}
