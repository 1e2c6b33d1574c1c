import { type ScoreOptions, scoreRows } from "./scores.ts";
import {
  argMaxOf,
  blockMaxOf,
  columnSumsOf,
  diagonalSumsOf,
  entropyOf,
  lseOf,
  type MatrixRow,
  type MatrixSizes,
  topKOf,
} from "./statistics_collectors.ts";
import type { Float64Tensor, Int32Tensor, ReferenceTensor } from "./tensor.ts";
import { weigh } from "./weights.ts";

/** Options for {@linkcode attentionStatistics}: what is scored, and what is asked for. */
export interface AttentionStatisticsOptions extends ScoreOptions {
  /**
   * Asks for the log-sum-exp of each row.
   *
   * @default {false}
   */
  lse?: boolean;
  /**
   * Asks for how much weight each key gets.
   *
   * @default {false}
   */
  columnSums?: boolean;
  /**
   * Asks for how much weight each distance of key and query gets.
   *
   * @default {false}
   */
  diagonalSums?: boolean;
  /**
   * Asks for the largest score of each block of queries and keys.
   *
   * @default {undefined}
   */
  blockMax?: {
    /** How many consecutive queries make a block. */
    queryBlock: number;
    /** How many consecutive keys make a block. */
    keyBlock: number;
  };
  /**
   * Asks for that many of the largest scores of each row.
   *
   * @default {undefined}
   */
  topK?: number;
  /**
   * Asks for the entropy of each row.
   *
   * @default {false}
   */
  entropy?: boolean;
  /**
   * Asks for the key with the largest score of each row.
   *
   * @default {false}
   */
  argMax?: boolean;
}

/** What {@linkcode attentionStatistics} returns: what was asked for. */
export interface AttentionStatistics {
  /** log Σ_j exp(s_ij), natural, `[B, T, Hq]`; -Infinity where query i sees no key. */
  lse?: Float64Tensor;
  /** Σ_i p_ij, `[B, S, Hq]`. */
  columnSums?: Float64Tensor;
  /** Σ_i p_ij over the pairs with j - i + T - 1 = n, `[B, T + S - 1, Hq]`. */
  diagonalSums?: Float64Tensor;
  /**
   * The largest s_ij of each block, `[B, Hq, ceil(T / queryBlock), ceil(S / keyBlock)]`; -Infinity
   * where no query of the block sees a key of it.
   */
  blockMax?: Float64Tensor;
  /** The largest s_ij of each row, `[B, T, Hq, topK]`, -Infinity where a query sees fewer keys. */
  topK?: {
    /** Their keys j, largest score first, of equals the smaller j; then -1. */
    indices: Int32Tensor;
    /** The scores. */
    values: Float64Tensor;
  };
  /** -Σ_j p_ij log p_ij, in nats, `[B, T, Hq]`; 0 where query i sees no key. */
  entropy?: Float64Tensor;
  /** The j with the largest s_ij, of equals the smallest, `[B, T, Hq]`; -1 where i sees no key. */
  argMax?: Int32Tensor;
}

/**
 * Statistics of the attention matrix p_ij = softmax_j(s_ij), without the matrix.
 *
 * The scores are those of {@linkcode attention}; its sinks are left out.
 *
 * @param q The queries, `[B, T, Hq, D]`.
 * @param k The keys, `[B, S, Hkv, D]`.
 * @param options What is changed about scores and mask, and which statistics are wanted.
 * @returns The statistics asked for.
 *
 * @example How much attention each key gets of two causal queries with equal scores
 * ```ts
 * import { attentionStatistics } from "@tessera/kernels/reference";
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 *
 * const zeros = { data: [0, 0], shape: [1, 2, 1, 1] };
 *
 * const { columnSums, entropy, lse } = attentionStatistics(zeros, zeros, {
 *   causal: true,
 *   columnSums: true,
 *   entropy: true,
 * });
 *
 * assertEquals(columnSums?.data, Float64Array.of(1 + 1 / 2, 1 / 2));
 * assertAlmostEquals(entropy?.data[1] ?? NaN, Math.log(2));
 * assertEquals(lse, undefined); // not asked for
 * ```
 */
export function attentionStatistics(
  q: ReferenceTensor,
  k: ReferenceTensor,
  options: AttentionStatisticsOptions,
): AttentionStatistics {
  const [batch, qLen, heads] = q.shape;
  const sizes = { batch, qLen, kvLen: k.shape[1], heads };
  const { blockMax, topK } = options;
  const collectors = {
    ...(options.lse && { lse: lseOf(sizes) }),
    ...(options.columnSums && { columnSums: columnSumsOf(sizes) }),
    ...(options.diagonalSums && { diagonalSums: diagonalSumsOf(sizes) }),
    ...(blockMax && { blockMax: blockMaxOf(sizes, blockMax) }),
    ...(topK !== undefined && { topK: topKOf(sizes, topK) }),
    ...(options.entropy && { entropy: entropyOf(sizes) }),
    ...(options.argMax && { argMax: argMaxOf(sizes) }),
  };
  for (const row of rowsOf(q, k, options, sizes)) {
    for (const { add } of Object.values(collectors)) add(row);
  }
  return Object.fromEntries(
    Object.entries(collectors).map(([name, { result }]) => [name, result]),
  );
}

/** Every row of the matrix. */
function* rowsOf(
  q: ReferenceTensor,
  k: ReferenceTensor,
  options: ScoreOptions,
  { batch, qLen, kvLen, heads }: MatrixSizes,
): Generator<MatrixRow> {
  const rowOf = scoreRows(q, k, options);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < qLen; i++) {
      for (let h = 0; h < heads; h++) {
        const seen = rowOf(b, h, i);
        const s = new Float64Array(kvLen).fill(-Infinity);
        if (seen.s.length > 0) s.set(seen.s, seen.start);
        const p = s.slice();
        const lse = weigh(p, "softmax", -Infinity);
        yield { b, h, i, row: (b * qLen + i) * heads + h, s, p, lse };
      }
    }
  }
}
