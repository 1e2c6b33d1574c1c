import { type AttentionPlan, length, type Slice } from "./plan.ts";
import type { AttentionProblem } from "./problem.ts";

/** Parameters that all launches of a call share. */
export function sharedParams(
  problem: AttentionProblem,
  plan: AttentionPlan,
): Record<string, number> {
  const { softcap, scale, band, bias } = problem;
  const [biasB, biasH, biasT] = bias?.strides ?? [0, 0, 0];
  return {
    qLen: problem.qLen,
    kvLen: problem.kvLen,
    heads: problem.heads,
    kvHeads: problem.kvHeads,
    group: problem.heads / problem.kvHeads,
    partKeys: plan.partKeys,
    bandLo: band?.lo ?? 0,
    bandHi: band?.hi ?? 0,
    qScale: softcap === null ? scale * Math.LOG2E : scale / softcap,
    cap: softcap === null ? 0 : softcap * Math.LOG2E,
    biasB: biasB,
    biasH: biasH,
    biasT: biasT,
  };
}

/** Parameters of one launch. */
export function sliceParams(slice: Slice, problem: AttentionProblem): Record<string, number> {
  return {
    b0: slice.batch[0],
    t0: slice.queries[0],
    t1: slice.queries[1],
    h0: slice.kvHeads[0] * (problem.heads / problem.kvHeads),
    part0: slice.parts[0],
    parts: length(slice.parts),
  };
}
