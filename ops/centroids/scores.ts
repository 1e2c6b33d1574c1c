import type { Gpu } from "../../gpu/device.ts";
import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type CentroidScoresConfig, SCORED_TOKENS } from "../../kernels/centroids/config.ts";
import { laneScores, SCORE_THREADS } from "../../kernels/centroids/lanes.ts";
import { centroidScores } from "../../kernels/centroids/scores.ts";
import { boundRows } from "../attention/bind.ts";
import { lanesOf } from "../lanes.ts";
import { once } from "../once.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { tokenTextures } from "../token_textures.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Tokens that are scored with the vectors of a table, validated; no tensors and no GPU. */
export interface ScoreProblem extends Omit<CentroidScoresConfig, "tile"> {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  /** Vectors of the table for each head. */
  readonly count: number;
  /** Whether batch entries have vectors of their own. */
  readonly byBatch: boolean;
  /** Heads that have vectors of their own, or 1. */
  readonly centroidHeads: number;
}

/** What a table is called in messages. */
export interface TableNames {
  readonly action: string;
  /** Of the argument. */
  readonly name: string;
  /** Of one vector. */
  readonly one: string;
  /** Of the number of vectors. */
  readonly letter: string;
}

/** Some batch entries of a call that scores, on its way to the device. */
export interface ScoreCall {
  readonly gpu: Gpu;
  readonly problem: ScoreProblem;
  readonly x: Tensor;
  readonly centroids: Tensor;
  /** Copies of both, where those are read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
  readonly entries: readonly [number, number];
}

/** Validates tokens and the table of vectors that they are scored with. */
export function checkScored(
  { action, name, one, letter }: TableNames,
  x: Tensor,
  table: Tensor,
): { sizes: Omit<ScoreProblem, "metric">; gpu: Gpu } {
  const gpu = checkTensors(action, { x, [name]: table });
  const elem = checkDType(action, "x", x, ["f32", "f16"]);
  const centroidElem = checkDType(action, name, table, ["f32", "f16"]);
  checkRank(action, "x", x, ["B", "T", "H", "D"]);
  checkRank(action, name, table, ["B|1", letter, "H|1", "D"]);
  const [batch, length, heads, dim] = x.shape;
  const [own, count, centroidHeads] = table.shape;
  const allowed = [...new Set([batch, 1])].flatMap((b) =>
    [...new Set([heads, 1])].map((h) => [b, count, h, dim])
  );
  checkShape(action, name, table, ...allowed);
  if (count < 1) {
    throw new TypeError(`Cannot ${action} as there must be a ${one}: ${name} is [${table.shape}]`);
  }
  const sizes = { elem, centroidElem, batch, length, heads, dim, count, centroidHeads };
  return { sizes: { ...sizes, byBatch: own > 1 }, gpu };
}

/** How many batch entries a launch scores; less than one where an entry does not fit. */
export function entriesOfLaunch(problem: ScoreProblem, limits: GpuLimits): number {
  const { heads, length, dim, elem, count } = problem;
  const row = dim * elementBytes(elem);
  return Math.min(
    rowsOfBinding(heads * length * row, limits, row),
    rowsOfBinding(4 * heads * length * count, limits, 4),
    Math.floor(limits.maxComputeWorkgroupsPerDimension / Math.max(1, heads)),
  );
}

const programs = { tiles: once(centroidScores), lanes: once(laneScores) };

/** Copies tokens and vectors into textures, where a driver reads those faster. */
export function scoreTextures(
  operation: Operation,
  gpu: Gpu,
  { x, centroids }: Readonly<Record<"x" | "centroids", Tensor>>,
): Record<string, GPUTextureView> {
  const width = x.shape[3];
  return tokenTextures(operation, gpu, {
    x: { tensor: x, width },
    centers: { tensor: centroids, width },
  });
}

/** Vectors of a workgroup. */
const TILES = [8, 16, 32];

/** Records the scores `[lines, C, T]` of some batch entries. */
export function launchScores(
  operation: Operation,
  { gpu, problem, x: tokens, centroids, textures, entries: [entry, end] }: ScoreCall,
  scores: BufferRange,
): void {
  const { elem, centroidElem, dim, metric, length, heads, count } = problem;
  const { byBatch, centroidHeads } = problem;
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const perEntry = length * heads;
  const x = boundRows(tokens, [entry * perEntry, end * perEntry], dim, alignment);
  const own = count * centroidHeads;
  const rows = byBatch ? [entry * own, end * own] as const : [0, own] as const;
  const centers = boundRows(centroids, rows, dim, alignment);
  const tile = TILES.find((size) => size >= count) ?? 32;
  const config = { elem, centroidElem, dim, metric, tile };
  const lanes = lanesOf(gpu.features, SCORE_THREADS);
  operation.launch({
    program: textures.x ? programs.lanes({ ...config, lanes }) : programs.tiles(config),
    resources: { x: x.resource, centers: centers.resource, scores, ...textures },
    params: {
      ...{ line0: entry * heads, heads, length, centroids: count },
      ...{ centroidBatch: Number(byBatch), centroidHeads },
      ...{ xFirst: x.first, centersFirst: centers.first },
    },
    grid: [
      Math.ceil(length / SCORED_TOKENS),
      Math.ceil(count / tile),
      (end - entry) * heads,
    ],
  });
}
