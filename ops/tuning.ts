import type { PlanDevice } from "./attention/schedule.ts";

/** What a problem is to a tuning. */
export interface TunedProblem {
  readonly device: Pick<PlanDevice, "tuned">;
  /** Operator, dtype, dims and kinds, in words; never lengths. */
  readonly problemClass: string;
}

/**
 * Schedules in the order of preference: the one that a tuning names for the class first, if it is
 * among them, then as given.
 */
export function tunedFirst<S>(
  { device: { tuned }, problemClass }: TunedProblem,
  schedules: readonly S[],
  nameOf: (schedule: S) => string | null,
): S[] {
  const wanted = tuned?.get(problemClass)?.schedule;
  const found = schedules.find((schedule) => nameOf(schedule) === wanted);
  return found === undefined
    ? [...schedules]
    : [found, ...schedules.filter((schedule) => schedule !== found)];
}

/** How a tuning walks tokens where the call leaves it open. */
export interface TunedWalk {
  readonly mode?: "loop" | "chunk";
  readonly chunkSize?: number;
}

/**
 * How a tuning walks the tokens of a class: empty where it does not know the class, chose for another
 * schedule than runs, or names chunks that the operator does not have.
 *
 * @param tuned the class and the device
 * @param schedule name of the schedule that runs, or null where there is one only
 * @param chunkSizes those that the operator has
 */
export function tunedWalk(
  { device: { tuned }, problemClass }: TunedProblem,
  schedule: string | null,
  chunkSizes: readonly number[],
): TunedWalk {
  const { schedule: chosen = null, ...walk } = tuned?.get(problemClass) ?? {};
  const fits = chosen === schedule &&
    (walk.chunkSize === undefined || chunkSizes.includes(walk.chunkSize));
  return fits ? walk : {};
}

/** The words of a class that are there. */
export function classOf(...words: readonly (string | false | null)[]): string {
  return words.filter((word) => word).join(" ");
}

/** Key and value dim, as classes have them. */
export function dimWords(key: string, keyDim: number, value: string, valueDim: number): string {
  return keyDim === valueDim ? `${key}${keyDim}` : `${key}${keyDim} ${value}${valueDim}`;
}
