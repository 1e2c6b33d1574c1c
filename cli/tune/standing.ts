import type { TunedChoice } from "../../gpu/tuning.ts";
import { median } from "../quantile.ts";

/** How a candidate does. */
export interface Standing {
  readonly name: string;
  /** What a tuning says where it wins, or null where a tuning may not choose it. */
  readonly choice: TunedChoice | null;
  readonly predictedMs: number;
  /**
   * Not measured yet; left out by the model; not computing the problem, or not at all; stopped early;
   * timed to the end; timed and chosen.
   */
  status: "waiting" | "pruned" | "wrong" | "failed" | "stopped" | "timed" | "chosen";
  /** Why, unless it was timed. */
  reason?: string;
  /** Milliseconds of its runs. */
  readonly times: number[];
  /** What the first call took longer than the others. */
  compileMs?: number;
  /** Of the check against float64. */
  rmsErrorRatio?: number;
}

/** The middle of the times, or undefined without any. */
export function medianOf({ times }: Pick<Standing, "times">): number | undefined {
  return times.length > 0 ? median(times) : undefined;
}

/** Times within which candidates count as equally fast: machines are not steadier. */
const EQUAL = 1.03;

/**
 * Chooses among the timed candidates that a tuning may name: of those as fast as the fastest within
 * 3%, the default, or else the one that compiles fastest.
 *
 * @param standings the default first
 */
export function choose(standings: readonly Standing[]): Standing | undefined {
  const timed = standings.filter(({ status, choice }) => status === "timed" && choice !== null);
  const best = Math.min(...timed.map((standing) => medianOf(standing) ?? Infinity));
  const equal = timed.filter((standing) => (medianOf(standing) ?? Infinity) <= EQUAL * best);
  const [fastest] = equal.toSorted((a, b) => (a.compileMs ?? 0) - (b.compileMs ?? 0));
  const chosen = equal.find((standing) => standing === standings[0]) ?? fastest;
  if (chosen !== undefined) chosen.status = "chosen";
  return chosen;
}

const ORDER: readonly Standing["status"][] = [
  ...["chosen", "timed", "stopped", "pruned", "wrong", "failed", "waiting"] as const,
];

/** Timed candidates by their medians, then stopped ones, then the others by their predictions. */
export function ranked(standings: readonly Standing[]): Standing[] {
  const place = ({ status }: Standing): number => Math.max(1, ORDER.indexOf(status));
  const time = (standing: Standing): number => medianOf(standing) ?? standing.predictedMs;
  return standings.toSorted((a, b) => place(a) - place(b) || time(a) - time(b));
}
