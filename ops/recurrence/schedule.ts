import { hasBlocks } from "../../kernels/recurrence/blocks.ts";
import type { LoopTile } from "../../kernels/recurrence/loop.ts";
import type { InputSource } from "../../kernels/shared/rows.ts";
import { tokensInText } from "../../kernels/shared/token_walk.ts";
import { stepBytes } from "../../kernels/recurrence/step.ts";
import type { StepTile } from "../../kernels/recurrence/step_exchange.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { inputSources } from "../attention/sources.ts";
import { defaultsOf, shufflesWell } from "../defaults.ts";
import { tunedFirst } from "../tuning.ts";
import { isStep, recurrenceClass } from "./class.ts";
import type { RecurrenceProblem } from "./problem.ts";

/** How a recurrence is laid out; {@linkcode recurrenceSchedules} lists those that fit. */
export type RecurrenceSchedule =
  | TiledRecurrence
  | StepRecurrence
  | { readonly kind: "naive" };

/** State in registers, tokens handed round. */
export interface TiledRecurrence extends LoopTile {
  /** Discriminates. */
  readonly kind: "tiled";
  /** Where tokens are read. */
  readonly source: InputSource;
}

/** The state streams through: sequences of at most one token. */
export interface StepRecurrence extends StepTile {
  /** Discriminates. */
  readonly kind: "step";
  /** Where states are read. */
  readonly source: InputSource;
}

/** vec4 registers of the state of an invocation of a subgroup. */
const STATE_BUDGET = 256;

/** The name of a schedule, as the command line prints and takes it. */
export function recurrenceScheduleName(schedule: RecurrenceSchedule): string {
  if (schedule.kind === "naive") return schedule.kind;
  if (schedule.kind === "step") return `step-${schedule.exchange}-${schedule.source}`;
  const { lanes, columns, own, source } = schedule;
  return `${familyOf(schedule)}-${own === 1 ? lanes : `${lanes}x${columns}`}-${source}`;
}

/** The first word of its name, which names the first of its kind. */
function familyOf(schedule: RecurrenceSchedule): string {
  if (schedule.kind !== "tiled") return schedule.kind;
  return schedule.own === 1 ? "channels" : schedule.exchange;
}

/** Lists the schedules that fit a problem and a device, the one expected to be fastest first. */
export function recurrenceSchedules(
  problem: RecurrenceProblem,
  device: PlanDevice,
): RecurrenceSchedule[] {
  const subgroup = subgroupSchedules(problem, device);
  const workgroup = workgroupSchedules(problem, device);
  const tiled = defaultsOf(device.adapter).first === "subgroup"
    ? [...subgroup, ...workgroup]
    : [...workgroup, ...subgroup];
  return [...stepSchedules(problem, device), ...tiled, { kind: "naive" }];
}

/** vec4 columns of a step that hands rows through workgroup memory. */
const STEP_COLUMNS = 8;

/** Steps, where no sequence has more than a token. */
function stepSchedules(problem: RecurrenceProblem, device: PlanDevice): StepRecurrence[] {
  const { keyDim, qHeads, heads } = problem;
  const { adapter, features, limits } = device;
  const { first } = defaultsOf(adapter);
  if (!isStep(problem)) return [];
  const rows = { keyDim, group: Math.max(1, qHeads / heads), lanes: STEP_COLUMNS };
  const workgroup: StepRecurrence[] = stepBytes(rows) <= limits.maxComputeWorkgroupStorageSize
    ? [{ kind: "step", exchange: "workgroup", lanes: STEP_COLUMNS, source: "buffer" }]
    : [];
  const lanes = features.subgroups?.size;
  if (lanes === undefined) return workgroup;
  const exchange = shufflesWell(adapter, lanes) ? "shuffle" : "broadcast";
  const subgroup = stateSources(problem, device).map((source): StepRecurrence => ({
    ...{ kind: "step", exchange, lanes, source },
  }));
  return first === "subgroup" ? [...subgroup, ...workgroup] : [...workgroup, ...subgroup];
}

/** Where states may be read that are there, as rows of value channels. */
function stateSources(problem: RecurrenceProblem, device: PlanDevice): InputSource[] {
  const { bounds, heads, keyDim, valueDim, initial, valueFirst } = problem;
  const rows = (bounds.length - 1) * heads * keyDim;
  return inputSources({ rows, widths: [valueDim], copyable: initial && !valueFirst }, device);
}

function subgroupSchedules(problem: RecurrenceProblem, device: PlanDevice): TiledRecurrence[] {
  const lanes = device.features.subgroups?.size;
  if (lanes === undefined) return [];
  const rows = 4 * Math.ceil(problem.keyDim / 4);
  const columns = [1, 2].filter((columns) =>
    columns === 1 || (rows * columns <= STATE_BUDGET && problem.valueDim > 4 * lanes)
  );
  const tokens = blockTokens(problem, lanes);
  const tiles = sources(problem, device).map((source) => ({
    ...{ kind: "tiled", lanes, own: 4, source } as const,
  }));
  const walks = tiles.flatMap((tile) =>
    columns.map((columns): TiledRecurrence => ({
      ...{ ...tile, exchange: "subgroup", columns, tokens: lanes },
    }))
  );
  const read = problem.keyDim * Math.max(1, problem.qHeads / problem.heads);
  const unrolled = Math.min(lanes, tokensInText(read, 512));
  const broadcasts = tiles.map((tile): TiledRecurrence => ({
    ...{ ...tile, exchange: "broadcast", columns: 1, tokens: unrolled },
  }));
  const blocks = tiles.map((tile): TiledRecurrence => ({
    ...{ ...tile, exchange: "blocks", columns: 1, tokens },
  }));
  const ordered = shufflesWell(device.adapter, lanes)
    ? [...walks, ...broadcasts]
    : [...broadcasts, ...walks];
  return [...ordered, ...(tokens > 0 ? blocks : [])];
}

/** Tokens of a block: few where its text would be long, none where blocks do not compute a problem. */
function blockTokens(problem: RecurrenceProblem, lanes: number): number {
  const { keyDim, qHeads, heads } = problem;
  if (!hasBlocks(problem)) return 0;
  return Math.min(lanes, keyDim * Math.max(1, qHeads / heads) <= 128 ? 8 : 4);
}

/**
 * Rows handed through workgroup memory, for channels that are owned by fours or one by one. Where the
 * registers of a GPU hold no four columns of the state, they would spill: then single ones come first. A CPU
 * keeps them in its first cache; on llvmpipe and SwiftShader single ones take four times as long.
 */
function workgroupSchedules(
  problem: RecurrenceProblem,
  { adapter, limits }: PlanDevice,
): TiledRecurrence[] {
  const { keyDim, valueDim } = problem;
  const fitting = Math.floor((limits.maxComputeWorkgroupStorageSize - 64) / stagedBytes(problem));
  if (fitting < 1) return [];
  const { parallel, states } = defaultsOf(adapter);
  const wide = !parallel || 4 * keyDim <= states;
  const owned: (1 | 4)[] = wide ? [4, 1] : [1, 4];
  return owned.map((own): TiledRecurrence => {
    const wanted = 2 ** Math.ceil(Math.log2(Math.ceil(valueDim / own)));
    const lanes = Math.min(64, Math.max(8, wanted));
    const tokens = Math.min(16, lanes, fitting);
    return {
      ...{ kind: "tiled", exchange: "workgroup", lanes, columns: 1, own, tokens },
      source: "buffer",
    };
  });
}

/** Workgroup memory of a token's rows: its key, queries, decays, and what erases. */
export function stagedBytes(
  { keyDim, gate, qHeads, heads, erase, inputs }: RecurrenceProblem,
): number {
  const group = Math.max(1, qHeads / heads);
  const rows = [
    gate === "channel" || gate === "forget",
    inputs.p !== undefined || inputs.eraseGate !== undefined,
    erase === "pair",
  ].filter((there) => there).length;
  const scalars = 2 + (inputs.u ? group : 0); // the gate, beta and what the bonus adds
  return 16 * Math.ceil(keyDim / 4) * (1 + group + rows) + 4 * scalars;
}

function sources(problem: RecurrenceProblem, device: PlanDevice): InputSource[] {
  const { batch, length, qHeads, heads, dim, valueDim, copyable } = problem;
  const rows = batch * length * Math.max(qHeads, heads);
  return inputSources({ rows, widths: [dim, valueDim], copyable }, device);
}

/** Picks the schedule that the caller named, or that tuning chose, or the default. */
export function chooseRecurrenceSchedule(
  problem: RecurrenceProblem,
  device: PlanDevice,
): RecurrenceSchedule {
  const valid = recurrenceSchedules(problem, device);
  const { schedule } = problem;
  if (schedule === null) {
    const tuned = { device, problemClass: recurrenceClass(problem) };
    return tunedFirst(tuned, valid, recurrenceScheduleName)[0];
  }
  const found = valid.find((candidate) =>
    recurrenceScheduleName(candidate) === schedule || familyOf(candidate) === schedule
  );
  if (found !== undefined) return found;
  throw new RangeError(
    `Cannot plan a recurrence as schedule must fit the problem and the device: "${schedule}" is not among ${
      valid.map(recurrenceScheduleName).join(", ")
    }`,
  );
}

/** The default of the schedules that keep the state in registers. */
export function tiledSchedule(problem: RecurrenceProblem, device: PlanDevice): TiledRecurrence {
  const found = recurrenceSchedules(problem, device).find(({ kind }) => kind === "tiled");
  if (found?.kind === "tiled") return found;
  const { qHeads, heads, keyDim } = problem;
  throw new RangeError(
    `Cannot plan a recurrence as the rows of a token must fit workgroup memory: current sizes are ${
      qHeads / heads
    } queries of ${keyDim} features`,
  );
}
