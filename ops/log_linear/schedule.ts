import type { LogLinearTile } from "../../kernels/log_linear/config.ts";
import { logLinearStepBytes } from "../../kernels/log_linear/step.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { defaultsOf } from "../defaults.ts";
import { tunedFirst } from "../tuning.ts";
import { logLinearClass } from "./class.ts";
import type { LogLinearProblem } from "./problem.ts";

/** How log-linear attention is laid out; {@linkcode logLinearSchedules} lists those that fit. */
export type LogLinearSchedule =
  | TiledLogLinear
  | { readonly kind: "step" } // the state streams through, token by token
  | { readonly kind: "naive" };

/** Chunks in parallel. */
export interface TiledLogLinear extends LogLinearTile {
  /** Discriminates. */
  readonly kind: "tiled";
}

/** Most vec4 columns of an invocation: every row that is not handed round is text. */
const WIDEST = { subgroup: 8, direct: 8 } as const;

/** The name of a schedule, as the command line prints and takes it. */
export function logLinearScheduleName(schedule: LogLinearSchedule): string {
  if (schedule.kind !== "tiled") return schedule.kind;
  const { exchange, lanes, rows } = schedule;
  return `${exchange}-${lanes}x${rows}`;
}

/** Lists the schedules that fit a problem and a device, the one expected to be fastest first. */
export function logLinearSchedules(
  problem: LogLinearProblem,
  { adapter, features, limits }: PlanDevice,
): LogLinearSchedule[] {
  if (problem.inPlace) {
    const bytes = logLinearStepBytes({ group: groupOf(problem) });
    const fits = bytes <= limits.maxComputeWorkgroupStorageSize;
    return [...(fits ? [{ kind: "step" } as const] : []), { kind: "naive" }];
  }
  const subgroups = features.subgroups;
  const subgroupFirst = defaultsOf(adapter).first === "subgroup";
  const direct: TiledLogLinear = {
    ...{ kind: "tiled", exchange: "direct", columns: columnsOf(problem, WIDEST.direct) },
    ...(subgroupFirst
      ? { lanes: 8, rows: 4, columns: columnsOf(problem, 4) }
      : { lanes: 32, rows: 2 }),
  };
  const shared: TiledLogLinear[] = subgroups
    ? [{
      ...{ kind: "tiled", exchange: "subgroup", columns: columnsOf(problem, WIDEST.subgroup) },
      lanes: subgroups.size,
      rows: Math.min(4, Math.max(1, 32 / subgroups.size)),
    }]
    : [];
  const tiled = subgroupFirst ? [...shared, direct] : [direct, ...shared];
  return [...tiled, { kind: "naive" }];
}

/** Outputs that read one state. */
export function groupOf({ qHeads, heads }: LogLinearProblem): number {
  return Math.max(1, qHeads / heads);
}

/** Columns of blocks of about one size. */
function columnsOf({ valueDim }: LogLinearProblem, widest: number): number {
  const columns = Math.ceil(valueDim / 4);
  return Math.ceil(columns / Math.ceil(columns / widest));
}

/** Picks the schedule that the caller named, or that tuning chose, or the default. */
export function chooseLogLinearSchedule(
  problem: LogLinearProblem,
  device: PlanDevice,
): LogLinearSchedule {
  const valid = logLinearSchedules(problem, device);
  const { schedule } = problem;
  if (schedule === null) {
    const tuned = { device, problemClass: logLinearClass(problem) };
    return tunedFirst(tuned, valid, logLinearScheduleName)[0];
  }
  const found = valid.find((candidate) =>
    logLinearScheduleName(candidate) === schedule ||
    (candidate.kind === "tiled" && candidate.exchange === schedule)
  );
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot plan log-linear attention as schedule must fit the problem and the device: "${schedule}" is not among ${
      valid.map(logLinearScheduleName).join(", ")
    }`,
  );
}
