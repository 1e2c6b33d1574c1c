import { figure, table } from "../output.ts";
import type { Workload } from "../workload.ts";
import { medianOf, ranked, type Standing } from "./standing.ts";

/** What `tune --json` prints for a candidate. */
export interface CandidateReport {
  readonly schedule: string;
  readonly status: Standing["status"];
  readonly reason?: string;
  readonly predictedMs: number;
  readonly medianMs?: number;
  readonly minMs?: number;
  readonly runs: number;
  /** The best median over its own. */
  readonly shareOfBest?: number;
  readonly compileMs?: number;
  readonly rmsErrorRatio?: number;
}

/** What `tune --json` prints for a problem. */
export interface ProblemReport {
  readonly operator: string;
  readonly name: string;
  readonly problem: object;
  /** What a tuning knows it by, or null where there is nothing to choose. */
  readonly problemClass: string | null;
  /** The schedule without a tuning. */
  readonly default: string;
  /** The schedule that was chosen, or null where none computed the problem. */
  readonly chosen: string | null;
  readonly candidates: readonly CandidateReport[];
}

/** A measured problem as a document. */
export function problemReport(
  { operator, name, problem }: Workload,
  [standard, problemClass]: readonly [standard: string, problemClass: string | null],
  standings: readonly Standing[],
): ProblemReport {
  const timed = standings.filter(({ status }) => status === "timed" || status === "chosen");
  const best = Math.min(...timed.map((standing) => medianOf(standing) ?? Infinity));
  return {
    ...{ operator, name, problem, problemClass, default: standard },
    chosen: standings.find(({ status }) => status === "chosen")?.name ?? null,
    candidates: ranked(standings).map((standing) => candidateReport(standing, best)),
  };
}

function candidateReport(standing: Standing, best: number): CandidateReport {
  const { name, status, reason, predictedMs, times, compileMs, rmsErrorRatio } = standing;
  const medianMs = medianOf(standing);
  // what was stopped was timed at another time
  const comparable = status === "timed" || status === "chosen";
  return {
    ...{ schedule: name, status, ...(reason !== undefined && { reason }), predictedMs },
    ...(medianMs !== undefined &&
      { medianMs, minMs: Math.min(...times), ...(comparable && { shareOfBest: best / medianMs }) }),
    runs: times.length,
    ...(compileMs !== undefined && { compileMs }),
    ...(rmsErrorRatio !== undefined && { rmsErrorRatio }),
  };
}

const HEAD = ["schedule", "predicted ms", "median ms", "min", "of best", "compile ms", "status"];

/** A measured problem as text. */
export function reportText({ operator, name, problemClass, candidates }: ProblemReport): string {
  const rows = candidates.map((c) => [
    c.schedule,
    figure(c.predictedMs),
    cell(c.medianMs),
    cell(c.minMs),
    c.shareOfBest === undefined ? "" : `${figure(100 * c.shareOfBest)}%`,
    cell(c.compileMs),
    c.reason === undefined ? c.status : `${c.status}: ${c.reason}`,
  ]);
  const title = `${operator} ${name}${problemClass === null ? "" : ` ("${problemClass}")`}`;
  return `${title}\n${table([HEAD, ...rows])}`;
}

function cell(value: number | undefined): string {
  return value === undefined ? "" : figure(value);
}
