import { classOf, dimWords } from "../tuning.ts";
import type { FastProblem } from "./problem.ts";

/** What tuning knows a problem by: rule, dtype, dims and mini-batches; no lengths. */
export function fastClass(problem: FastProblem): string {
  const { rule, elem, keyDim, valueDim, qHeads, heads, miniBatch } = problem;
  return classOf(
    ...["fastWeights", rule, elem, dimWords("K", keyDim, "V", valueDim)],
    `mini-batches of ${miniBatch}`,
    qHeads > heads && `queries ${qHeads / heads}`,
  );
}
