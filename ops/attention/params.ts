import { isNatural } from "../../kernels/attention/description.ts";
import type { AttentionPlan } from "./plan.ts";
import type { AttentionProblem } from "./problem.ts";
import { length, type Slice } from "./tokens.ts";

/** Parameters that all launches of a call share. */
export function sharedParams(problem: AttentionProblem): Record<string, number> {
  const { softcap, scale, bias } = problem;
  const unit = isNatural(problem) ? 1 : Math.LOG2E;
  const [biasB, biasH, biasT] = bias?.strides ?? [0, 0, 0];
  return {
    qLen: problem.qLen,
    kvLen: problem.kvLen,
    heads: problem.heads,
    kvHeads: problem.kvHeads,
    group: problem.heads / problem.kvHeads,
    qScale: softcap === null ? scale * unit : scale / softcap,
    cap: softcap === null ? 0 : softcap * unit,
    biasB: biasB,
    biasH: biasH,
    biasT: biasT,
  };
}

/** Parameters of one launch. */
export function sliceParams(
  slice: Slice,
  problem: AttentionProblem,
  { tokens }: AttentionPlan,
): Record<string, number> {
  return {
    ...tokens.params(slice),
    b0: slice.batch[0],
    h0: slice.kvHeads[0] * (problem.heads / problem.kvHeads),
    part0: slice.parts[0],
    parts: length(slice.parts),
  };
}
