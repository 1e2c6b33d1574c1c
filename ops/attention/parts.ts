import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { pooledKeys } from "./key_layout.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { keysOfBinding, keysOfTile, sourceOf, tilesOfLoop } from "./tokens.ts";

/** Keys that are divided, and the most that a part may have. */
interface DividedKeys {
  readonly keys: number;
  readonly most?: number;
}

/** Keys of a part: as many as one loop walks, and few enough for the parts that a schedule wants. */
export function keysOfPart(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
  { keys, most = Infinity }: DividedKeys,
): number {
  const looped = keysOfTile(schedule) * tilesOfLoop(schedule, problem, limits);
  const longest = Math.max(1, Math.floor(Math.min(looped, most)));
  const wanted = schedule.kind === "split" ? schedule.parts : 1;
  return Math.max(1, Math.min(longest, Math.ceil(keys / wanted)));
}

/** Keys that a launch copies into textures. */
export interface Piece {
  /** Bytes of keys, and of values. */
  readonly bytes: number;
  /** The most keys that one of its parts has. */
  readonly partKeys: number;
}

/** Bytes of keys, and of values, that caches still hold when they are walked behind their copy. */
const PIECE_BYTES = 2 ** 22;

/** What a launch copies where few queries pass over keys once, or null where one copies all keys. */
export function pieceOf(problem: AttentionProblem, schedule: AttentionSchedule): Piece | null {
  const { batch, kvLen, kvHeads, headDim, valueDim, elem } = problem;
  const keyBytes = kvHeads * Math.max(headDim, valueDim) * elementBytes(elem);
  const piecewise = schedule.kind === "split" && schedule.source === "texture" &&
    batch * kvLen * keyBytes > PIECE_BYTES;
  if (!piecewise) return null;
  const partKeys = Math.max(1, Math.floor(PIECE_BYTES / keyBytes / schedule.parts));
  return { bytes: Math.max(PIECE_BYTES, keyBytes), partKeys };
}

/** Keys that are bound where they are not in a row: all of them. */
export function boundKeys({ keys, kvLen }: AttentionProblem): number {
  return pooledKeys(keys) ?? kvLen;
}

/** Refuses keys that are not in a row where one binding does not hold all of them. */
export function checkBound(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
): void {
  const keys = boundKeys(problem);
  const most = keysOfBinding(problem, sourceOf(schedule), limits);
  if (most >= keys) return;
  throw new RangeError(
    `Cannot plan attention as all keys must fit one binding unless they are in a row: current length is ${keys}, the device allows ${
      Math.floor(most)
    }`,
  );
}
