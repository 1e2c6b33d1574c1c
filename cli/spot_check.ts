import { attentionProblemOf } from "../ops/attention/problem.ts";
import { attention as reference } from "../reference/mod.ts";
import type { AttentionCase, AttentionInputs, HostTensor } from "./attention_case.ts";
import { compareHeads } from "./compare.ts";

/** Multiply-adds that the float64 reference may spend on a check before timing. */
const BUDGET = 3e8;

/**
 * Compares an output with float64 on as many query rows as the budget allows, spread from the first
 * to the last; all of them where the problem is small. Returns the error ratio of the worst head.
 *
 * The rows are handed to the reference with an explicit mask, so that causality does not depend on
 * which rows were chosen.
 */
export function spotCheck(
  c: AttentionCase,
  inputs: AttentionInputs,
  out: ArrayLike<number>,
): number {
  if (c.batch * c.qLen === 0) return 0;
  const { band, scale } = attentionProblemOf(c);
  const perRow = c.batch * c.heads * Math.max(1, c.kvLen) * (c.headDim + c.valueDim);
  const count = Math.max(2, Math.min(c.qLen, Math.floor(BUDGET / perRow)));
  const rows = Array.from(
    { length: Math.min(count, c.qLen) },
    (_, i) => Math.round(i * (c.qLen - 1) / Math.max(1, count - 1)),
  );
  const mask = new Float32Array(rows.length * c.kvLen);
  rows.forEach((row, i) => {
    for (let j = 0; j < c.kvLen; j++) {
      const hidden = band !== null && (j < row + band.lo || j > row + band.hi);
      if (hidden) mask[i * c.kvLen + j] = -Infinity;
    }
  });
  const q = chooseRows(inputs.q, rows);
  const bias = { data: mask, shape: [1, 1, rows.length, c.kvLen] };
  const expected = reference(q, inputs.k, inputs.v, { scale, bias });
  const shape = [c.batch, c.qLen, c.heads, c.valueDim];
  const actual = chooseRows({ data: out as Float32Array, shape }, rows);
  return compareHeads(actual.data, expected.out.data, c.heads, c.valueDim).ratio;
}

/** The rows of a `[B, T, H, D]` array at some queries. */
function chooseRows({ data, shape }: HostTensor, rows: readonly number[]): HostTensor {
  const [batch, length, heads, dim] = shape;
  const width = heads * dim;
  const chosen = new Float32Array(batch * rows.length * width);
  for (let b = 0; b < batch; b++) {
    rows.forEach((row, i) => {
      const from = (b * length + row) * width;
      chosen.set(data.subarray(from, from + width), (b * rows.length + i) * width);
    });
  }
  return { data: chosen, shape: [batch, rows.length, heads, dim] };
}
