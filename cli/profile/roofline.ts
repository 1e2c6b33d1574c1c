import type { Ceilings } from "../ceilings.ts";

/** Where a problem stands under the roofline of an adapter (Williams, Waterman, Patterson 2009). */
export interface Roofline {
  /** Operations for each byte that must move. */
  readonly intensity: number;
  /** Which ceiling is the lower one at that intensity. */
  readonly bound: "multiply-adds" | "copy";
  /** What that ceiling allows, in GFLOP/s; `fractionOfCeiling` is the share of it. */
  readonly attainableGflops: number;
}

/** The roofline position of a problem, from its operations and bytes. */
export function rooflineOf(
  { flops, bytes }: { readonly flops: number; readonly bytes: number },
  { gflops, gbps }: Ceilings,
): Roofline {
  const intensity = flops / bytes;
  return {
    intensity,
    bound: intensity * gbps < gflops ? "copy" : "multiply-adds",
    attainableGflops: Math.min(gflops, intensity * gbps),
  };
}
