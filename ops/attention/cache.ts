import type { GpuLimits } from "../../gpu/limits.ts";
import type { CacheKeys } from "./key_layout.ts";
import { placesOf } from "./named_pages.ts";
import { boundKeys, checkBound, keysOfPart, pieceOf } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import { runsConfig, runsParams } from "./runs.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { headsOfRow, length, queriesOfTile, sourceOf, type TokenPlan } from "./tokens.ts";

/** Tokens in a cache, of which a query sees what is there, or a band of it. */
export function cacheTokens(
  problem: AttentionProblem,
  keys: CacheKeys,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { kvLen, kvHeads, heads } = problem;
  const { layout, pageSize, pages, capacity, lengthHeads, tableHeads } = keys;
  const group = headsOfRow(problem, schedule);
  const rowsOfPage = pageSize * kvHeads;
  const named = sourceOf(schedule) === "texture" ? keys.named : null;
  checkBound(problem, schedule, limits);
  const piece = layout === "rows" ? pieceOf(problem, schedule) : null;
  const partKeys = keysOfPart(problem, schedule, limits, {
    keys: capacity,
    ...(piece && { most: piece.partKeys }),
  });
  const parts = Math.max(1, Math.ceil(capacity / partKeys));
  return {
    pattern: {
      ...{ kind: "cache", layout, pageSize, lengths: lengthHeads > 0 },
      ...runsConfig(problem),
    },
    parts,
    queryStep: 1,
    queryTiles: (queries) => Math.ceil(length(queries) * group / queriesOfTile(schedule)),
    keys: (slice) =>
      piece
        ? [slice.parts[0] * partKeys, Math.min(slice.parts[1] * partKeys, capacity)]
        : [0, kvLen],
    ...(piece && { pieceBytes: piece.bytes }),
    ...(layout === "pages" && { rows: [0, boundKeys(problem) * kvHeads] }),
    ...(named && {
      tables: { table: placesOf(named) },
      copied: named.pages.map((page) => [page * rowsOfPage, (page + 1) * rowsOfPage]),
    }),
    additional: () => [0, 0],
    pairs: ({ queries, parts }) => length(queries) * Math.min(capacity, length(parts) * partKeys),
    params: ({ queries }) => ({
      ...runsParams(problem, queries),
      allParts: parts,
      partKeys: piece ? partKeys : 0,
      ...{ capacity, pages: named?.pages.length ?? pages, lengthHeads, tableHeads },
      lengthGroup: heads / Math.max(1, lengthHeads),
      tableGroup: heads / tableHeads,
    }),
  };
}
