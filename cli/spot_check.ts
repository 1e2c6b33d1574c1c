import { attention as reference, type ScorePlace } from "../reference/mod.ts";
import type { AttentionCase, AttentionInputs } from "./attention_case.ts";
import { type OracleHooks, oracleHooks } from "./attention_hooks.ts";
import { inOrder } from "./attention_keys.ts";
import { keyRanges, problemOf } from "./attention_problem.ts";
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
  /** Programmable parts, by the queries of the whole problem. */
  readonly hooks?: OracleHooks;
}

/**
 * Compares an output with float64 on as many query rows as the budget allows, spread from the first
 * to the last; all of them where the problem is small. Returns the error ratio of the worst head.
 *
 * The rows are handed to the reference with an explicit mask, so that what they see does not depend
 * on which rows were chosen.
 */
export function spotCheckRows(
  { inputs, scale, mask, hooks = {} }: RowReference,
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
  const placed = (at: ScorePlace): ScorePlace => ({ ...at, i: rows[at.i] });
  const { score, mask: hook, weight = "softmax" } = hooks;
  const expected = reference(q, inputs.k, inputs.v, {
    ...{ scale, weight },
    mask: [
      ({ i, j }) => masks[i * kvLen + j] === 0,
      ...(hook === undefined ? [] : [(at: ScorePlace) => hook(placed(at))]),
    ],
    ...(score !== undefined && { score: (s, at) => score(s, placed(at)) }),
  });
  const shape = [batch, qLen, heads, valueDim];
  const actual = chooseRows({ data: out as Float32Array, shape }, rows);
  return compareHeads(actual.data, expected.out.data, heads, valueDim).ratio;
}

/** Compares an output of attention with float64, as {@linkcode spotCheckRows} does. */
export function spotCheck(
  c: AttentionCase,
  { q, k, v }: AttentionInputs,
  out: ArrayLike<number>,
): number {
  const rangeOf = keyRanges(c);
  const inputs = { q, k: inOrder(c, k), v: inOrder(c, v) };
  const mask = (row: number, keys: Float32Array): void => {
    keys.fill(-Infinity);
    keys.fill(0, ...rangeOf(row));
  };
  return spotCheckRows({ inputs, scale: problemOf(c).scale, mask, hooks: oracleHooks(c) }, out);
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
