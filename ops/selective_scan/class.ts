import { classOf } from "../tuning.ts";
import type { SelectiveScanProblem } from "./problem.ts";

/** Invocations that fill a GPU: with fewer of them, chunks in parallel are worth reading twice. */
export const FULL = 32_768;

/** What tuning knows a problem by: dtype, states and what a token has; no lengths. */
export function selectiveClass(problem: SelectiveScanProblem): string {
  const { elem, states, channels, inputs, softplus, bounds } = problem;
  return classOf(
    ...["selectiveScan", elem, `N${states}`],
    inputs.outGate !== undefined && "gated",
    softplus && "softplus",
    (bounds.length - 1) * channels >= FULL && "many channels",
  );
}
