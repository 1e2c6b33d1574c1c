// Results as rows: a table for each problem, and one of ratios over all problems of an operator.
import { figure } from "../../cli/output.ts";
import type { Result } from "./contest.ts";

/** The contestant that the others are compared with. */
export const BASE = "tessera";

/** Rows of a problem: times, error, and how many times the toolkit's time it is. */
export function problemRows(problem: string, results: readonly Result[]): string[][] {
  const base = medianOf(results.find(({ name }) => name === BASE));
  return [
    [problem, "median ms", "min", "turns", "error", `times ${BASE}`],
    ...results.map((result) => {
      const { name, error, times = [] } = result;
      const median = medianOf(result);
      const checked = error === undefined ? "" : figure(error);
      if (median === undefined) return [name, faultOf(result), "", "", checked, ""];
      const ratio = base === undefined ? "" : `${figure(median / base)}x`;
      return [name, figure(median), figure(Math.min(...times)), `${times.length}`, checked, ratio];
    }),
  ];
}

/** Rows of ratios: a column for each problem, the toolkit's own row in milliseconds. */
export function ratioRows(all: ReadonlyMap<string, readonly Result[]>): string[][] {
  const names = new Set([...all.values()].flat().map(({ name }) => name));
  return [
    ["", ...all.keys()],
    ...[...names].map((name) => [
      name,
      ...[...all.values()].map((results) => {
        const result = results.find((result) => result.name === name);
        return result === undefined ? "" : cellOf(result, results);
      }),
    ]),
  ];
}

/** A table as Markdown has it. */
export function markdown([head, ...rows]: readonly (readonly string[])[]): string {
  const rule = head.map(() => "---");
  return [head, rule, ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function cellOf(result: Result, results: readonly Result[]): string {
  const median = medianOf(result);
  if (median === undefined) return faultOf(result);
  const base = medianOf(results.find(({ name }) => name === BASE));
  if (result.name === BASE || base === undefined) return `${figure(median)} ms`;
  return `${figure(median / base)}x`;
}

/** What stands in the place of a time. */
function faultOf({ failure }: Result): string {
  return failure === undefined ? "wrong" : "failed";
}

/** The lower one of two in the middle. */
function medianOf(result: Result | undefined): number | undefined {
  const times = result?.times?.toSorted((a, b) => a - b) ?? [];
  return times[Math.floor((times.length - 1) / 2)];
}
