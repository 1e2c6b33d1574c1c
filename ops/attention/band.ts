import type { GpuLimits } from "../../gpu/limits.ts";
import { keysOfPart, pieceOf } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import { runsConfig, runsParams } from "./runs.ts";
import type { AttentionSchedule } from "./schedule.ts";
import {
  headsOfRow,
  keysOfBinding,
  length,
  queriesOfTile,
  sourceOf,
  type TokenPlan,
} from "./tokens.ts";

/** Tokens in a row, of which a query sees all or a band. */
export function bandTokens(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { kvLen } = problem;
  const group = headsOfRow(problem, schedule);
  const tile = queriesOfTile(schedule);
  const piece = pieceOf(problem, schedule);
  const most = piece?.partKeys ?? keysOfBinding(problem, sourceOf(schedule), limits);
  const partKeys = keysOfPart(problem, schedule, limits, { keys: kvLen, most });
  const parts = Math.max(1, Math.ceil(kvLen / partKeys));
  return {
    pattern: { kind: "band", ...runsConfig(problem) },
    parts,
    ...(piece && { pieceBytes: piece.bytes }),
    queryStep: 1,
    queryTiles: (queries) => Math.ceil(length(queries) * group / tile),
    keys: (slice) => [
      Math.min(slice.parts[0] * partKeys, kvLen),
      Math.min(slice.parts[1] * partKeys, kvLen),
    ],
    additional: () => [0, 0],
    pairs: (slice) => length(slice.queries) * Math.min(kvLen, length(slice.parts) * partKeys),
    params: (slice) => ({
      ...runsParams(problem, slice.queries),
      partKeys,
    }),
  };
}
