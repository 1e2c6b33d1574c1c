import type { GpuLimits } from "../../gpu/limits.ts";
import type { AttentionProblem } from "./problem.ts";
import type { AttentionSchedule } from "./schedule.ts";
import { keysOfBinding, keysOfTile, tilesOfLoop } from "./tokens.ts";

/** Keys that are divided, and those that one binding holds. */
interface DividedKeys {
  readonly keys: number;
  readonly bound: number;
}

/** Keys of a part: as many as one loop walks, and few enough for the parts that a schedule wants. */
export function partOf(
  problem: AttentionProblem,
  schedule: AttentionSchedule,
  limits: GpuLimits,
  { keys, bound }: DividedKeys,
): number {
  const most = keysOfBinding(problem, schedule, limits);
  if (most < bound) {
    throw new RangeError(
      `Cannot plan attention as all keys must fit one binding unless they are in a row: current length is ${bound}, the device allows ${
        Math.floor(most)
      }`,
    );
  }
  const looped = Math.floor(keysOfTile(schedule) * tilesOfLoop(schedule, problem, limits));
  const wanted = schedule.kind === "split" ? schedule.parts : 1;
  return Math.max(1, Math.min(looped, Math.ceil(keys / wanted)));
}
