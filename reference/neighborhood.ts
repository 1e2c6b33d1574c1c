import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";
import { type NeighborhoodAxis, visibleKeys } from "./visible_keys.ts";

/** Which keys a query sees: one value for all token axes, or one for each. */
export interface NeighborhoodWindow {
  /** How many keys a query sees on an axis. */
  windowSize: number | readonly number[];
  /**
   * How many consecutive queries of a dilation group share one window.
   *
   * @default {1}
   */
  stride?: number | readonly number[];
  /**
   * The distance between neighbouring keys of a window.
   *
   * @default {1}
   */
  dilation?: number | readonly number[];
  /**
   * Hides the keys after a query's own on this axis.
   *
   * @default {false}
   */
  causal?: boolean | readonly boolean[];
}

/** Options for {@linkcode neighborhoodAttention}. */
export interface NeighborhoodAttentionOptions extends NeighborhoodWindow {
  /**
   * Keys that every query sees, `[B, E, Hkv, D]`.
   *
   * @default {undefined}
   */
  additionalKeys?: ReferenceTensor;
  /**
   * The values of the additional keys, `[B, E, Hkv, Dv]`.
   *
   * @default {undefined}
   */
  additionalValues?: ReferenceTensor;
  /**
   * The factor of q · k.
   *
   * @default {D ** -0.5}
   */
  scale?: number;
}

/** What {@linkcode neighborhoodAttention} returns. */
export interface NeighborhoodAttentionResult {
  /** The weighted mean of the values, `[B, X(, Y(, Z)), Hq, Dv]`. */
  out: Float64Tensor;
  /**
   * The natural logarithm of the softmax's denominator, additional keys included,
   * `[B, X(, Y(, Z)), Hq]`.
   */
  lse: Float64Tensor;
}

/**
 * Neighborhood attention: softmax attention over the keys around each query, on 1, 2 or 3 token axes.
 *
 * out_x = Σ_y p_xy v_y over the keys y in N(x) and the E additional keys, where
 * p_xy = exp(s_xy) / Σ_y exp(s_xy) and s_xy = scale q_x · k_y. N(x) is the product of what
 * {@linkcode visibleKeys} gives on each axis. Query head h reads key and value head
 * floor(h / (Hq / Hkv)).
 *
 * @param q The queries, `[B, X(, Y(, Z)), Hq, D]`.
 * @param k The keys, `[B, X(, Y(, Z)), Hkv, D]`.
 * @param v The values, `[B, X(, Y(, Z)), Hkv, Dv]`.
 * @param options The window, and what else is changed about mask and scores.
 * @returns The output and the log-sum-exp of each row.
 *
 * @example Equal keys give the mean of three values; at an edge the window slides back inside
 * ```ts
 * import { neighborhoodAttention } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 5, 1, 1];
 * const zeros = { data: [0, 0, 0, 0, 0], shape };
 * const v = { data: [3, 6, 9, 12, 15], shape };
 *
 * const { out } = neighborhoodAttention(zeros, zeros, v, { windowSize: 3 });
 *
 * assertEquals(out.data.map(Math.round), Float64Array.of(6, 6, 9, 12, 12));
 * ```
 */
export function neighborhoodAttention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: NeighborhoodAttentionOptions,
): NeighborhoodAttentionResult {
  const [batch, ...lengths] = q.shape.slice(0, -2);
  const [heads, headDim] = q.shape.slice(-2);
  const [kvHeads, valueDim] = v.shape.slice(-2);
  const { scale = headDim ** -0.5, additionalKeys, additionalValues } = options;
  const axes = lengths.map((length, axis) => axisOf(length, axis, options));
  const tokens = lengths.reduce((product, length) => product * length, 1);
  const kvLen = tokens + (additionalKeys?.shape[1] ?? 0);
  const qs = new Float64Array(q.data);
  const ks = concatenate(batch, k, additionalKeys);
  const vs = concatenate(batch, v, additionalValues);
  const s = new Float64Array(kvLen);
  const out = new Float64Array(batch * tokens * heads * valueDim);
  const lse = new Float64Array(batch * tokens * heads);

  for (let x = 0; x < tokens; x++) {
    const keys = neighborhood(x, axes);
    for (let y = tokens; y < kvLen; y++) keys.push(y);
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const kvHead = Math.floor(h / (heads / kvHeads));
        const row = (b * tokens + x) * heads + h;
        const qRow = qs.subarray(row * headDim, (row + 1) * headDim);
        const outRow = out.subarray(row * valueDim, (row + 1) * valueDim);

        let m = -Infinity;
        for (const y of keys) {
          const kStart = ((b * kvLen + y) * kvHeads + kvHead) * headDim;
          let dot = 0;
          for (let d = 0; d < headDim; d++) dot += qRow[d] * ks[kStart + d];
          s[y] = scale * dot;
          m = Math.max(m, s[y]);
        }

        let l = 0;
        for (const y of keys) l += Math.exp(s[y] - m);
        lse[row] = m + Math.log(l);
        for (const y of keys) {
          const p = Math.exp(s[y] - m) / l;
          const vStart = ((b * kvLen + y) * kvHeads + kvHead) * valueDim;
          for (let d = 0; d < valueDim; d++) outRow[d] += p * vs[vStart + d];
        }
      }
    }
  }
  return {
    out: { data: out, shape: [batch, ...lengths, heads, valueDim] },
    lse: { data: lse, shape: [batch, ...lengths, heads] },
  };
}

/** The tokens that token x sees: the product of what it sees on each axis, last axis fastest. */
function neighborhood(x: number, axes: readonly NeighborhoodAxis[]): number[] {
  let keys = [0];
  let inner = axes.reduce((product, { length }) => product * length, 1);
  for (const axis of axes) {
    inner /= axis.length; // how many tokens one step on this axis skips
    const seen = visibleKeys(axis, Math.floor(x / inner) % axis.length);
    keys = keys.flatMap((y) => seen.map((place) => y + place * inner));
  }
  return keys;
}

/** What the options say about one axis. */
export function axisOf(
  length: number,
  axis: number,
  { windowSize, stride = 1, dilation = 1, causal = false }: NeighborhoodWindow,
): NeighborhoodAxis {
  return {
    length,
    windowSize: typeof windowSize === "number" ? windowSize : windowSize[axis],
    stride: typeof stride === "number" ? stride : stride[axis],
    dilation: typeof dilation === "number" ? dilation : dilation[axis],
    causal: typeof causal === "boolean" ? causal : causal[axis],
  };
}

/** The tokens of each batch with its additional tokens behind them, `[B, T + E, Hkv, D]`. */
function concatenate(
  batch: number,
  x: ReferenceTensor,
  additional?: ReferenceTensor,
): Float64Array {
  const [own, extra] = [new Float64Array(x.data), new Float64Array(additional?.data ?? [])];
  const [size, extraSize] = [own.length / batch, extra.length / batch];
  const all = new Float64Array(own.length + extra.length);
  for (let b = 0; b < batch; b++) {
    const start = b * (size + extraSize);
    all.set(own.subarray(b * size, (b + 1) * size), start);
    all.set(extra.subarray(b * extraSize, (b + 1) * extraSize), start + size);
  }
  return all;
}
