import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode attention}. */
export interface AttentionOptions {
  /**
   * The factor of q · k.
   *
   * @default {D ** -0.5}
   */
  scale?: number;
  /**
   * Hides the keys after a query's own. Query i owns key i + S - T when `true` (the last query meets
   * the last key), key i when `"top-left"`.
   *
   * @default {false}
   */
  causal?: boolean | "top-left";
  /**
   * How many keys before and after its own a query sees; a missing side is unbounded.
   *
   * @default {undefined}
   */
  window?: { left?: number; right?: number };
  /**
   * Bounds the scores: s becomes softcap · tanh(s / softcap).
   *
   * @default {undefined}
   */
  softcap?: number;
  /**
   * A logit for each head, `[Hq]`, that joins the denominator only.
   *
   * @default {undefined}
   */
  sinks?: ReferenceTensor;
  /**
   * Added to the scores, `[B|1, Hq|1, T|1, S]`; -Infinity hides the key.
   *
   * @default {undefined}
   */
  bias?: ReferenceTensor;
}

/** What {@linkcode attention} returns. */
export interface AttentionResult {
  /** The weighted mean of the values, `[B, T, Hq, Dv]`; 0 where a query sees no key. */
  out: Float64Tensor;
  /**
   * The natural logarithm of the softmax's denominator, sink included, `[B, T, Hq]`; -Infinity where
   * a query sees neither key nor sink.
   */
  lse: Float64Tensor;
}

/**
 * Softmax attention: out_i = Σ_j p_ij v_j over the keys j that query i sees, where
 * p_ij = exp(s_ij) / (exp(sink) + Σ_j exp(s_ij)) and s_ij = scale q_i · k_j.
 *
 * The scores are scaled, capped, biased and masked, in this order. Query head h reads key and value
 * head floor(h / (Hq / Hkv)).
 *
 * @param q The queries, `[B, T, Hq, D]`.
 * @param k The keys, `[B, S, Hkv, D]`.
 * @param v The values, `[B, S, Hkv, Dv]`.
 * @param options What is changed about scores and mask.
 * @returns The output and the log-sum-exp of each row.
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
 */
export function attention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: AttentionOptions = {},
): AttentionResult {
  const [batch, qLen, heads, headDim] = q.shape;
  const [, kvLen, kvHeads, valueDim] = v.shape;
  const { scale = headDim ** -0.5, softcap, sinks, bias } = options;
  const qs = new Float64Array(q.data);
  const ks = new Float64Array(k.data);
  const vs = new Float64Array(v.data);
  const biases = new Float64Array(bias?.data ?? []);
  const s = new Float64Array(kvLen);
  const out = new Float64Array(batch * qLen * heads * valueDim);
  const lse = new Float64Array(batch * qLen * heads);

  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / (heads / kvHeads));
      const sink = sinks?.data[h] ?? -Infinity;
      for (let i = 0; i < qLen; i++) {
        const [start, end] = visibleKeys(i, qLen, kvLen, options);
        const row = (b * qLen + i) * heads + h;
        const qRow = qs.subarray(row * headDim, (row + 1) * headDim);
        const outRow = out.subarray(row * valueDim, (row + 1) * valueDim);
        const biasRow = bias ? broadcastRow(bias.shape, b, h, i) : 0;

        let m = sink;
        for (let j = start; j < end; j++) {
          const kStart = ((b * kvLen + j) * kvHeads + kvHead) * headDim;
          let dot = 0;
          for (let d = 0; d < headDim; d++) dot += qRow[d] * ks[kStart + d];
          s[j] = scale * dot;
          if (softcap !== undefined) s[j] = softcap * Math.tanh(s[j] / softcap);
          if (bias) s[j] += biases[biasRow + j];
          m = Math.max(m, s[j]);
        }
        lse[row] = m;
        if (m === -Infinity) continue; // neither key nor sink: out stays 0

        let l = Math.exp(sink - m);
        for (let j = start; j < end; j++) l += Math.exp(s[j] - m);
        lse[row] += Math.log(l);
        for (let j = start; j < end; j++) {
          const p = Math.exp(s[j] - m) / l;
          const vStart = ((b * kvLen + j) * kvHeads + kvHead) * valueDim;
          for (let d = 0; d < valueDim; d++) outRow[d] += p * vs[vStart + d];
        }
      }
    }
  }
  return {
    out: { data: out, shape: [batch, qLen, heads, valueDim] },
    lse: { data: lse, shape: [batch, qLen, heads] },
  };
}

/** The keys start <= j < end that mask and window leave to query i. */
function visibleKeys(
  i: number,
  qLen: number,
  kvLen: number,
  { causal = false, window = {} }: AttentionOptions,
): [start: number, end: number] {
  const { left = Infinity, right = Infinity } = window;
  const diagonal = causal === "top-left" ? i : i + kvLen - qLen;
  const last = causal ? Math.min(diagonal, diagonal + right) : diagonal + right;
  return [Math.max(0, diagonal - left), Math.min(kvLen, last + 1)];
}

/** Where the row of query i of head h of batch b begins in a bias of this shape. */
function broadcastRow(shape: readonly number[], b: number, h: number, i: number): number {
  const [batch, heads, qLen, kvLen] = shape;
  const head = (batch === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h);
  return (head * qLen + (qLen === 1 ? 0 : i)) * kvLen;
}
