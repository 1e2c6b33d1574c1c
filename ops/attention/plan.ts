import type { AttentionConfig } from "../../kernels/attention/config.ts";
import { workgroupIterations } from "../../kernels/attention/workgroup.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { AttentionProblem } from "./problem.ts";
import { type AttentionSchedule, chooseSchedule, type PlanDevice } from "./schedule.ts";

/** Half-open ranges of batch entries, queries, kv heads and parts of the keys. */
export interface Slice {
  readonly batch: Range;
  readonly queries: Range;
  readonly kvHeads: Range;
  readonly parts: Range;
}

/** From the first index to one past the last. */
export type Range = readonly [number, number];

/** Launches whose outputs are complete, or are merged from their parts, before the next round. */
export interface Round {
  /** Contiguous rows of q: whole batch entries, or queries of one entry. */
  readonly rows: Slice;
  /** One dispatch each. */
  readonly launches: readonly Slice[];
}

/** How attention will be computed; no GPU was touched. */
export interface AttentionPlan {
  readonly schedule: AttentionSchedule;
  /** What the kernel must know when compiled, less the schedule's own sizes. */
  readonly config: AttentionConfig;
  /** Parts that the keys are divided into; more than one needs a merge. */
  readonly parts: number;
  /** Keys of a part. */
  readonly partKeys: number;
  /** Queries (rows of a kv head, for split) of a workgroup. */
  readonly tile: number;
  readonly rounds: readonly Round[];
}

/** Multiply-adds of one dispatch, so that it ends long before a driver's watchdog (seconds) does. */
const WORK_BUDGET = 2 ** 34;

/**
 * Chooses a schedule and cuts the work so that every dispatch heeds the device's limits: bytes of a
 * binding, workgroups of an axis, loop iterations, and time.
 *
 * @throws RangeError if the schedule that was asked for does not fit
 */
export function planAttention(problem: AttentionProblem, device: PlanDevice): AttentionPlan {
  const schedule = chooseSchedule(problem, device);
  const { parts, partKeys } = divideKeys(problem, schedule, device.limits);
  const partial = parts > 1;
  const config: AttentionConfig = {
    elem: problem.elem,
    outElem: partial ? "f32" : problem.elem,
    headDim: problem.headDim,
    valueDim: problem.valueDim,
    banded: problem.band !== null,
    softcap: problem.softcap !== null,
    bias: problem.bias?.elem ?? null,
    sinks: problem.sinks?.elem ?? null,
    lse: problem.lse || partial,
    source: "source" in schedule ? schedule.source : "buffer",
  };
  const draft = { schedule, config, parts, partKeys, tile: tileOf(schedule) };
  const plan = { ...draft, rounds: cutRounds(problem, draft, device.limits) };
  if (schedule.kind === "naive") checkNaive(problem, plan, device.limits);
  return plan;
}

/** The baseline is not cut up: it measures, it does not serve. */
function checkNaive(problem: AttentionProblem, plan: AttentionPlan, limits: GpuLimits): void {
  const { batch, heads, qLen, kvLen } = problem;
  const scores = 4 * batch * heads * qLen * kvLen;
  const launches = plan.rounds.flatMap(({ launches }) => launches).length;
  const grids = Math.ceil(batch * heads / limits.maxComputeWorkgroupsPerDimension);
  const pieces = plan.parts * Math.max(launches, grids);
  if (pieces <= 1 && scores <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan attention as the naive schedule must run in one piece: it needs ${pieces} pieces and ${scores} bytes of scores, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}

function tileOf(schedule: AttentionSchedule): number {
  switch (schedule.kind) {
    case "naive":
      return 1;
    case "workgroup":
      return schedule.blockQ;
    case "subgroup":
      return schedule.lanes * schedule.rows;
    case "split":
      return schedule.rows;
  }
}

/** Loop iterations of an invocation per key, the one that ends a loop included; an upper bound. */
function iterationsPerKey(schedule: AttentionSchedule, problem: AttentionProblem): number {
  switch (schedule.kind) {
    case "naive":
      return 3;
    case "subgroup":
      return (schedule.exchange === "shuffle" ? schedule.lanes + 2 : 1) / schedule.lanes;
    case "split":
      return 1 / schedule.threads;
    case "workgroup":
      return workgroupIterations(schedule, problem.headDim, problem.valueDim) / schedule.blockKv;
  }
}

function divideKeys(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): { parts: number; partKeys: number } {
  const { kvLen } = problem;
  const looped = 0.9 * limits.maxLoopIterations / iterationsPerKey(schedule, problem);
  const bound = keysOfBinding(problem, schedule, limits);
  const longest = Math.max(1, Math.floor(Math.min(looped, bound)));
  const wanted = schedule.kind === "split" ? schedule.parts : 1;
  const partKeys = Math.max(1, Math.min(longest, Math.ceil(kvLen / wanted)));
  return { parts: Math.max(1, Math.ceil(kvLen / partKeys)), partKeys };
}

/** Keys whose k or v rows one binding holds; alignment may cost a few rows. */
function keysOfBinding(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): number {
  if ("source" in schedule && schedule.source === "texture") return Infinity;
  const dim = Math.max(problem.headDim, problem.valueDim);
  const bytes = dim * bytesOf(problem.elem) * problem.kvHeads;
  const slack = limits.minStorageBufferOffsetAlignment * dim * bytesOf(problem.elem);
  return (limits.maxStorageBufferBindingSize - slack) / bytes;
}

type Draft = Omit<AttentionPlan, "rounds">;

function cutRounds(problem: AttentionProblem, plan: Draft, limits: GpuLimits): Round[] {
  const { batch, qLen, kvHeads } = problem;
  if (batch * qLen === 0) return [];
  const whole: Slice = {
    batch: [0, batch],
    queries: [0, qLen],
    kvHeads: [0, kvHeads],
    parts: [0, plan.parts],
  };
  const rounds = cut(
    whole,
    ["batch", "queries"],
    (slice) => roundFits(slice, problem, plan, limits),
  );
  return rounds.map((rows) => ({
    rows,
    launches: cut(
      rows,
      ["batch", "parts", "kvHeads", "queries"],
      (slice) => launchFits(slice, problem, plan, limits),
    ),
  }));
}

/** Halves a slice along the first axis that can be halved until every piece fits. */
function cut(
  slice: Slice,
  axes: readonly (keyof Slice)[],
  fits: (slice: Slice) => boolean,
): Slice[] {
  if (fits(slice)) return [slice];
  const axis = axes.find((axis) => slice[axis][1] - slice[axis][0] > 1);
  if (axis === undefined) return [slice];
  const [first, end] = slice[axis];
  const middle = (first + end) >> 1;
  const halves: Range[] = [[first, middle], [middle, end]];
  return halves.flatMap((half) => cut({ ...slice, [axis]: half }, axes, fits));
}

/** Whether the rows of q, out and the partial results fit their bindings. */
function roundFits(
  slice: Slice,
  problem: AttentionProblem,
  plan: Draft,
  limits: GpuLimits,
): boolean {
  const { headDim, valueDim, elem, heads } = problem;
  const rows = length(slice.batch) * length(slice.queries) * heads;
  // a row of q, out or lse; partial results are whole vec4s
  const q = Math.max(4, bytesOf(elem) * Math.max(headDim, valueDim));
  const slack = limits.minStorageBufferOffsetAlignment * q;
  const partial = plan.parts > 1 ? plan.parts * 16 * Math.ceil(valueDim / 4) : 0;
  const largest = limits.maxStorageBufferBindingSize;
  const merges = rows * Math.ceil(valueDim / 4) / 64;
  return rows * q + slack <= largest && rows * partial <= largest &&
    (plan.parts === 1 || merges <= limits.maxComputeWorkgroupsPerDimension);
}

/** Whether one dispatch can do a slice. */
function launchFits(
  slice: Slice,
  problem: AttentionProblem,
  plan: Draft,
  limits: GpuLimits,
): boolean {
  const { kvLen, kvHeads, heads, headDim, valueDim, elem, bias } = problem;
  const [batch, queries, parts] = [slice.batch, slice.queries, slice.parts].map(length);
  const headCount = length(slice.kvHeads) * (heads / kvHeads);
  const { maxComputeWorkgroupsPerDimension: groups, maxStorageBufferBindingSize: largest } = limits;
  const keys = Math.min(kvLen, parts * plan.partKeys);
  const work = batch * queries * headCount * keys * (headDim + valueDim);
  const dim = Math.max(headDim, valueDim) * bytesOf(elem);
  const kv = ((batch - 1) * kvLen + keys) * kvHeads * dim +
    limits.minStorageBufferOffsetAlignment * dim;
  const fromTexture = plan.config.source === "texture";
  const [biasFirst, biasEnd] = bias ? biasRange(slice, problem) : [0, 0];
  const tiles = plan.schedule.kind === "split" ? queries * (heads / kvHeads) : queries;
  return work <= WORK_BUDGET &&
    (fromTexture || kv <= largest) &&
    (biasEnd - biasFirst) * bytesOf(bias?.elem ?? "f32") + 2 * 256 <= largest &&
    Math.ceil(tiles / plan.tile) <= groups && headCount <= groups && batch * parts <= groups;
}

/** Elements of the bias that a slice reads. */
export function biasRange(slice: Slice, problem: AttentionProblem): Range {
  const [b, h, t] = problem.bias?.strides ?? [0, 0, 0];
  const group = problem.heads / problem.kvHeads;
  const first = b * slice.batch[0] + h * slice.kvHeads[0] * group + t * slice.queries[0];
  const last = b * (slice.batch[1] - 1) + h * (slice.kvHeads[1] * group - 1) +
    t * (slice.queries[1] - 1);
  return [first, last + problem.kvLen];
}

/** Elements of a range. */
export function length([first, end]: Range): number {
  return end - first;
}

/** Bytes of an element. */
export function bytesOf(elem: "f32" | "f16"): number {
  return elem === "f16" ? 2 : 4;
}
