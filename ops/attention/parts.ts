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
