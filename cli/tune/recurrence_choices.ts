import type { Gpu } from "../../gpu/device.ts";
import type { TunedChoice } from "../../gpu/tuning.ts";
import { channelsOfWorkgroup } from "../../kernels/recurrence/loop.ts";
import { recurrenceClass } from "../../ops/recurrence/class.ts";
import { CHUNK_SIZES, type RecurrenceProblem } from "../../ops/recurrence/problem.ts";
import {
  type RecurrenceSchedule,
  recurrenceScheduleName,
  recurrenceSchedules,
  stagedBytes,
} from "../../ops/recurrence/schedule.ts";
import type { Workload } from "../workload.ts";
import type { Candidate, Choices } from "./choices.ts";
import type { Demand } from "./demand.ts";

/** What a choice of schedule, mode and chunks makes of a workload. */
export type Walked = (choice: TunedChoice) => Workload;

/** The ways to compute a recurrence; `bytes` are those of inputs and outputs. */
export function recurrenceChoices(
  problem: RecurrenceProblem,
  bytes: number,
  gpu: Gpu,
  workloadOf: Walked,
): Choices {
  const candidates = recurrenceSchedules(problem, gpu).map((schedule): Candidate => {
    const name = recurrenceScheduleName(schedule);
    const demand = recurrenceDemand(problem, schedule, bytes);
    return schedule.kind === "tiled"
      ? walkedCandidate(
        { name, demand, carry: carryLoads(problem) },
        problem,
        CHUNK_SIZES,
        workloadOf,
      )
      : plainCandidate({ name, demand }, workloadOf);
  });
  return { problemClass: recurrenceClass(problem), candidates };
}

/** A schedule that walks tokens as the problem says. */
export function plainCandidate(
  { name, demand }: Pick<Candidate, "name" | "demand">,
  workloadOf: Walked,
): Candidate {
  const choice = { schedule: name };
  return { name, choice, demand, workload: () => workloadOf(choice) };
}

/** A schedule that can walk tokens in chunks, and the loads that carry all states past a chunk. */
export interface Walk extends Pick<Candidate, "name" | "demand"> {
  readonly carry: number;
}

/**
 * A schedule in a loop and its variants in chunks, where the problem leaves open how tokens are walked
 * and is long enough for chunks.
 */
export function walkedCandidate(
  { name, demand, carry }: Walk,
  { mode, length, chunkSize }: Pick<RecurrenceProblem, "mode" | "length" | "chunkSize">,
  chunkSizes: readonly number[],
  workloadOf: Walked,
): Candidate {
  const sizes = chunkSizes.filter((size) => length >= 4 * size);
  if (mode !== "auto" || chunkSize !== null || sizes.length === 0) {
    return plainCandidate({ name, demand }, workloadOf);
  }
  const loop = { schedule: name, mode: "loop" } as const;
  const variants = sizes.map((chunkSize): Candidate => {
    const choice = { schedule: name, mode: "chunk", chunkSize } as const;
    return {
      ...{
        name: `${name} chunk-${chunkSize}`,
        choice,
        demand: chunkedDemand({ demand, carry }, Math.ceil(length / chunkSize)),
      },
      workload: () => workloadOf(choice),
    };
  });
  return {
    ...{ name: `${name} loop`, choice: loop, demand, variants },
    workload: () => workloadOf(loop),
  };
}

/** Chunks are walked twice, once for their states and once for their outputs, all at the same time. */
export function chunkedDemand(
  { demand, carry }: Pick<Walk, "demand" | "carry">,
  chunks: number,
): Demand {
  return {
    ...demand,
    multiplies: 1.7 * demand.multiplies,
    loads: 1.5 * demand.loads + chunks * carry,
    exchanges: 1.5 * demand.exchanges,
    workgroups: demand.workgroups * chunks,
  };
}

/** A product of matrices of single numbers where chunks erase, else a state read and written. */
function carryLoads({ bounds, heads, keyDim, valueDim, erase }: RecurrenceProblem): number {
  const states = (bounds.length - 1) * heads * keyDim;
  return erase === "none" ? 2 * states * Math.ceil(valueDim / 4) : 2 * states * keyDim * valueDim;
}

/** What a schedule asks of a device, token by token. */
function recurrenceDemand(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  bytes: number,
): Demand {
  const { batch, length, heads, qHeads, keyDim, valueDim, erase, bounds, initial, final } = problem;
  const tokens = batch * length * heads;
  const [k4, v4] = [Math.ceil(keyDim / 4), Math.ceil(valueDim / 4)];
  const group = Math.max(1, qHeads / heads);
  // decay, write, and what an erase and each output read
  const passes = (erase === "none" ? 2 : 3) + group;
  const rows = 1 + group + (erase === "none" ? 0 : 1);
  const multiplies = tokens * passes * keyDim * v4;
  const sequences = (bounds.length - 1) * heads;
  if (schedule.kind !== "tiled") {
    const lanes = schedule.kind === "step" ? schedule.lanes : 64;
    const states = schedule.kind === "step" ? 2 : 2 * passes;
    return {
      ...{ multiplies, loads: tokens * states * keyDim * v4, exchanges: tokens * rows * k4 },
      source: schedule.kind === "step" ? schedule.source : "buffer",
      ...{ exchange: schedule.kind === "step" ? schedule.exchange : "workgroup", registers: 8 },
      ...{ workgroupBytes: 0, threads: lanes, bytes },
      workgroups: sequences * Math.ceil(v4 / lanes),
    };
  }
  const { exchange, lanes, columns, own, source } = schedule;
  const blocks = Math.ceil(valueDim / channelsOfWorkgroup(schedule));
  const held = columns * own / 4; // vec4 of a row of the state
  const ends = Number(initial) + Number(final);
  const handed = tokens * blocks * lanes * rows * k4;
  // blocks of tokens meet each other as scores, and the state once
  const share = exchange === "blocks" ? 0.6 : 1;
  return {
    ...{ multiplies: share * tokens * passes * keyDim * blocks * lanes * held, source },
    loads: tokens * (blocks * rows * k4 + v4) + ends * sequences * keyDim * v4,
    exchanges: share * handed,
    exchange: exchange === "workgroup" || exchange === "broadcast" ? exchange : "shuffle",
    registers: keyDim * held,
    workgroupBytes: exchange === "workgroup" ? schedule.tokens * stagedBytes(problem) : 0,
    ...{ threads: lanes, workgroups: sequences * blocks },
    bytes: source === "texture" ? 3 * bytes : bytes,
  };
}
