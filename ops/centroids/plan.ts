import type { GpuLimits } from "../../gpu/limits.ts";
import { ROUND_THREADS } from "../../kernels/centroids/rounds.ts";
import type { CentroidProblem } from "./problem.ts";
import { entriesOfLaunch } from "./scores.ts";

/** How tokens are assigned; no GPU was touched. */
export interface CentroidPlan {
  /** Batch entries of a launch. */
  readonly entries: number;
  /** How often tokens ask; never where all centroids have room for all of them. */
  readonly rounds: number;
}

/** Chooses how many batch entries are assigned together, and in how many rounds. */
export function planCentroids(problem: CentroidProblem, limits: GpuLimits): CentroidPlan {
  const { batch, length, heads, dim, count, capacity } = problem;
  const most = entriesOfLaunch(problem, limits);
  const longest = Math.floor((0.9 * limits.maxLoopIterations - 2048) / 9) * ROUND_THREADS;
  const loops = length <= longest && count <= 0.9 * limits.maxLoopIterations;
  if (batch * length * heads > 0 && (most < 1 || !loops)) {
    throw new RangeError(
      `Cannot plan an assignment as a batch entry and its scores must fit one binding, a head ${longest} tokens: there are ${length} tokens, ${heads} heads, ${dim} channels and ${count} centroids, the device allows ${limits.maxStorageBufferBindingSize} bytes`,
    );
  }
  return { entries: Math.max(1, most), rounds: capacity < length ? count : 0 };
}
