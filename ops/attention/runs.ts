import type { RunsConfig } from "../../kernels/attention/runs.ts";
import type { AttentionProblem } from "./problem.ts";
import type { Range } from "./tokens.ts";

/** What patterns of runs know of a problem when they are compiled. */
export function runsConfig({ band, weight, hooks }: AttentionProblem): RunsConfig {
  return {
    banded: band !== null,
    descending: weight.rule === "stick",
    hooked: hooks.masks.length > 0,
  };
}

/** Their parameters for a range of queries. */
export function runsParams(
  { band }: AttentionProblem,
  [t0, t1]: Range,
): Record<"t0" | "t1" | "bandLo" | "bandHi", number> {
  return { t0, t1, bandLo: band?.lo ?? 0, bandHi: band?.hi ?? 0 };
}
