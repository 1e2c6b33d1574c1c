import type { Gpu } from "../../gpu/device.ts";
import { scanClass } from "../../ops/scan/class.ts";
import { planScan } from "../../ops/scan/plan.ts";
import { CHUNK_SIZES as SCAN_CHUNKS, type ScanProblem } from "../../ops/scan/problem.ts";
import { selectiveClass } from "../../ops/selective_scan/class.ts";
import { CHUNK_SIZES, type SelectiveScanProblem } from "../../ops/selective_scan/problem.ts";
import {
  type SelectiveSchedule,
  selectiveScheduleName,
  selectiveSchedules,
} from "../../ops/selective_scan/schedule.ts";
import type { Candidate, Choices } from "./choices.ts";
import type { Demand } from "./demand.ts";
import {
  chunkedDemand,
  plainCandidate,
  type Walked,
  walkedCandidate,
} from "./recurrence_choices.ts";

/** The ways to compute a selective scan; `bytes` are those of inputs and outputs. */
export function selectiveChoices(
  problem: SelectiveScanProblem,
  bytes: number,
  gpu: Gpu,
  workloadOf: Walked,
): Choices {
  const candidates = selectiveSchedules(problem, gpu).map((schedule): Candidate => {
    const name = selectiveScheduleName(schedule);
    const demand = selectiveDemand(problem, schedule, bytes);
    const carry = problem.batch * problem.channels * Math.ceil(problem.states / 4);
    return schedule.kind === "tiled"
      ? walkedCandidate({ name, demand, carry }, problem, CHUNK_SIZES, workloadOf)
      : plainCandidate({ name, demand }, workloadOf);
  });
  return { problemClass: selectiveClass(problem), candidates };
}

/** Multiply-adds that an exponential and its product take. */
const EXPONENTIAL = 4;

function selectiveDemand(
  { batch, length, channels, states, bounds }: SelectiveScanProblem,
  schedule: SelectiveSchedule,
  bytes: number,
): Demand {
  const tokens = batch * length;
  const [n4, c4] = [Math.ceil(states / 4), Math.ceil(channels / 4)];
  const multiplies = tokens * channels * n4 * (3 + EXPONENTIAL);
  if (schedule.kind === "naive") {
    return {
      ...{ multiplies, loads: tokens * channels * n4 * 4, source: "buffer", exchanges: 0 },
      ...{ exchange: "workgroup", registers: 4, workgroupBytes: 0, threads: 64, bytes },
      workgroups: (bounds.length - 1) * channels / 64,
    };
  }
  const { exchange, lanes, own, source } = schedule;
  const groups = Math.ceil(channels / (lanes * own));
  return {
    ...{ multiplies, loads: tokens * (2 * n4 * groups + 3 * c4 * (own === 1 ? 4 : 1)), source },
    exchanges: tokens * groups * lanes * 2 * n4,
    exchange: exchange === "subgroup" ? "shuffle" : exchange,
    registers: own * n4 + 4,
    workgroupBytes: exchange === "workgroup" ? 16 * n4 * 2 * schedule.tokens : 0,
    ...{ threads: lanes, workgroups: (bounds.length - 1) * groups },
    bytes: source === "texture" ? 3 * bytes : bytes,
  };
}

/** The ways to walk a scan; `bytes` are those of inputs and outputs. */
export function scanChoices(
  problem: ScanProblem,
  bytes: number,
  gpu: Gpu,
  workloadOf: Walked,
): Choices {
  const { batch, length, heads, width, bounds, mode, chunkSize: asked } = problem;
  const items = batch * length * heads * Math.ceil(width / 4);
  const demand: Demand = {
    ...{ multiplies: items * EXPONENTIAL, loads: 2 * items, source: "buffer", exchanges: 0 },
    ...{ exchange: "workgroup", registers: 4, workgroupBytes: 0, threads: 64, bytes },
    workgroups: (bounds.length - 1) * heads * width / 256,
  };
  const loop = { mode: "loop" } as const;
  const sizes = SCAN_CHUNKS.filter((size) => asked === null ? length >= 4 * size : size === asked);
  const chunks = sizes.map((chunkSize): Candidate => {
    const choice = { mode: "chunk", chunkSize } as const;
    return {
      ...{ name: `chunk-${chunkSize}`, choice },
      demand: chunkedDemand({ demand, carry: items / length }, Math.ceil(length / chunkSize)),
      workload: () => workloadOf(choice),
    };
  });
  const loops: Candidate[] = [{
    name: "loop",
    choice: loop,
    demand,
    workload: () => workloadOf(loop),
  }];
  const standard = planScan(problem, gpu).chunkSize;
  const candidates = [...(mode === "chunk" ? [] : loops), ...(mode === "loop" ? [] : chunks)]
    .toSorted((a, b) => Number(isOther(a, standard)) - Number(isOther(b, standard)));
  return { problemClass: scanClass(problem), candidates };
}

function isOther({ choice }: Candidate, chunkSize: number | null): boolean {
  return (choice?.chunkSize ?? null) !== chunkSize;
}

/** The one way of an operator that knows no other. */
export function onlyChoice(
  name: string,
  { bytes, workloadOf }: { readonly bytes: number; readonly workloadOf: Walked },
): Choices {
  const demand: Demand = {
    ...{ multiplies: 0, loads: 0, source: "buffer", exchanges: 0, exchange: "workgroup" },
    ...{ registers: 4, workgroupBytes: 0, threads: 64, workgroups: Infinity, bytes },
  };
  const only = { name, choice: null, demand, workload: () => workloadOf({}) };
  return { problemClass: null, candidates: [only] };
}
