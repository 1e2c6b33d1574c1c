import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { heldTokens } from "../../kernels/statistics/config.ts";
import { JOIN_THREADS, joinDiagonals } from "../../kernels/statistics/join_diagonals.ts";
import { type Bound, boundRows, queryRows, type Resources, texture } from "../attention/bind.ts";
import { type CheckedHooks, hookParams, hookResources } from "../attention/hooks.ts";
import { sharedParams } from "../attention/params.ts";
import { biasRange } from "../attention/plan.ts";
import { length, type Slice } from "../attention/tokens.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import type { StatisticsPass, StatisticsPlan } from "./plan.ts";
import type { StatisticsProblem } from "./problem.ts";
import { diagonalSlots, tilesOf } from "./slices.ts";

/** Where a kernel reads or writes rows: a tensor, or scratch. */
export type RowsBuffer = Pick<Tensor, "buffer" | "dtype">;

/** The tensors of one call; those that are null are not bound. */
export interface StatisticsTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly bias: Tensor | null;
  readonly hooks: Pick<CheckedHooks, "tensors" | "numbers">;
  readonly lse: RowsBuffer | null;
  readonly entropy: RowsBuffer | null;
  readonly topValues: RowsBuffer | null;
  readonly topIndices: RowsBuffer | null;
  /** Where it is not the list of one key. */
  readonly argMax: RowsBuffer | null;
  readonly columnSums: RowsBuffer | null;
  readonly diagonalSums: RowsBuffer | null;
  readonly blockMax: RowsBuffer | null;
}

/** One call on its way to the device. */
export interface StatisticsCall {
  readonly problem: StatisticsProblem;
  readonly plan: StatisticsPlan;
  readonly tensors: StatisticsTensors;
  readonly limits: GpuLimits;
}

/** What a pass binds for a slice, and the parameters that number its first rows. */
interface Binds {
  readonly resources: Resources;
  readonly params: Readonly<Record<string, number>>;
}

const joinProgram = once(joinDiagonals);

/** Records a planned call. */
export function launchStatistics(operation: Operation, call: StatisticsCall): void {
  const textures = call.plan.passes.some(({ config }) => config.source === "texture")
    ? { q: texture(operation, call.tensors.q), k: texture(operation, call.tensors.k) }
    : null;
  for (const pass of call.plan.passes) {
    const partial = pass.kind === "diagonals" ? partialSums(operation, pass, call) : null;
    for (const slice of pass.slices) {
      const inputs = textures ? { resources: textures, params: {} } : boundInputs(slice, call);
      const outputs = boundOutputs(slice, pass, call, partial);
      launchSlice(operation, slice, pass, call, [inputs, boundScores(slice, call), outputs]);
    }
    if (partial) join(operation, pass, call, partial);
  }
}

function launchSlice(
  operation: Operation,
  slice: Slice,
  pass: StatisticsPass,
  { problem: { scores }, tensors }: StatisticsCall,
  binds: readonly Binds[],
): void {
  const { band, heads, kvHeads } = scores;
  const group = heads / kvHeads;
  operation.launch({
    program: pass.program,
    resources: Object.assign({}, ...binds.map(({ resources }) => resources)),
    params: {
      ...sharedParams(naturalScores(scores)),
      ...hookParams(tensors.hooks),
      ...{ b0: slice.batch[0], h0: slice.kvHeads[0] * group, part0: 0, parts: 1, partRows: 0 },
      ...{ t0: slice.queries[0], t1: slice.queries[1] },
      ...{ j0: slice.parts[0], j1: slice.parts[1] },
      ...{ bandLo: band?.lo ?? 0, bandHi: band?.hi ?? 0 },
      ...{ qFirst: 0, kFirst: 0 },
      ...sizeParams(pass, scores),
      ...Object.assign({}, ...binds.map(({ params }) => params)),
    },
    grid: [tilesOf(slice, pass), length(slice.kvHeads) * group, length(slice.batch)],
  });
}

/** Scores are natural logarithms throughout. */
function naturalScores(scores: StatisticsProblem["scores"]): StatisticsProblem["scores"] {
  return { ...scores, weight: { ...scores.weight, binary: false } };
}

function sizeParams(
  { config, blocks: { queryBlock, keyBlock } }: StatisticsPass,
  scores: StatisticsProblem["scores"],
): Record<string, number> {
  const keyBlocks = Math.ceil(scores.kvLen / keyBlock);
  return {
    keyBlocks,
    blocks: Math.ceil(scores.qLen / queryBlock) * keyBlocks,
    slots: diagonalSlots(scores, heldTokens(config.tile)),
  };
}

function alignmentOf({ limits }: StatisticsCall): { alignment: number } {
  return { alignment: limits.minStorageBufferOffsetAlignment };
}

/** Rows of a tensor [B, S, heads] that a slice covers. */
function keyRows({ batch, parts }: Slice, kvLen: number, heads: number): [number, number] {
  const first = (batch[0] * kvLen + parts[0]) * heads;
  return [first, ((batch[1] - 1) * kvLen + parts[1]) * heads];
}

function boundInputs(slice: Slice, call: StatisticsCall): Binds {
  const { scores } = call.problem;
  const alignment = alignmentOf(call);
  const kRows = keyRows(slice, scores.kvLen, scores.kvHeads);
  const q = boundRows(call.tensors.q, queryRows(slice, scores), scores.headDim, alignment);
  const k = boundRows(call.tensors.k, kRows, scores.headDim, alignment);
  return {
    resources: { q: q.resource, k: k.resource },
    params: { qFirst: q.first, kFirst: k.first },
  };
}

function boundScores(slice: Slice, call: StatisticsCall): Binds {
  const { problem: { scores }, tensors: { bias, hooks } } = call;
  const bound = bias && boundRows(bias, biasRange(slice, scores), 1, alignmentOf(call));
  return {
    resources: { ...(bound && { bias: bound.resource }), ...hookResources(hooks) },
    params: { biasFirst: bound?.first ?? 0 },
  };
}

function boundOutputs(
  slice: Slice,
  { kind, rows }: StatisticsPass,
  call: StatisticsCall,
  partial: BufferRange | null,
): Binds {
  const { problem: { scores }, tensors } = call;
  const alignment = alignmentOf(call);
  const ofRows = (tensor: RowsBuffer | null, width = 1): Bound | null =>
    tensor && boundRows(tensor, queryRows(slice, scores), width, alignment);
  const lse = ofRows(tensors.lse);
  const bound = {
    lse,
    ...(kind === "rows" && {
      entropy: ofRows(tensors.entropy),
      topValues: ofRows(tensors.topValues, rows.top),
      topIndices: ofRows(tensors.topIndices, rows.top),
      argMax: ofRows(tensors.argMax),
    }),
  };
  const columns = kind === "columns" && tensors.columnSums
    ? boundRows(tensors.columnSums, keyRows(slice, scores.kvLen, scores.heads), 1, alignment)
    : null;
  const named = Object.entries(bound).flatMap(([name, range]) =>
    range ? [[name, range.resource] as const] : []
  );
  return {
    resources: {
      ...Object.fromEntries(named),
      ...(columns && { sums: columns.resource }),
      ...(partial && { partial }),
      ...(kind === "blocks" && tensors.blockMax && { maxima: { buffer: tensors.blockMax.buffer } }),
    },
    params: {
      // of lse, entropy and argMax alike
      lseFirst: (lse ?? bound.argMax ?? null)?.first ?? 0,
      topFirst: bound.topValues?.first ?? 0,
      outFirst: columns?.first ?? 0,
    },
  };
}

/** Scratch for the sums of diagonals, as far as one diagonal of tiles has them. */
function partialSums(
  operation: Operation,
  { config }: StatisticsPass,
  { problem: { scores } }: StatisticsCall,
): BufferRange {
  const tile = heldTokens(config.tile);
  const elements = scores.batch * scores.heads * diagonalSlots(scores, tile) * 2 * tile;
  return operation.scratch(Math.max(16, 4 * elements));
}

function join(
  operation: Operation,
  { config }: StatisticsPass,
  { problem: { scores }, tensors, limits }: StatisticsCall,
  partial: BufferRange,
): void {
  const { batch, qLen, kvLen, heads } = scores;
  const tile = heldTokens(config.tile);
  const diagonals = Math.max(0, qLen + kvLen - 1);
  launchItems(operation, limits, {
    first: 0,
    end: batch * diagonals * heads,
    threads: JOIN_THREADS,
  }, {
    program: joinProgram({ tile }),
    resources: { partial, sums: { buffer: (tensors.diagonalSums as RowsBuffer).buffer } },
    params: { qLen, heads, diagonals, slots: diagonalSlots(scores, tile) },
  });
}
