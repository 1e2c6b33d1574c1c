import { classOf, dimWords } from "../tuning.ts";
import type { LogLinearProblem } from "./problem.ts";

/** What tuning knows a problem by: dtype, dims and whether it is a step; no lengths, nor their levels. */
export function logLinearClass(problem: LogLinearProblem): string {
  const { inputs, keyDim, valueDim, qHeads, heads, inPlace } = problem;
  return classOf(
    ...["logLinearAttention", inputs.q, dimWords("K", keyDim, "V", valueDim)],
    qHeads > heads && `queries ${qHeads / heads}`,
    inPlace && "step",
  );
}
