import { elementBytes } from "../../gpu/dtype.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  HIDE_THREADS,
  hideProgram,
  scoresProgram,
  type UnfusedConfig,
  valuesProgram,
} from "../../kernels/neighborhood/unfused.ts";
import { bindsOf, type Bound, boundRows, queryRows, texture } from "../attention/bind.ts";
import { cut } from "../attention/plan.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { length, type Range, type Slice, type TokenPlan } from "../attention/tokens.ts";
import { once } from "../once.ts";
import { neighborhoodSchedules, type TiledSchedule } from "./schedule.ts";
import { bestTiles } from "./tile_model.ts";
import { neighborhoodTokens } from "./tokens.ts";
import type { UnfusedProblem } from "./unfused_problem.ts";

/** How one half of unfused neighborhood attention will be computed; no GPU was touched. */
export interface UnfusedPlan {
  readonly config: UnfusedConfig;
  readonly tokens: TokenPlan;
  /** One dispatch each. */
  readonly launches: readonly Slice[];
}

/** The tensors of a half: q and k make scores, v and weights make out. */
export type UnfusedTensors =
  | { readonly q: Tensor; readonly k: Tensor; readonly scores: Tensor }
  | { readonly v: Tensor; readonly weights: Tensor; readonly out: Tensor };

/** Queries and keys of a workgroup where rows pass through workgroup memory. */
const WORKGROUP = { queries: 64, keys: 16 };

const programs = {
  scores: once(scoresProgram),
  values: once(valuesProgram),
  hide: once(hideProgram),
};

/** Plans a half: the schedule of the fused kernel where that is a subgroup's, or a workgroup's. */
export function planUnfused(problem: UnfusedProblem, device: PlanDevice): UnfusedPlan {
  const { attention, weightElem } = problem;
  const schedule = scheduleOf(problem, device);
  const tokens = neighborhoodTokens(problem, schedule, device.limits);
  const { pattern } = tokens;
  const config: UnfusedConfig = {
    exchange: schedule.kind,
    ...(schedule.kind === "subgroup"
      ? { lanes: schedule.lanes, rows: schedule.rows, source: schedule.source }
      : { lanes: WORKGROUP.queries, rows: 1, source: "buffer" }),
    elem: attention.elem,
    weightElem,
    dim: attention.headDim,
    pattern,
  };
  const { batch, qLen, kvHeads } = attention;
  const whole: Slice = {
    batch: [0, batch],
    queries: [0, qLen],
    kvHeads: [0, kvHeads],
    parts: [0, tokens.parts],
  };
  const steps = { batch: 1, parts: 1, queries: tokens.queryStep };
  const fits = (slice: Slice): boolean => launchFits(slice, problem, config, tokens, device);
  return { config, tokens, launches: batch === 0 ? [] : cut(whole, steps, fits) };
}

function scheduleOf(problem: UnfusedProblem, device: PlanDevice): TiledSchedule {
  const [best] = neighborhoodSchedules(problem, device);
  if (best.kind === "subgroup") return best;
  const { queryTile, keyTile } = bestTiles({ axes: problem.axes, ...WORKGROUP, flat: false });
  const { queries: blockQ, keys: blockKv } = WORKGROUP;
  return { kind: "workgroup", blockQ, blockKv, rows: 4, cols: 4, depth: 16, queryTile, keyTile };
}

/** Whether one dispatch can do a slice. */
function launchFits(
  slice: Slice,
  { attention, slots, weightElem }: UnfusedProblem,
  { source }: UnfusedConfig,
  tokens: TokenPlan,
  { limits }: PlanDevice,
): boolean {
  const { heads, kvHeads, kvLen, headDim, elem } = attention;
  const { maxComputeWorkgroupsPerDimension: groups, maxStorageBufferBindingSize: largest } = limits;
  const rows = length(queryRows(slice, attention));
  const keys = ((length(slice.batch) - 1) * kvLen + length(tokens.keys(slice))) * kvHeads;
  const rowBytes = headDim * elementBytes(elem);
  const slack = limits.minStorageBufferOffsetAlignment * Math.max(rowBytes, 4);
  return rows * slots * elementBytes(weightElem) + slack <= largest &&
    rows * rowBytes + slack <= largest &&
    (source === "texture" || keys * rowBytes + slack <= largest) &&
    tokens.queryTiles(slice.queries) <= groups && Math.max(rows, heads) <= groups &&
    length(slice.batch) * length(slice.parts) <= groups;
}

/** Records a planned half. */
export function launchUnfused(
  operation: Operation,
  gpu: Gpu,
  { problem, plan, tensors }: {
    problem: UnfusedProblem;
    plan: UnfusedPlan;
    tensors: UnfusedTensors;
  },
): void {
  const { attention, slots } = problem;
  const { config, tokens } = plan;
  const { heads, kvHeads, qLen, kvLen, headDim, scale } = attention;
  const call = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const scored = "q" in tensors;
  const program = scored ? programs.scores(config) : programs.values(config);
  const inputs = scored ? { q: tensors.q, k: tensors.k } : { v: tensors.v };
  const textures = config.source === "texture"
    ? Object.fromEntries(
      Object.entries(inputs).map(([name, tensor]) => [name, texture(operation, tensor)]),
    )
    : null;
  for (const slice of plan.launches) {
    const [row0, end] = queryRows(slice, attention);
    const elements: Range = [row0 * slots, end * slots];
    const keys = tokens.keys(slice).map((key, i) =>
      ((i === 0 ? slice.batch[0] : slice.batch[1] - 1) * kvLen + key) * kvHeads
    ) as [number, number];
    const bound: Record<string, Bound> = scored
      ? {
        ...(!textures && {
          q: boundRows(tensors.q, [row0, end], headDim, call),
          k: boundRows(tensors.k, keys, headDim, call),
        }),
        scores: boundRows(tensors.scores, elements, 1, call),
      }
      : {
        ...(!textures && { v: boundRows(tensors.v, keys, headDim, call) }),
        weights: boundRows(tensors.weights, elements, 1, call),
        out: boundRows(tensors.out, [row0, end], headDim, call),
      };
    const { resources, params: firsts } = bindsOf(bound);
    const params = {
      ...NO_FIRST,
      ...firsts,
      ...tokens.params(slice),
      ...{ qLen, kvLen, heads, kvHeads },
      group: heads / kvHeads,
      b0: slice.batch[0],
      h0: 0,
      part0: slice.parts[0],
      parts: length(slice.parts),
      partRows: 0,
      row0,
      qScale: scale,
    };
    operation.launch({
      program,
      resources: { ...resources, ...textures },
      params,
      grid: [
        tokens.queryTiles(slice.queries),
        heads,
        length(slice.batch) * length(slice.parts),
      ],
    });
    if (scored && config.pattern.causal.includes(true) && slice.parts[0] === 0) {
      operation.launch({
        program: programs.hide(config),
        resources: { scores: resources.scores },
        params,
        grid: [Math.ceil(slots / HIDE_THREADS), end - row0, 1],
      });
    }
  }
}

const NO_FIRST = { qFirst: 0, kFirst: 0, vFirst: 0, outFirst: 0, scoresFirst: 0, weightsFirst: 0 };
