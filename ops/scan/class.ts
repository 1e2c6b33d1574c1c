import { classOf } from "../tuning.ts";
import type { ScanProblem } from "./problem.ts";

/** Invocations that fill a GPU: with fewer of them, chunks in parallel are worth reading twice. */
const FULL = 32_768;

/** Vec4 columns of a token, each of which has an element. */
export function itemsOf({ heads, width }: Pick<ScanProblem, "heads" | "width">): number {
  return heads * Math.ceil(width / 4);
}

/** Whether a GPU is busy with an invocation for each column. */
export function isFull(problem: ScanProblem): boolean {
  return (problem.bounds.length - 1) * itemsOf(problem) >= FULL;
}

/** What tuning knows a problem by: the scan, its dtypes and whether it fills a device; no lengths. */
export function scanClass(problem: ScanProblem): string {
  const { kind, elem, weightElem } = problem;
  return classOf(
    ...["scan", kind, elem],
    weightElem !== elem && `weights ${weightElem}`,
    isFull(problem) && "many channels",
  );
}
