import type { AttentionConfig } from "../../kernels/attention/config.ts";
import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { bandTokens } from "./band.ts";
import { blockTokens } from "./blocks.ts";
import { cacheTokens } from "./cache.ts";
import type { AttentionProblem } from "./problem.ts";
import { type AttentionSchedule, chooseSchedule, type PlanDevice } from "./schedule.ts";
import { segmentTokens } from "./segments.ts";
import { length, type Range, type Slice, sourceOf, type TokenPlan } from "./tokens.ts";

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
  /** How tokens are tiled, cut and divided. */
  readonly tokens: TokenPlan;
  readonly rounds: readonly Round[];
  /** Whether every dispatch keeps to all limits with room to spare; else a device may refuse it. */
  readonly roomy: boolean;
}

/** Multiply-adds of one dispatch, so that it ends long before a driver's watchdog (seconds) does. */
export const WORK_BUDGET: number = 2 ** 34;

/**
 * Chooses a schedule and cuts the work so that every dispatch heeds the device's limits: bytes of a
 * binding, workgroups of an axis, loop iterations, and time.
 *
 * @throws RangeError if the schedule that was asked for does not fit
 */
export function planAttention(problem: AttentionProblem, device: PlanDevice): AttentionPlan {
  const schedule = chooseSchedule(problem, device);
  const tokens = tokensOf(problem, schedule, device.limits);
  const plan = planTokens(problem, schedule, tokens, device);
  if (schedule.kind === "naive") checkNaive(problem, plan, device.limits);
  return plan;
}

/** How the tokens of a problem are tiled. */
function tokensOf(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { keys } = problem;
  switch (keys.kind) {
    case "row":
      return bandTokens(problem, schedule, limits);
    case "blocks":
      return blockTokens(problem, keys, schedule, limits);
    case "packed":
      return segmentTokens(problem, keys, schedule, limits);
    case "cache":
      return cacheTokens(problem, keys, schedule, limits);
  }
}

/** Cuts the work of a schedule whose tokens are tiled already. */
export function planTokens(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  tokens: TokenPlan,
  { limits }: Pick<PlanDevice, "limits">,
): AttentionPlan {
  const partial = tokens.parts > 1;
  const config: AttentionConfig = {
    elem: problem.elem,
    outElem: partial ? "f32" : problem.elem,
    headDim: problem.headDim,
    valueDim: problem.valueDim,
    pattern: tokens.pattern,
    softcap: problem.softcap !== null,
    bias: problem.bias?.elem ?? null,
    sinks: problem.sinks?.elem ?? null,
    gates: problem.gates?.elem ?? null,
    weight: problem.weight,
    hooks: problem.hooks,
    lse: problem.lse || (partial && problem.weight.rule !== "plain"),
    source: sourceOf(schedule),
  };
  const draft = { schedule, config, tokens };
  return { ...draft, ...cutRounds(problem, draft, limits) };
}

/** The baseline is not cut up: it measures, it does not serve. */
function checkNaive(problem: AttentionProblem, plan: AttentionPlan, limits: GpuLimits): void {
  const { batch, heads, qLen, kvLen } = problem;
  const scores = 4 * batch * heads * qLen * kvLen;
  const launches = plan.rounds.flatMap(({ launches }) => launches).length;
  const grids = Math.ceil(batch * heads / limits.maxComputeWorkgroupsPerDimension);
  const pieces = plan.tokens.parts * Math.max(launches, grids);
  if (pieces <= 1 && scores <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan attention as the naive schedule must run in one piece: it needs ${pieces} pieces and ${scores} bytes of scores, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}

type Draft = Omit<AttentionPlan, "rounds" | "roomy">;

function cutRounds(
  problem: AttentionProblem,
  plan: Draft,
  limits: GpuLimits,
): Pick<AttentionPlan, "rounds" | "roomy"> {
  const { batch, qLen, kvHeads } = problem;
  if (batch * qLen === 0) return { rounds: [], roomy: true };
  const whole: Slice = {
    batch: [0, batch],
    queries: [0, qLen],
    kvHeads: [0, kvHeads],
    parts: [0, plan.tokens.parts],
  };
  const steps = { batch: 1, parts: 1, kvHeads: 1, queries: plan.tokens.queryStep };
  const { parts: _parts, kvHeads: _kvHeads, ...rowSteps } = steps;
  const fitsRound = (slice: Slice): boolean => roundFits(slice, problem, plan, limits);
  const fitsLaunch = (slice: Slice): boolean => launchFits(slice, problem, plan, limits);
  const rounds = cut(whole, rowSteps, fitsRound).map((rows) => ({
    rows,
    launches: cut(rows, steps, fitsLaunch),
  }));
  const roomy = rounds.every(({ rows, launches }) => fitsRound(rows) && launches.every(fitsLaunch));
  return { rounds, roomy };
}

/**
 * Halves a slice along the first axis that can be halved until every piece fits; `steps` names the
 * axes in order, with what borders between pieces are multiples of.
 */
export function cut(
  slice: Slice,
  steps: Partial<Record<keyof Slice, number>>,
  fits: (slice: Slice) => boolean,
): Slice[] {
  if (fits(slice)) return [slice];
  for (const [axis, step] of Object.entries(steps) as [keyof Slice, number][]) {
    const [first, end] = slice[axis];
    const middle = first + Math.max(step, (end - first >> 1) - (end - first >> 1) % step);
    if (middle >= end) continue;
    const halves: Range[] = [[first, middle], [middle, end]];
    return halves.flatMap((half) => cut({ ...slice, [axis]: half }, steps, fits));
  }
  return [slice];
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
  const q = Math.max(4, elementBytes(elem) * Math.max(headDim, valueDim));
  const slack = limits.minStorageBufferOffsetAlignment * q;
  const partial = plan.tokens.parts > 1 ? plan.tokens.parts * 16 * Math.ceil(valueDim / 4) : 0;
  const largest = limits.maxStorageBufferBindingSize;
  const merges = rows * Math.ceil(valueDim / 4) / 64;
  return rows * q + slack <= largest && rows * partial <= largest &&
    (plan.tokens.parts === 1 || merges <= limits.maxComputeWorkgroupsPerDimension);
}

/** Whether one dispatch can do a slice. */
function launchFits(
  slice: Slice,
  problem: AttentionProblem,
  plan: Draft,
  limits: GpuLimits,
): boolean {
  const { kvLen, kvHeads, heads, headDim, valueDim, elem, bias, additional } = problem;
  const { tokens } = plan;
  const [batch, parts] = [length(slice.batch), length(slice.parts)];
  const headCount = length(slice.kvHeads) * (heads / kvHeads);
  const { maxComputeWorkgroupsPerDimension: groups, maxStorageBufferBindingSize: largest } = limits;
  const work = batch * headCount * tokens.pairs(slice) * (headDim + valueDim);
  const dim = Math.max(headDim, valueDim) * elementBytes(elem);
  const slack = limits.minStorageBufferOffsetAlignment * dim;
  const rowBytes = (perEntry: number, range: Range): number =>
    ((batch - 1) * perEntry + length(range)) * kvHeads * dim;
  const keyBytes = rowBytes(kvLen, tokens.keys(slice));
  const inputsFit = plan.config.source === "texture"
    ? keyBytes <= (tokens.pieceBytes ?? Infinity)
    : keyBytes + slack <= largest &&
      (additional === null ||
        rowBytes(additional.count, tokens.additional(slice)) + slack <= largest);
  const [biasFirst, biasEnd] = bias ? biasRange(slice, problem) : [0, 0];
  return work <= WORK_BUDGET && inputsFit &&
    (biasEnd - biasFirst) * elementBytes(bias?.elem ?? "f32") + 2 * 256 <= largest &&
    tokens.queryTiles(slice.queries) <= groups && headCount <= groups && batch * parts <= groups;
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
