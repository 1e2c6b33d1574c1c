import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { groupsOf } from "../segments.ts";
import type { PoolProblem } from "./problem.ts";

/** How pooling will be computed; no GPU was touched. */
export interface PoolPlan {
  /** Invocations that share the tokens of a block. */
  readonly slices: number;
  /** Blocks whose tokens one binding holds each. */
  readonly groups: readonly (readonly [number, number])[];
}

/** Tokens from which several invocations share a block: a rule of the block alone, so that a block
 * comes out the same to the bit wherever it lies. */
const LONG = 64;

/** Chooses who walks a block, and cuts blocks into groups that bindings hold. */
export function planPool(problem: PoolProblem, limits: GpuLimits): PoolPlan {
  const { block, blocks, heads, dim, elem, weightElem } = problem;
  const slices = block >= LONG ? 8 : 1;
  const holds = (width: number, bytes: number): number =>
    rowsOfBinding(heads * width * bytes, limits, width * bytes);
  const tokens = Math.min(
    holds(dim, elementBytes(elem)),
    weightElem ? holds(1, elementBytes(weightElem)) : Infinity,
  );
  const most = Math.min(tokens, Math.floor(0.9 * limits.maxLoopIterations) * slices);
  const longest = blocks.reduce((max, { first, end }) => Math.max(max, end - first), 0);
  if (longest > most) {
    throw new RangeError(
      `Cannot plan pooling as a block must have at most ${most} tokens here: it has ${longest}`,
    );
  }
  return { slices, groups: groupsOf(blocks, { tokens, segments: tokens }) };
}
