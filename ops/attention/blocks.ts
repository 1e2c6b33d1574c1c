import type { GpuLimits } from "../../gpu/limits.ts";
import type { BlockKeys } from "./key_layout.ts";
import { checkBound, keysOfPart } from "./parts.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import {
  headsOfRow,
  keysOfTile,
  length,
  queriesOfTile,
  tilesOfLoop,
  type TokenPlan,
} from "./tokens.ts";

/** Tokens in blocks, of which a map lists those that a block of queries sees. */
export function blockTokens(
  problem: AttentionProblem,
  { batch, heads, queryBlock, keyBlock }: BlockKeys,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): TokenPlan {
  const { kvLen, qLen } = problem;
  const group = headsOfRow(problem, schedule);
  const queryBlocks = Math.ceil(qLen / queryBlock);
  const keyBlocks = Math.ceil(kvLen / keyBlock);
  const tiles = Math.ceil(queryBlock * group / queriesOfTile(schedule));
  // blocks are walked in whole tiles, and parts have whole blocks
  const padded = Math.ceil(keyBlock / keysOfTile(schedule)) * keysOfTile(schedule);
  checkLoop(keyBlock, padded, keysOfTile(schedule) * tilesOfLoop(schedule, problem, limits));
  checkBound(problem, schedule, limits);
  const partKeys = keysOfPart(problem, schedule, limits, { keys: keyBlocks * padded });
  const partBlocks = Math.max(1, Math.floor(partKeys / padded));
  const parts = Math.max(1, Math.ceil(keyBlocks / partBlocks));
  return {
    pattern: {
      ...{ kind: "blocks", queryBlock, keyBlock },
      descending: problem.weight.rule === "stick",
    },
    parts,
    queryStep: queryBlock,
    queryTiles: (queries) => Math.ceil(length(queries) / queryBlock) * tiles,
    keys: () => [0, kvLen], // the lists are on the device
    additional: () => [0, 0],
    pairs: (slice) =>
      length(slice.queries) * Math.min(kvLen, length(slice.parts) * partBlocks * keyBlock),
    params: (slice) => ({
      t0: slice.queries[0],
      t1: slice.queries[1],
      allParts: parts,
      mapB: batch === 1 ? 0 : heads * queryBlocks,
      mapH: queryBlocks,
      mapGroup: problem.heads / heads,
      mapBlocks: keyBlocks,
    }),
  };
}

function checkLoop(keyBlock: number, padded: number, looped: number): void {
  if (padded <= looped) return;
  throw new RangeError(
    `Cannot plan attention as the keys of a block must fit one loop of the device: keyBlock is ${keyBlock}, the device allows ${
      Math.floor(looped)
    }`,
  );
}
