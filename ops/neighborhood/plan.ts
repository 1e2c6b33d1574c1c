import { type AttentionPlan, planAttention, planTokens } from "../attention/plan.ts";
import type { AttentionProblem } from "../attention/problem.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { isCovered } from "./axes.ts";
import type { NeighborhoodProblem } from "./problem.ts";
import { chooseNeighborhoodSchedule, neighborhoodScheduleName } from "./schedule.ts";
import { scheduleName } from "../attention/schedule.ts";
import { neighborhoodTokens } from "./tokens.ts";

/** How neighborhood attention will be computed; no GPU was touched. */
export type NeighborhoodPlan =
  | { readonly kind: "naive"; readonly name: string }
  | {
    readonly kind: "dense" | "tiled";
    /** Name of the schedule. */
    readonly name: string;
    readonly attention: AttentionPlan;
    /** The problem of that plan. */
    readonly problem: AttentionProblem;
  };

/**
 * Chooses a schedule, boxes for its tiles, and cuts the work as attention does; windows that cover
 * all axes are dense attention.
 *
 * @throws RangeError if the schedule that was asked for does not fit
 */
export function planNeighborhood(
  problem: NeighborhoodProblem,
  device: PlanDevice,
): NeighborhoodPlan {
  const dense = denseProblem(problem);
  if (dense !== null) {
    const attention = planAttention(dense, device);
    return { kind: "dense", name: scheduleName(attention.schedule), attention, problem: dense };
  }
  const schedule = chooseNeighborhoodSchedule(problem, device);
  const name = neighborhoodScheduleName(schedule);
  if (schedule.kind === "naive") return { kind: "naive", name };
  const tokens = neighborhoodTokens(problem, schedule, device.limits);
  const attention = planTokens(problem.attention, schedule, tokens, device);
  return { kind: "tiled", name, attention, problem: problem.attention };
}

/** The problem as dense attention, where the windows cover all axes. */
function denseProblem({ axes, attention, schedule }: NeighborhoodProblem): AttentionProblem | null {
  if (attention.additional !== null || typeof schedule === "object" && schedule !== null) {
    return null;
  }
  const [x] = axes;
  const triangle = axes.length === 1 && x.causal && x.windowSize === x.length;
  if (!triangle && !axes.every(isCovered)) return null;
  const band = triangle ? { lo: -x.length, hi: 0 } : null;
  return { ...attention, band, schedule };
}
