import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";

/** One of the partial results that {@linkcode mergeAttention} takes. */
export interface AttentionPart {
  /** The output over the part's keys, `[..., H, Dv]`; not read where `lse` is -Infinity. */
  out: ReferenceTensor;
  /** The log-sum-exp over the part's keys, natural, `[..., H]`; -Infinity where it has none. */
  lse: ReferenceTensor;
}

/** What {@linkcode mergeAttention} returns; it can be merged again. */
export interface MergedAttention extends AttentionPart {
  /** The output over the keys of all parts, `[..., H, Dv]`; 0 where no part sees a key. */
  out: Float64Tensor;
  /** The log-sum-exp over the keys of all parts, `[..., H]`; -Infinity where no part sees a key. */
  lse: Float64Tensor;
}

/**
 * Merges attention of the same queries over disjoint sets of keys into attention over all of them.
 *
 * lse = log Σ_p exp(lse_p) and out = Σ_p exp(lse_p - lse) out_p over the parts p, row by row.
 *
 * @param parts At least one output and log-sum-exp, `[B, T, H, Dv]` and `[B, T, H]`, or with other
 * axes before the heads; the shapes of all parts are the same.
 * @returns The output and the log-sum-exp of each row.
 *
 * @example Two halves of the keys
 * ```ts
 * import { attention, mergeAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 1, 1, 1];
 * const q = { data: [1], shape };
 * const a = attention(q, { data: [0], shape }, { data: [4], shape });
 * const b = attention(q, { data: [Math.log(3)], shape }, { data: [8], shape });
 *
 * const { out, lse } = mergeAttention([a, b]); // the weights are 1/4 and 3/4
 *
 * assertAlmostEquals(out.data[0], 7);
 * assertAlmostEquals(lse.data[0], Math.log(4));
 * ```
 */
export function mergeAttention(parts: readonly AttentionPart[]): MergedAttention {
  const [{ out: { shape }, lse: { shape: rowShape } }] = parts;
  const rows = rowShape.reduce((product, size) => product * size, 1);
  const valueDim = shape[shape.length - 1];
  const out = new Float64Array(rows * valueDim);
  const lse = new Float64Array(rows);

  for (let row = 0; row < rows; row++) {
    let m = -Infinity;
    for (const part of parts) m = Math.max(m, part.lse.data[row]);
    lse[row] = m;
    if (m === -Infinity) continue; // no part sees a key: out stays 0

    let l = 0;
    for (const part of parts) l += Math.exp(part.lse.data[row] - m);
    lse[row] += Math.log(l);
    for (const part of parts) {
      if (part.lse.data[row] === -Infinity) continue;
      const p = Math.exp(part.lse.data[row] - m) / l;
      for (let d = row * valueDim; d < (row + 1) * valueDim; d++) out[d] += p * part.out.data[d];
    }
  }
  return { out: { data: out, shape: [...shape] }, lse: { data: lse, shape: [...rowShape] } };
}
