import type { GpuLimits } from "../../gpu/limits.ts";
import type { PackedKeys } from "./key_layout.ts";
import { partOf } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { length, queriesOfTile, type Range, type TokenPlan } from "./tokens.ts";

/** Packed sequences, of which a query sees its own, or a band of it. */
export function segmentTokens(
  problem: AttentionProblem,
  { q, kv, bottomRight }: PackedKeys,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { band, kvLen } = problem;
  const count = q.length - 1;
  const list = Array.from({ length: count }, (_, n) => [q[n], q[n + 1], kv[n], kv[n + 1]]);
  const group = schedule.kind === "split" ? problem.heads / problem.kvHeads : 1;
  const tile = queriesOfTile(schedule);
  const tasks = list.flatMap(([first, end], n) =>
    Array.from({ length: Math.ceil((end - first) * group / tile) }, (_, i) => [n, i])
  );
  // tasks are in the order of their queries: those of a range follow one another
  const tasksIn = ([first, end]: Range): Range => [
    tasks.findIndex(([n, i]) =>
      Math.min(q[n] * group + (i + 1) * tile, q[n + 1] * group) > first * group
    ),
    tasks.findLastIndex(([n, i]) => q[n] * group + i * tile < end * group) + 1,
  ];
  const longest = Math.max(1, ...list.map(([, , first, end]) => end - first));
  const partKeys = partOf(problem, schedule, limits, { keys: longest, bound: kvLen });
  return {
    pattern: {
      ...{ kind: "segments", banded: band !== null, bottomRight },
      descending: problem.weight.rule === "stick",
      hooked: problem.hooks.masks.length > 0,
    },
    parts: Math.max(1, Math.ceil(longest / partKeys)),
    tables: {
      sequences: Uint32Array.from(list.flat()),
      tasks: Uint32Array.from(tasks.flat()),
    },
    queryStep: 1,
    queryTiles: (queries) => length(tasksIn(queries)),
    keys: () => [0, kvLen],
    additional: () => [0, 0],
    pairs: ({ queries, parts }) =>
      list.reduce((sum, [first, end, kvFirst, kvEnd]) => {
        const own = Math.min(end, queries[1]) - Math.max(first, queries[0]);
        return sum + Math.max(0, own) * Math.min(kvEnd - kvFirst, length(parts) * partKeys);
      }, 0),
    params: ({ queries }) => ({
      t0: queries[0],
      t1: queries[1],
      task0: tasksIn(queries)[0],
      partKeys,
      bandLo: band?.lo ?? 0,
      bandHi: band?.hi ?? 0,
    }),
  };
}
