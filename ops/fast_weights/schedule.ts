import type { FastTile } from "../../kernels/fast_weights/config.ts";
import { fastBytes } from "../../kernels/fast_weights/walk.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { tunedFirst } from "../tuning.ts";
import { fastClass } from "./class.ts";
import type { FastProblem } from "./problem.ts";

/** How fast weights are laid out; {@linkcode fastSchedules} lists those that fit. */
export type FastSchedule = TiledFast | { readonly kind: "naive" };

/** Matrices in registers, blocks of tokens in workgroup memory. */
export interface TiledFast extends FastTile {
  /** Discriminates. */
  readonly kind: "tiled";
}

/** Rows of a matrix that an invocation owns: more of them are registers that barriers must keep. */
const MAX_ROWS = 16;

/** Invocations of a workgroup. */
const MAX_LANES = 512;

/** Tokens of a block: beyond it the errors of a block cost more than it saves. */
const MAX_TOKENS = 16;

/** vec4 columns of a workgroup: at least, and of rules whose columns do not need each other, at most. */
const [LEAST_COLUMNS, MOST_COLUMNS] = [8, 16];

/** The name of a schedule, as the command line prints and takes it. */
export function fastScheduleName(schedule: FastSchedule): string {
  if (schedule.kind === "naive") return "naive";
  const { columns, slices, tokens } = schedule;
  return `workgroup-${columns}x${slices}-${tokens}`;
}

/** Lists the schedules that fit a problem and a device, the one expected to be fastest first. */
export function fastSchedules(problem: FastProblem, device: PlanDevice): FastSchedule[] {
  const { rule, keyDim, valueDim } = problem;
  const { maxComputeInvocationsPerWorkgroup } = device.limits;
  const wanted = Math.max(LEAST_COLUMNS, Math.ceil(valueDim / 4));
  const columns = rule === "ttt" ? wanted : Math.min(MOST_COLUMNS, wanted);
  const most = Math.floor(Math.min(MAX_LANES, maxComputeInvocationsPerWorkgroup) / columns);
  const slices = Math.min(most, Math.ceil(keyDim / MAX_ROWS));
  const tokens = blockTokens({ rule, keyDim, columns, slices }, problem, device);
  const tiled = tokens < 1 ? [] : [{ kind: "tiled", columns, slices, tokens } as const];
  return [...tiled, { kind: "naive" }];
}

/** Most tokens of a block whose rows fit workgroup memory. */
function blockTokens(
  tile: Pick<FastProblem, "rule" | "keyDim"> & Omit<FastTile, "tokens">,
  { miniBatch }: FastProblem,
  { limits }: PlanDevice,
): number {
  let tokens = Math.min(MAX_TOKENS, miniBatch);
  while (tokens > 0 && fastBytes({ ...tile, tokens }) > limits.maxComputeWorkgroupStorageSize) {
    tokens--;
  }
  return tokens;
}

/** Picks the schedule that the caller named, or that tuning chose, or the default. */
export function chooseFastSchedule(problem: FastProblem, device: PlanDevice): FastSchedule {
  const valid = fastSchedules(problem, device);
  const { schedule } = problem;
  if (schedule === null) {
    return tunedFirst({ device, problemClass: fastClass(problem) }, valid, fastScheduleName)[0];
  }
  const found = valid.find((candidate) =>
    fastScheduleName(candidate) === schedule ||
    (candidate.kind === "tiled" && schedule === "workgroup")
  );
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot plan fast weights as schedule must fit the problem and the device: "${schedule}" is not among ${
      valid.map(fastScheduleName).join(", ")
    }`,
  );
}
