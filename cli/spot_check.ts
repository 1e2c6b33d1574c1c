import { attentionProblemOf } from "../ops/attention/problem.ts";
import { attention as reference } from "../reference/mod.ts";
import type { AttentionCase, AttentionInputs } from "./attention_case.ts";
import { compareHeads } from "./compare.ts";
import type { HostTensor } from "./host_tensor.ts";

/** Multiply-adds that the float64 reference may spend on a check before timing. */
const BUDGET = 3e8;

/** What rows of an output are compared with. */
export interface RowReference {
  /** `[B, T, Hq, D]`, `[B, S, Hkv, D]`, `[B, S, Hkv, Dv]` */
  readonly inputs: Readonly<Record<"q" | "k" | "v", HostTensor>>;
  readonly scale: number;
  /** Writes 0 for the keys that a query sees and −∞ for the others. */
  mask(query: number, keys: Float32Array): void;
}

/**
 * Compares an output with float64 on as many query rows as the budget allows, spread from the first
 * to the last; all of them where the problem is small. Returns the error ratio of the worst head.
 *
 * The rows are handed to the reference with an explicit mask, so that what they see does not depend
 * on which rows were chosen.
 */
export function spotCheckRows(
  { inputs, scale, mask }: RowReference,
  out: ArrayLike<number>,
): number {
  const [batch, qLen, heads, headDim] = inputs.q.shape;
  const [, kvLen, , valueDim] = inputs.v.shape;
  if (batch * qLen === 0) return 0;
  const perRow = batch * heads * Math.max(1, kvLen) * (headDim + valueDim);
  const count = Math.max(2, Math.min(qLen, Math.floor(BUDGET / perRow)));
  const rows = Array.from(
    { length: Math.min(count, qLen) },
    (_, i) => Math.round(i * (qLen - 1) / Math.max(1, count - 1)),
  );
  const masks = new Float32Array(rows.length * kvLen);
  rows.forEach((row, i) => mask(row, masks.subarray(i * kvLen, (i + 1) * kvLen)));
  const q = chooseRows(inputs.q, rows);
  const bias = { data: masks, shape: [1, 1, rows.length, kvLen] };
  const expected = reference(q, inputs.k, inputs.v, { scale, bias });
  const shape = [batch, qLen, heads, valueDim];
  const actual = chooseRows({ data: out as Float32Array, shape }, rows);
  return compareHeads(actual.data, expected.out.data, heads, valueDim).ratio;
}

/** Compares an output of attention with float64, as {@linkcode spotCheckRows} does. */
export function spotCheck(
  c: AttentionCase,
  inputs: AttentionInputs,
  out: ArrayLike<number>,
): number {
  const { band, scale } = attentionProblemOf(c);
  const mask = (row: number, keys: Float32Array): void => {
    for (let j = 0; j < keys.length; j++) {
      const hidden = band !== null && (j < row + band.lo || j > row + band.hi);
      keys[j] = hidden ? -Infinity : 0;
    }
  };
  return spotCheckRows({ inputs, scale, mask }, out);
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
