import { type AttentionPlan, planAttention, planTokens } from "../attention/plan.ts";
import type { AttentionProblem } from "../attention/problem.ts";
import { attentionSchedules, type PlanDevice, scheduleName } from "../attention/schedule.ts";
import { UNBOUNDED } from "../attention/window.ts";
import { isCovered } from "./axes.ts";
import { checkNaive } from "./launch_naive.ts";
import type { NeighborhoodProblem } from "./problem.ts";
import { candidateSchedules, neighborhoodScheduleName, type TiledSchedule } from "./schedule.ts";
import { fitsLoop, neighborhoodTokens } from "./tokens.ts";

/** How neighborhood attention will be computed; no GPU was touched. */
export type NeighborhoodPlan =
  | { readonly kind: "naive"; readonly name: string }
  | ({ readonly kind: "dense" } & Planned)
  | ({ readonly kind: "tiled" } & Planned);

/** A plan of attention, with or without windows. */
interface Planned {
  /** Name of the schedule. */
  readonly name: string;
  readonly attention: AttentionPlan;
  /** The problem of that plan. */
  readonly problem: AttentionProblem;
}

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
  const dense = denseProblem(problem, device);
  if (dense !== null) {
    const attention = planAttention(dense, device);
    return { kind: "dense", name: scheduleName(attention.schedule), attention, problem: dense };
  }
  const [first, ...others] = candidateSchedules(problem, device);
  if (first.kind !== "naive") {
    const candidates = [first, ...others].filter((schedule) => schedule.kind !== "naive");
    return planFirst(problem, candidates, device);
  }
  checkNaive(problem, device.limits);
  return { kind: "naive", name: neighborhoodScheduleName(first) };
}

/** Plans the first schedule whose dispatches fit, for large maps need flat tiles; or else the first. */
function planFirst(
  problem: NeighborhoodProblem,
  candidates: readonly TiledSchedule[],
  device: PlanDevice,
): NeighborhoodPlan {
  const planned = (schedule: TiledSchedule): NeighborhoodPlan & { kind: "tiled" } => {
    const tokens = neighborhoodTokens(problem, schedule, device.limits);
    const attention = planTokens(problem.attention, schedule, tokens, device);
    const name = neighborhoodScheduleName(schedule);
    return { kind: "tiled", name, attention, problem: problem.attention };
  };
  const walkable = candidates.filter((schedule) => fitsLoop(problem, schedule, device.limits));
  const first = planned(walkable[0] ?? candidates[0]);
  if (first.attention.roomy) return first;
  const roomy = walkable.slice(1).find((schedule) => planned(schedule).attention.roomy);
  return roomy === undefined ? first : planned(roomy);
}

/** The problem as dense attention, where the windows cover all axes and the schedule is one of it. */
function denseProblem(
  { axes, attention, schedule }: NeighborhoodProblem,
  device: PlanDevice,
): AttentionProblem | null {
  if (attention.additional !== null) return null;
  const [x] = axes;
  const triangle = axes.length === 1 && x.causal && x.windowSize === x.length;
  if (!triangle && !axes.every(isCovered)) return null;
  const dense = { ...attention, band: triangle ? { lo: -UNBOUNDED, hi: 0 } : null };
  if (schedule === null) return dense;
  const known = attentionSchedules(dense, device)
    .flatMap((candidate) => [candidate.kind, scheduleName(candidate)]);
  return typeof schedule === "string" && known.includes(schedule) ? { ...dense, schedule } : null;
}
