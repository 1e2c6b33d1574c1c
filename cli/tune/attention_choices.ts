import type { Gpu } from "../../gpu/device.ts";
import { attentionClass } from "../../ops/attention/class.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import {
  type AttentionSchedule,
  attentionSchedules,
  scheduleName,
  tunedName,
} from "../../ops/attention/schedule.ts";
import { keysOfTile, queriesOfTile } from "../../ops/attention/tokens.ts";
import type { Workload } from "../workload.ts";
import { attentionDemand, type AttentionWork } from "./attention_demand.ts";
import type { Candidate, Choices } from "./choices.ts";

/** The ways to compute a problem of attention; `pairs` are those that are visible. */
export function attentionChoices(
  problem: AttentionProblem,
  { pairs, bytes }: AttentionWork,
  gpu: Gpu,
  workloadOf: (schedule: string) => Workload,
): Choices {
  return {
    problemClass: attentionClass(problem),
    candidates: attentionSchedules(problem, gpu).map((schedule) => ({
      name: scheduleName(schedule),
      ...namedChoice(tunedName(schedule)),
      demand: attentionDemand(problem, schedule, {
        ...{ pairs: visitedPairs(problem, schedule, pairs), bytes },
      }),
      workload: () => workloadOf(scheduleName(schedule)),
    })),
  };
}

/** The choice of a schedule by its name, or none. */
export function namedChoice(schedule: string | null): Pick<Candidate, "choice"> {
  return { choice: schedule === null ? null : { schedule } };
}

/** Pairs of the tiles that hold the visible ones: queries see more keys where borders cross tiles. */
function visitedPairs(
  { batch, heads, qLen, kvLen }: AttentionProblem,
  schedule: AttentionSchedule,
  visible: number,
): number {
  if (schedule.kind === "naive") return batch * heads * qLen * kvLen;
  const [queries, keys] = [queriesOfTile(schedule), keysOfTile(schedule)];
  const perRow = visible / Math.max(1, batch * heads * qLen);
  const walked = perRow < kvLen ? Math.min(kvLen, perRow + queries / 2 + keys) : kvLen;
  return batch * heads * Math.ceil(qLen / queries) * queries * Math.ceil(walked / keys) * keys;
}
