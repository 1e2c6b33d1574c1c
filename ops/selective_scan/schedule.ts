import { aligned, type InputSource } from "../../kernels/shared/rows.ts";
import type { SelectiveTile } from "../../kernels/selective_scan/config.ts";
import { stagedBytes } from "../../kernels/selective_scan/walk.ts";
import { tokensInText } from "../../kernels/shared/token_walk.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { inputSources } from "../attention/sources.ts";
import { defaultsOf, shufflesWell } from "../defaults.ts";
import { tunedFirst } from "../tuning.ts";
import { selectiveClass } from "./class.ts";
import type { SelectiveScanProblem } from "./problem.ts";

/** How a selective scan is laid out; {@linkcode selectiveSchedules} lists those that fit. */
export type SelectiveSchedule = TiledSelective | { readonly kind: "naive" };

/** States in registers, tokens handed round. */
export interface TiledSelective extends SelectiveTile {
  /** Discriminates. */
  readonly kind: "tiled";
}

/** The name of a schedule, as the command line prints and takes it. */
export function selectiveScheduleName(schedule: SelectiveSchedule): string {
  if (schedule.kind === "naive") return "naive";
  const { exchange, lanes, own, source } = schedule;
  return `${exchange}-${lanes}x${own}-${source}`;
}

/** Lists the schedules that fit a problem and a device, the one expected to be fastest first. */
export function selectiveSchedules(
  problem: SelectiveScanProblem,
  device: PlanDevice,
): SelectiveSchedule[] {
  const { adapter, features, limits } = device;
  const lanes = features.subgroups?.size;
  const subgroup = lanes === undefined ? [] : handed(problem, device, lanes);
  const { first, threads } = defaultsOf(adapter);
  const tokens = Math.min(
    ...[16, threads, Math.floor(limits.maxComputeWorkgroupStorageSize / stagedBytes(problem))],
  );
  const workgroup = tokens < 1
    ? []
    : tiles(problem, device, { ...{ exchange: "workgroup", lanes: threads, tokens } });
  const tiled = first === "subgroup" ? [...subgroup, ...workgroup] : [...workgroup, ...subgroup];
  return [...tiled, { kind: "naive" }];
}

/** Through a subgroup: by shuffles in a loop, or by broadcasts in text. */
function handed(
  problem: SelectiveScanProblem,
  device: PlanDevice,
  lanes: number,
): TiledSelective[] {
  const inText = Math.min(lanes, tokensInText(problem.states, 128));
  const walks = tiles(problem, device, { exchange: "subgroup", lanes, tokens: lanes });
  const broadcasts = tiles(problem, device, { exchange: "broadcast", lanes, tokens: inText });
  return shufflesWell(device.adapter, lanes)
    ? [...walks, ...broadcasts]
    : [...broadcasts, ...walks];
}

/** Each source, with one or four channels an invocation. */
function tiles(
  problem: SelectiveScanProblem,
  device: PlanDevice,
  tile: Pick<SelectiveTile, "exchange" | "lanes" | "tokens">,
): TiledSelective[] {
  const { channels, states, elem } = problem;
  const defaults = defaultsOf(device.adapter);
  const fits = 4 * states <= defaults.states;
  // four channels share what a token costs, and words of f16 are written whole
  const wide = elem === "f16" || (!defaults.parallel && channels >= 4 * tile.lanes);
  const owned: (1 | 4)[] = wide ? [4, 1] : [1, 4];
  return sources(problem, device).flatMap((source) =>
    owned.filter((own) => own === 1 || fits).map((own): TiledSelective => ({
      ...{ kind: "tiled", ...tile, own, source },
    }))
  );
}

/** Rows of whole vec4s may be read from textures; others are read from buffers anyway. */
function sources(
  { batch, length, channels, states, copyable }: SelectiveScanProblem,
  device: PlanDevice,
): InputSource[] {
  const widths = [channels, states].filter(aligned);
  if (widths.length === 0) return ["buffer"];
  return inputSources({ rows: batch * length, widths, copyable }, device);
}

/** Picks the schedule that the caller named, or that tuning chose, or the default. */
export function chooseSelectiveSchedule(
  problem: SelectiveScanProblem,
  device: PlanDevice,
): SelectiveSchedule {
  const valid = selectiveSchedules(problem, device);
  const { schedule } = problem;
  if (schedule === null) {
    const tuned = { device, problemClass: selectiveClass(problem) };
    return tunedFirst(tuned, valid, selectiveScheduleName)[0];
  }
  const found = valid.find((candidate) =>
    selectiveScheduleName(candidate) === schedule ||
    (candidate.kind === "tiled" && candidate.exchange === schedule)
  );
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot plan a selective scan as schedule must fit the problem and the device: "${schedule}" is not among ${
      valid.map(selectiveScheduleName).join(", ")
    }`,
  );
}
