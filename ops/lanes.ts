import type { GpuFeatures } from "../gpu/features.ts";

/**
 * Invocations that load in turn and hand round: those of a subgroup, or 1 where there are no subgroups or
 * only larger ones than a workgroup of so many invocations.
 */
export function lanesOf({ subgroups }: Pick<GpuFeatures, "subgroups">, most: number): number {
  const size = subgroups?.size ?? 1;
  return size <= most ? size : 1;
}
