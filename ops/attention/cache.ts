import type { GpuLimits } from "../../gpu/limits.ts";
import type { CacheKeys } from "./key_layout.ts";
import { partOf } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { length, queriesOfTile, type TokenPlan } from "./tokens.ts";

/** Tokens in a cache, of which a query sees what is there, or a band of it. */
export function cacheTokens(
  problem: AttentionProblem,
  keys: CacheKeys,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { band, kvLen, kvHeads, heads } = problem;
  const { layout, pageSize, pages, capacity, lengthHeads, tableHeads } = keys;
  const group = schedule.kind === "split" ? heads / kvHeads : 1;
  const bound = layout === "pages" ? pages * pageSize : kvLen;
  const partKeys = partOf(problem, schedule, limits, { keys: capacity, bound });
  const parts = Math.max(1, Math.ceil(capacity / partKeys));
  return {
    pattern: {
      ...{ kind: "cache", layout, pageSize, lengths: lengthHeads > 0, banded: band !== null },
      descending: problem.weight.rule === "stick",
      hooked: problem.hooks.masks.length > 0,
    },
    parts,
    queryStep: 1,
    queryTiles: (queries) => Math.ceil(length(queries) * group / queriesOfTile(schedule)),
    keys: () => [0, kvLen],
    ...(layout === "pages" && { rows: [0, bound * kvHeads] }),
    additional: () => [0, 0],
    pairs: ({ queries, parts }) => length(queries) * Math.min(capacity, length(parts) * partKeys),
    params: ({ queries }) => ({
      t0: queries[0],
      t1: queries[1],
      allParts: parts,
      bandLo: band?.lo ?? 0,
      bandHi: band?.hi ?? 0,
      ...{ capacity, pages, lengthHeads, tableHeads },
      lengthGroup: heads / Math.max(1, lengthHeads),
      tableGroup: heads / tableHeads,
    }),
  };
}
