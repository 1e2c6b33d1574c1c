import type { GpuLimits } from "../gpu/limits.ts";
import type { Launch, Operation } from "../gpu/recorder.ts";

/** Items first <= i < end, and how many of them a workgroup has. */
export interface Items {
  readonly first: number;
  readonly end: number;
  readonly threads: number;
}

/**
 * Launches an invocation for each item, as many of them at a time as a grid holds; the program has them as
 * the parameters `start` and `end`.
 */
export function launchItems(
  operation: Operation,
  { maxComputeWorkgroupsPerDimension }: GpuLimits,
  { first, end: last, threads }: Items,
  launch: Omit<Launch, "grid">,
): void {
  const step = maxComputeWorkgroupsPerDimension * threads;
  for (let start = first; start < last; start += step) {
    const end = Math.min(last, start + step);
    const params = { ...launch.params, start, end };
    operation.launch({ ...launch, params, grid: [Math.ceil((end - start) / threads), 1, 1] });
  }
}
