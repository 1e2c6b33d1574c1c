import type { GpuLimits } from "../../gpu/limits.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import {
  keysOfBinding,
  keysOfTile,
  length,
  queriesOfTile,
  tilesOfLoop,
  type TokenPlan,
} from "./tokens.ts";

/** Tokens in a row, of which a query sees all or a band. */
export function bandTokens(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { kvLen, band } = problem;
  // split packs the queries of a group of heads into one row of workgroups
  const group = schedule.kind === "split" ? problem.heads / problem.kvHeads : 1;
  const tile = queriesOfTile(schedule);
  const { parts, partKeys } = divideKeys(problem, schedule, limits);
  return {
    pattern: {
      ...{ kind: "band", banded: band !== null },
      descending: problem.weight.rule === "stick",
      hooked: problem.hooks.masks.length > 0,
    },
    parts,
    queryStep: 1,
    queryTiles: (queries) => Math.ceil(length(queries) * group / tile),
    keys: (slice) => [
      Math.min(slice.parts[0] * partKeys, kvLen),
      Math.min(slice.parts[1] * partKeys, kvLen),
    ],
    additional: () => [0, 0],
    pairs: (slice) => length(slice.queries) * Math.min(kvLen, length(slice.parts) * partKeys),
    params: (slice) => ({
      t0: slice.queries[0],
      t1: slice.queries[1],
      partKeys,
      bandLo: band?.lo ?? 0,
      bandHi: band?.hi ?? 0,
    }),
  };
}

function divideKeys(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): { parts: number; partKeys: number } {
  const { kvLen } = problem;
  const looped = keysOfTile(schedule) * tilesOfLoop(schedule, problem, limits);
  const bound = keysOfBinding(problem, schedule, limits);
  const longest = Math.max(1, Math.floor(Math.min(looped, bound)));
  const wanted = schedule.kind === "split" ? schedule.parts : 1;
  const partKeys = Math.max(1, Math.min(longest, Math.ceil(kvLen / wanted)));
  return { parts: Math.max(1, Math.ceil(kvLen / partKeys)), partKeys };
}
