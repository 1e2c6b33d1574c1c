import { attentionProblemOf } from "../ops/attention/problem.ts";
import type { AttentionCase } from "./attention_case.ts";

/** Query and key pairs that a case computes, over batch and heads. */
export function visiblePairs(c: AttentionCase): number {
  const { band } = attentionProblemOf(c);
  if (band === null) return c.batch * c.heads * c.qLen * c.kvLen;
  let pairs = 0;
  for (let i = 0; i < c.qLen; i++) {
    const first = Math.max(0, i + band.lo);
    const last = Math.min(c.kvLen - 1, i + band.hi);
    pairs += Math.max(0, last - first + 1);
  }
  return c.batch * c.heads * pairs;
}

/** Operations by the definition: two multiply-adds per channel of each visible pair. */
export function attentionFlops(c: AttentionCase): number {
  return 2 * visiblePairs(c) * (c.headDim + c.valueDim);
}

/** Bytes that must move at least: inputs once, output once. */
export function attentionBytes(c: AttentionCase): number {
  const element = c.dtype === "f16" ? 2 : 4;
  const queries = c.batch * c.qLen * c.heads * (c.headDim + c.valueDim);
  const keys = c.batch * c.kvLen * c.kvHeads * (c.headDim + c.valueDim);
  return element * (queries + keys);
}
