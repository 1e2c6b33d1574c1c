import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { TREE_QUERIES } from "../../kernels/tree/scores.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import type { TreeProblem } from "./problem.ts";

/** How a selection by a tree will be computed; no GPU was touched. */
export interface TreePlan {
  /** Blocks of queries of a head. */
  readonly blocks: number;
  /** Nodes that a block of queries scores on a level. */
  readonly candidates: number;
  /** Blocks of queries of a launch. */
  readonly slices: readonly TreeSlice[];
}

/** Blocks of queries, counted over all heads and batch entries, and the entries that they lie in. */
export interface TreeSlice {
  readonly rows: readonly [number, number];
  readonly entries: readonly [number, number];
}

/** Cuts the blocks of queries into slices whose scores, queries and nodes bindings hold. */
export function planTree(problem: TreeProblem, limits: GpuLimits): TreePlan {
  const { elem, batch, heads, kvHeads, dim, qLen, kvLen } = problem;
  const { queryBlock, keyBlock, keep, branches } = problem;
  const leaves = Math.ceil(kvLen / keyBlock);
  const blocks = Math.ceil(qLen / queryBlock);
  const candidates = Math.min(keep * branches, Math.max(1, leaves));
  const row = dim * elementBytes(elem);
  const entry = Math.max(qLen * heads, leaves * kvHeads) * row;
  const fitting = rowsOfBinding(entry, limits, row);
  const iterations = Math.ceil(queryBlock / TREE_QUERIES) * (Math.ceil(dim / 4) + 1);
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
  if (iterations > 0.9 * limits.maxLoopIterations) {
    throw new RangeError(
      `Cannot plan a selection by a tree as a block of queries must fit one loop: ${queryBlock} queries of ${dim} channels take ${iterations} iterations, the device allows ${limits.maxLoopIterations}`,
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
  return { blocks, candidates, slices };
}
