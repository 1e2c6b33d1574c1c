import type { GpuLimits } from "../../gpu/limits.ts";
import type { PackedKeys } from "./key_layout.ts";
import { checkBound, keysOfPart } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import { runsConfig, runsParams } from "./runs.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { headsOfRow, length, queriesOfTile, type Range, type TokenPlan } from "./tokens.ts";

/** Packed sequences, of which a query sees its own, or a band of it. */
export function segmentTokens(
  problem: AttentionProblem,
  { q, kv, bottomRight }: PackedKeys,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { kvLen } = problem;
  const count = q.length - 1;
  const list = Array.from({ length: count }, (_, n) => [q[n], q[n + 1], kv[n], kv[n + 1]]);
  const group = headsOfRow(problem, schedule);
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
  const longest = list.reduce((most, [, , first, end]) => Math.max(most, end - first), 1);
  checkBound(problem, schedule, limits);
  const partKeys = keysOfPart(problem, schedule, limits, { keys: longest });
  return {
    pattern: { kind: "segments", bottomRight, ...runsConfig(problem) },
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
      ...runsParams(problem, queries),
      task0: tasksIn(queries)[0],
      partKeys,
    }),
  };
}
