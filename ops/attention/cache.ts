import type { GpuLimits } from "../../gpu/limits.ts";
import type { CacheKeys, NamedPages } from "./key_layout.ts";
import { boundKeys, checkBound, keysOfPart } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import { runsConfig, runsParams } from "./runs.ts";
import type { AttentionSchedule } from "./schedule.ts";
import {
  headsOfRow,
  length,
  queriesOfTile,
  type Range,
  sourceOf,
  type TokenPlan,
} from "./tokens.ts";

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
  const named = sourceOf(schedule) === "texture" ? keys.named : null;
  checkBound(problem, schedule, limits);
  const partKeys = keysOfPart(problem, schedule, limits, { keys: capacity });
  const parts = Math.max(1, Math.ceil(capacity / partKeys));
  return {
    pattern: {
      ...{ kind: "cache", layout, pageSize, lengths: lengthHeads > 0 },
      ...runsConfig(problem),
    },
    parts,
    queryStep: 1,
    queryTiles: (queries) => Math.ceil(length(queries) * group / queriesOfTile(schedule)),
    keys: () => [0, kvLen],
    ...(layout === "pages" && { rows: [0, boundKeys(problem) * kvHeads] }),
    ...(named && { tables: { table: placesOf(named) }, copied: rowsOf(named, pageSize * kvHeads) }),
    additional: () => [0, 0],
    pairs: ({ queries, parts }) => length(queries) * Math.min(capacity, length(parts) * partKeys),
    params: ({ queries }) => ({
      ...runsParams(problem, queries),
      allParts: parts,
      ...{ capacity, pages: named?.pages.length ?? pages, lengthHeads, tableHeads },
      lengthGroup: heads / Math.max(1, lengthHeads),
      tableGroup: heads / tableHeads,
    }),
  };
}

/** The rows of named pages, one range for pages that follow one another. */
function rowsOf({ pages }: NamedPages, rows: number): Range[] {
  const starts = pages.flatMap((page, i) => i > 0 && pages[i - 1] === page - 1 ? [] : [i]);
  return starts.map((first, n) => {
    const end = starts[n + 1] ?? pages.length;
    return [pages[first] * rows, (pages[end - 1] + 1) * rows];
  });
}

/** The table of a copy that holds the named pages alone. */
function placesOf({ pages, table }: NamedPages): Uint32Array<ArrayBuffer> {
  const places = new Map(pages.map((page, place) => [page, place]));
  return Uint32Array.from(table, (page) => places.get(page) ?? 0);
}
