import { type ScoreOptions, scoreRows } from "./scores.ts";
import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";
import { type AttentionWeight, auxOf, weigh } from "./weights.ts";

/** Options for {@linkcode attention}. */
export interface AttentionOptions extends ScoreOptions {
  /**
   * What the scores become.
   *
   * @default {"softmax"}
   */
  weight?: AttentionWeight;
  /**
   * A logit for each head, `[Hq]`, that joins the denominator only; of softmax alone.
   *
   * @default {undefined}
   */
  sinks?: ReferenceTensor;
}

/** What {@linkcode attention} returns for any weight. */
export interface WeighedAttention {
  /** The weighted sum of the values, `[B, T, Hq, Dv]`; 0 where a query sees no key. */
  out: Float64Tensor;
  /** Of softmax alone: see {@linkcode AttentionResult}. */
  lse?: Float64Tensor;
  /**
   * What {@linkcode mergeAttention} needs to know of each row, `[B, T, Hq]`: `lse` of softmax; the
   * denominator of weights that are divided by their sum, 0 where a query sees no key; of
   * stick-breaking the logarithm of what is left, log Π_j (1 - σ(s_ij)) over the visible keys, 0 where
   * a query sees no key. Weights that are not divided have none.
   */
  aux?: Float64Tensor;
}

/** What {@linkcode attention} returns for softmax. */
export interface AttentionResult extends WeighedAttention {
  /**
   * The natural logarithm of the softmax's denominator, sink included, `[B, T, Hq]`; -Infinity where
   * a query sees neither key nor sink.
   */
  lse: Float64Tensor;
  /** The same as `lse`. */
  aux: Float64Tensor;
}

/**
 * Attention: out_i = Σ_j p_ij v_j over the keys j that query i sees, where s_ij = scale q_i · k_j and
 * the weights p_ij are the row's softmax, exp(s_ij) / (exp(sink) + Σ_j exp(s_ij)), or what `weight`
 * makes of the scores.
 *
 * The scores are scaled, capped, biased, hooked and masked, in this order. Query head h reads key and
 * value head floor(h / (Hq / Hkv)).
 *
 * @param q The queries, `[B, T, Hq, D]`.
 * @param k The keys, `[B, S, Hkv, D]`.
 * @param v The values, `[B, S, Hkv, Dv]`.
 * @param options What is changed about scores, mask and weights.
 * @returns The output, and what is needed to merge it: the log-sum-exp of each row.
 *
 * @example Causal attention over equal keys is a running mean
 * ```ts
 * import { attention } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const zeros = { data: [0, 0, 0], shape };
 * const v = { data: [6, 12, 30], shape };
 *
 * const { out } = attention(zeros, zeros, v, { causal: true });
 *
 * assertEquals(out.data, Float64Array.of(6, 9, 16));
 * ```
 *
 * @example ALiBi, and keys that only their neighbours see, weighed by sigmoids
 * ```ts
 * import { attention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const zeros = { data: [0, 0, 0], shape: [1, 3, 1, 1] };
 * const v = { data: [6, 12, 30], shape: [1, 3, 1, 1] };
 *
 * const { out } = attention(zeros, zeros, v, {
 *   score: (s, { i, j }) => s - Math.log(3) * Math.abs(i - j),
 *   mask: ({ i, j }) => Math.abs(i - j) < 2,
 *   weight: "sigmoid", // 1/2 at a score of 0, 1/4 at -ln 3
 * });
 *
 * assertAlmostEquals(out.data[0], 6 / 2 + 12 / 4);
 * assertAlmostEquals(out.data[1], 6 / 4 + 12 / 2 + 30 / 4);
 * ```
 */
export function attention<W extends AttentionWeight>(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: AttentionOptions & { weight: W },
): W extends "softmax" ? AttentionResult : WeighedAttention;
/**
 * The same for softmax, where no weight is named.
 *
 * @param q The queries, `[B, T, Hq, D]`.
 * @param k The keys, `[B, S, Hkv, D]`.
 * @param v The values, `[B, S, Hkv, Dv]`.
 * @param options What is changed about scores and mask.
 * @returns The output, and the log-sum-exp of each row.
 */
export function attention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options?: AttentionOptions & { weight?: "softmax" },
): AttentionResult;
export function attention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: AttentionOptions = {},
): WeighedAttention {
  const [batch, qLen, heads] = q.shape;
  const [, kvLen, kvHeads, valueDim] = v.shape;
  const { weight = "softmax", sinks } = options;
  const rowOf = scoreRows(q, k, options);
  const vs = new Float64Array(v.data);
  const out = new Float64Array(batch * qLen * heads * valueDim);
  const rows = new Float64Array(batch * qLen * heads);

  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / (heads / kvHeads));
      for (let i = 0; i < qLen; i++) {
        const row = (b * qLen + i) * heads + h;
        const outRow = out.subarray(row * valueDim, (row + 1) * valueDim);
        const { start, s: p } = rowOf(b, h, i);
        rows[row] = weigh(p, weight, sinks?.data[h] ?? -Infinity);
        for (let j = start; j < start + p.length; j++) {
          if (p[j - start] === 0) continue; // hidden: the value is not read
          const vStart = ((b * kvLen + j) * kvHeads + kvHead) * valueDim;
          for (let d = 0; d < valueDim; d++) outRow[d] += p[j - start] * vs[vStart + d];
        }
      }
    }
  }
  const result = { out: { data: out, shape: [batch, qLen, heads, valueDim] } };
  const aux = { data: rows, shape: [batch, qLen, heads] };
  const kind = auxOf(weight);
  if (kind === null) return result;
  return kind === "lse" ? { ...result, lse: aux, aux } : { ...result, aux };
}
