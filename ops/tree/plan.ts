import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { TREE_QUERIES, TREE_THREADS } from "../../kernels/tree/scores.ts";
import { planPool, type PoolPlan } from "../pool/plan.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { planSelect, type SelectPlan } from "../select/plan.ts";
import { largestOf, type SelectProblem } from "../select/problem.ts";
import type { TreeProblem } from "./problem.ts";

/** How a selection by a tree will be computed; no GPU was touched. */
export interface TreePlan {
  /** Blocks of queries of a head. */
  readonly blocks: number;
  /** Nodes that a block of queries scores on a level. */
  readonly candidates: number;
  /** Blocks of queries of a launch. */
  readonly slices: readonly TreeSlice[];
  /** How the nodes of each level are made. */
  readonly pools: readonly PoolPlan[];
  /** How the best nodes of a level are found. */
  readonly choice: { readonly problem: SelectProblem; readonly plan: SelectPlan };
}

/** Blocks of queries, counted over all heads and batch entries, and the entries that they lie in. */
export interface TreeSlice {
  readonly rows: readonly [number, number];
  readonly entries: readonly [number, number];
}

/** Plans the descent, and what makes the nodes of each level and finds the best of them. */
export function planTree(problem: TreeProblem, limits: GpuLimits): TreePlan {
  const { batch, heads, qLen, kvLen, queryBlock, keyBlock, keep, branches } = problem;
  const blocks = Math.ceil(qLen / queryBlock);
  const candidates = Math.min(keep * branches, Math.max(1, Math.ceil(kvLen / keyBlock)));
  checkLoops(problem, limits);
  checkCandidates(candidates, limits);
  const slices = slicesOf(problem, { blocks, candidates }, limits);
  const rows = batch * heads * blocks;
  const choice = largestOf({ elem: "f32", axes: [rows], rows, width: candidates }, keep);
  return {
    ...{ blocks, candidates, slices },
    pools: problem.levels.map(({ pool }) => planPool(pool, limits)),
    choice: { problem: choice, plan: planSelect(choice, limits) },
  };
}

/** Cuts the blocks of queries into slices whose scores, queries and nodes bindings hold. */
function slicesOf(
  { elem, batch, heads, kvHeads, dim, qLen, kvLen, keyBlock, keep }: TreeProblem,
  { blocks, candidates }: Pick<TreePlan, "blocks" | "candidates">,
  limits: GpuLimits,
): TreeSlice[] {
  const row = dim * elementBytes(elem);
  const entry = Math.max(qLen * heads, Math.ceil(kvLen / keyBlock) * kvHeads) * row;
  const fitting = rowsOfBinding(entry, limits, row);
  const most = Math.min(
    limits.maxComputeWorkgroupsPerDimension,
    rowsOfBinding(4 * candidates, limits, 4),
    rowsOfBinding(4 * keep, limits, 4),
  );
  const perEntry = heads * blocks;
  if (batch * perEntry > 0 && (fitting < 1 || most < 1)) {
    throw new RangeError(
      `Cannot plan a selection by a tree as a batch entry, and the scores of a block of queries, must fit one binding: they take ${entry} and ${
        4 * Math.max(candidates, keep)
      } bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
    );
  }
  const step = Math.max(1, Math.min(fitting, Math.floor(most / Math.max(1, perEntry))));
  const slices: TreeSlice[] = [];
  for (let first = 0; first < batch; first += step) {
    const entries = [first, Math.min(batch, first + step)] as const;
    const end = entries[1] * perEntry;
    for (let row = first * perEntry; row < end; row += most) {
      slices.push({ rows: [row, Math.min(end, row + most)], entries });
    }
  }
  return slices;
}

function checkLoops(
  { dim, qLen, queryBlock }: TreeProblem,
  { maxLoopIterations }: GpuLimits,
): void {
  const queries = Math.min(queryBlock, qLen); // of a block
  const iterations = Math.ceil(queries / TREE_QUERIES) * (Math.ceil(dim / 4) + 1);
  if (iterations <= 0.9 * maxLoopIterations) return;
  throw new RangeError(
    `Cannot plan a selection by a tree as a block of queries must fit one loop: ${queries} queries of ${dim} channels take ${iterations} iterations, the device allows ${maxLoopIterations}`,
  );
}

function checkCandidates(
  candidates: number,
  { maxComputeWorkgroupsPerDimension: groups }: GpuLimits,
): void {
  if (candidates <= groups * TREE_THREADS) return;
  throw new RangeError(
    `Cannot plan a selection by a tree as a block of queries must score at most ${
      groups * TREE_THREADS
    } nodes of a level: it has ${candidates}`,
  );
}
