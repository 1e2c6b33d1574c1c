import type { Gpu } from "../../gpu/device.ts";
import { volume } from "../../gpu/dtype.ts";
import { tunedName } from "../../ops/attention/schedule.ts";
import { neighborhoodClass } from "../../ops/neighborhood/class.ts";
import type { NeighborhoodProblem } from "../../ops/neighborhood/problem.ts";
import {
  type NeighborhoodSchedule,
  neighborhoodScheduleName,
  neighborhoodSchedules,
} from "../../ops/neighborhood/schedule.ts";
import { tileModel } from "../../ops/neighborhood/tile_model.ts";
import type { Workload } from "../workload.ts";
import { namedChoice } from "./attention_choices.ts";
import { attentionDemand } from "./attention_demand.ts";
import type { Choices } from "./choices.ts";

/** The ways to compute a problem of neighborhood attention; `bytes` are those of inputs and outputs. */
export function neighborhoodChoices(
  problem: NeighborhoodProblem,
  bytes: number,
  gpu: Gpu,
  workloadOf: (schedule: string) => Workload,
): Choices {
  return {
    problemClass: neighborhoodClass(problem),
    candidates: neighborhoodSchedules(problem, gpu).map((schedule) => ({
      name: neighborhoodScheduleName(schedule),
      ...namedChoice(tunedName(schedule)),
      demand: attentionDemand(problem.attention, schedule, {
        ...{ pairs: visitedPairs(problem, schedule), bytes },
      }),
      workload: () => workloadOf(neighborhoodScheduleName(schedule)),
    })),
  };
}

/** Pairs of the tiles that are visited; the baseline walks its windows. */
function visitedPairs(
  { axes, attention }: NeighborhoodProblem,
  schedule: NeighborhoodSchedule,
): number {
  const { batch, heads, qLen, additional } = attention;
  const tiles = schedule.kind === "naive"
    ? { queryTile: axes.map(() => 1), keyTile: axes.map(() => 1) }
    : schedule;
  const cells = volume([...tiles.queryTile, ...tiles.keyTile]);
  const { visits } = tileModel(axes, tiles, "window");
  return batch * heads * (visits * cells + qLen * (additional?.count ?? 0));
}
