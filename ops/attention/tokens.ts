import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { PatternConfig } from "../../kernels/attention/pattern.ts";
import { workgroupIterations } from "../../kernels/attention/workgroup.ts";
import type { InputSource } from "../../kernels/shared/rows.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";

/** From the first index to one past the last. */
export type Range = readonly [number, number];

/** Half-open ranges of batch entries, queries, kv heads and parts of the keys. */
export interface Slice {
  readonly batch: Range;
  readonly queries: Range;
  readonly kvHeads: Range;
  readonly parts: Range;
}

/** How the tokens of a problem are tiled, cut and divided: where patterns differ. */
export interface TokenPlan {
  /** What the kernel must know of it when compiled. */
  readonly pattern: PatternConfig;
  /** Parts that the keys are divided into; more than one needs a merge. */
  readonly parts: number;
  /** Tables of the pattern, by the names of their bindings. */
  readonly tables?: Readonly<Record<string, Uint32Array<ArrayBuffer>>>;
  /** Slices are cut between queries at multiples of this. */
  readonly queryStep: number;
  /** Workgroups that queries need, for each head. */
  queryTiles(queries: Range): number;
  /** The keys that hold all that some query of a slice sees in its parts. */
  keys(slice: Slice): Range;
  /** The rows of k and v that every launch binds, where they are not those of its keys. */
  readonly rows?: Range;
  /** The rows of k and v that are copied into textures, one range behind the other, where not all are. */
  readonly copied?: readonly Range[];
  /** Bytes of keys, and of values, that launches copy into textures, where none copies all. */
  readonly pieceBytes?: number;
  /** The additional keys of a slice. */
  additional(slice: Slice): Range;
  /** Pairs of a query and a key that a slice multiplies, for each head and batch entry. */
  pairs(slice: Slice): number;
  /** Run-time parameters of the pattern for a slice. */
  params(slice: Slice): Record<string, number>;
}

/** Elements of a range. */
export function length([first, end]: Range): number {
  return end - first;
}

/** Queries (rows of a kv head, for split) of a workgroup. */
export function queriesOfTile(schedule: AttentionSchedule): number {
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

/** Query heads of a row of workgroups: split packs those that share a kv head. */
export function headsOfRow(
  { heads, kvHeads }: AttentionProblem,
  schedule: AttentionSchedule,
): number {
  return schedule.kind === "split" ? heads / kvHeads : 1;
}

/** Keys that a schedule takes at a time. */
export function keysOfTile(schedule: AttentionSchedule): number {
  switch (schedule.kind) {
    case "naive":
      return 1;
    case "subgroup":
      return schedule.lanes;
    case "split":
      return schedule.threads;
    case "workgroup":
      return schedule.blockKv;
  }
}

/** Tiles of keys that one invocation may walk before a driver would end its loops. */
export function tilesOfLoop(
  schedule: AttentionSchedule,
  { headDim, valueDim }: AttentionProblem,
  limits: GpuLimits,
): number {
  return 0.9 * limits.maxLoopIterations / iterationsPerTile(schedule, headDim, valueDim);
}

/** Loop iterations of an invocation per tile of keys, the one that ends a loop included; at most. */
function iterationsPerTile(
  schedule: AttentionSchedule,
  headDim: number,
  valueDim: number,
): number {
  switch (schedule.kind) {
    case "naive":
      return 3;
    case "subgroup":
      return schedule.exchange === "shuffle" ? schedule.lanes + 2 : 1;
    case "split":
      return 1;
    case "workgroup":
      return workgroupIterations(schedule, headDim, valueDim);
  }
}

/** Where a schedule reads k and v. */
export function sourceOf(schedule: AttentionSchedule): InputSource {
  return "source" in schedule ? schedule.source : "buffer";
}

/** Keys whose k or v rows one binding holds; alignment may cost a few rows. */
export function keysOfBinding(
  problem: AttentionProblem,
  source: InputSource,
  limits: GpuLimits,
): number {
  if (source === "texture") return Infinity;
  const dim = Math.max(problem.headDim, problem.valueDim);
  const bytes = dim * elementBytes(problem.elem) * problem.kvHeads;
  const slack = limits.minStorageBufferOffsetAlignment * dim * elementBytes(problem.elem);
  return (limits.maxStorageBufferBindingSize - slack) / bytes;
}
