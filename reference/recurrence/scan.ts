import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import type { SequenceOptions } from "./options.ts";
import { sequencesOf } from "./sequences.ts";
import { zeros } from "./tensors.ts";

/** Options for {@linkcode scan} and {@linkcode logCumsumExp}. */
export interface ScanOptions extends SequenceOptions {
  /**
   * The value before the first token of each sequence, `[N, …]`; that of no token by default, 0 for
   * `scan` and -Infinity for `logCumsumExp`.
   *
   * @default {undefined}
   */
  initialState?: ReferenceTensor;
}

/** What {@linkcode scan} and {@linkcode logCumsumExp} return. */
export interface ScanResult {
  /** The value behind each token, `[B, T, …]`. */
  out: Float64Tensor;
  /** The value behind the last token of each sequence, `[N, …]`, where it is asked for. */
  finalState?: Float64Tensor;
}

/**
 * The linear scan along time: h_t = a_t h_{t-1} + b_t in each channel.
 *
 * a is the decay itself, not its logarithm; 0 restarts the scan.
 *
 * @param a The decays, `[B, T, …]`, with any axes behind the time.
 * @param b What is added, of the same shape.
 * @param options Initial and final values, sequences and their direction.
 * @returns h, and its last value in each sequence where it is asked for.
 *
 * @example A restart at the third token
 * ```ts
 * import { scan } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const a = { data: [1, 0.5, 0, 2], shape: [1, 4, 1] };
 * const b = { data: [8, 1, 3, 1], shape: [1, 4, 1] };
 *
 * const { out } = scan(a, b);
 *
 * assertEquals(out.data, Float64Array.of(8, 5, 3, 7));
 * ```
 */
export function scan(
  a: ReferenceTensor,
  b: ReferenceTensor,
  options: ScanOptions = {},
): ScanResult {
  return along(b, 0, options, (h, t) => a.data[t] * h + b.data[t]);
}

/**
 * The logarithm of the running sum of exponentials: z_t = log Σ_{s<=t} exp(x_s) in each channel.
 *
 * An initial value joins the sum as one more x. Sums of nothing but -Infinity are -Infinity.
 *
 * @param x The exponents, `[B, T, …]`, with any axes behind the time.
 * @param options Initial and final values, sequences and their direction.
 * @returns z, and its last value in each sequence where it is asked for.
 *
 * @example Three ones
 * ```ts
 * import { logCumsumExp } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const { out } = logCumsumExp({ data: [1000, 1000, 1000], shape: [1, 3, 1] });
 *
 * [1, 2, 3].forEach((sum, t) => assertAlmostEquals(out.data[t], 1000 + Math.log(sum)));
 * ```
 */
export function logCumsumExp(x: ReferenceTensor, options: ScanOptions = {}): ScanResult {
  return along(x, -Infinity, options, (z, t) => {
    const m = Math.max(z, x.data[t]);
    return m === -Infinity ? m : m + Math.log1p(Math.exp(Math.min(z, x.data[t]) - m));
  });
}

/** Runs each channel of each sequence through a step; `at` is the index of the element. */
function along(
  { shape }: ReferenceTensor,
  start: number,
  { initialState, finalState = false, cuSeqlens, reverse = false }: ScanOptions,
  step: (last: number, at: number) => number,
): ScanResult {
  const [batch, length, ...axes] = shape;
  const channels = axes.reduce((product, axis) => product * axis, 1);
  const sequences = sequencesOf(batch, length, cuSeqlens, reverse);
  const out = zeros(shape);
  const last = zeros([sequences.length, ...axes]);
  for (const { n, tokens } of sequences) {
    for (let c = 0; c < channels; c++) {
      let value = initialState ? initialState.data[n * channels + c] : start;
      for (const t of tokens) {
        value = step(value, t * channels + c);
        out.data[t * channels + c] = value;
      }
      last.data[n * channels + c] = value;
    }
  }
  return finalState ? { out, finalState: last } : { out };
}

/** The state of {@linkcode softmaxScan}: Σ exp(s) v is exp(m) w and Σ exp(s) is exp(m) u. */
export interface SoftmaxScanState {
  /** The largest score, `[N, H]`; -Infinity before the first token. */
  m: ReferenceTensor;
  /** The sum of exp(s - m), `[N, H]`. */
  u: ReferenceTensor;
  /** The sum of exp(s - m) v, `[N, H, V]`. */
  w: ReferenceTensor;
}

/** The state of {@linkcode softmaxScan} as it returns it. */
export interface Float64SoftmaxScanState extends SoftmaxScanState {
  /** The largest score, `[N, H]`; -Infinity before the first token. */
  m: Float64Tensor;
  /** The sum of exp(s - m), `[N, H]`. */
  u: Float64Tensor;
  /** The sum of exp(s - m) v, `[N, H, V]`. */
  w: Float64Tensor;
}

/** Options for {@linkcode softmaxScan}. */
export interface SoftmaxScanOptions extends SequenceOptions {
  /**
   * The state before the first token of each sequence; that of no token by default.
   *
   * @default {undefined}
   */
  initialState?: SoftmaxScanState;
}

/** What {@linkcode softmaxScan} returns. */
export interface SoftmaxScanResult {
  /** The running weighted mean of the values, `[B, T, H, V]`; 0 while all scores are -Infinity. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: Float64SoftmaxScanState;
}

/**
 * The scan of Aaren (Feng et al., Attention as an RNN, 2024): o_t = Σ_{i<=t} exp(s_i) v_i /
 * Σ_{i<=t} exp(s_i), a running softmax over the tokens so far.
 *
 * The state is (m, u, w), as in online softmax: m_t = max(m_{t-1}, s_t), u_t and w_t are the sums of
 * exp(s_i - m_t) and of exp(s_i - m_t) v_i, and o_t = w_t / u_t. In the paper s_i is q · k_i with one
 * learned query for each head.
 *
 * @param s The scores, `[B, T, H]`.
 * @param v The values, `[B, T, H, V]`.
 * @param options Initial and final states, sequences and their direction.
 * @returns The output, and the final state where it is asked for.
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { softmaxScan } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const s = { data: [0, Math.log(3)], shape: [1, 2, 1] };
 *
 * const { out } = softmaxScan(s, { data: [4, 8], shape: [1, 2, 1, 1] });
 *
 * assertAlmostEquals(out.data[0], 4);
 * assertAlmostEquals(out.data[1], 7);
 * ```
 */
export function softmaxScan(
  s: ReferenceTensor,
  v: ReferenceTensor,
  options: SoftmaxScanOptions = {},
): SoftmaxScanResult {
  const [batch, length, heads, valueDim] = v.shape;
  const { initialState, finalState = false, cuSeqlens, reverse = false } = options;
  const sequences = sequencesOf(batch, length, cuSeqlens, reverse);
  const rows = [sequences.length, heads];
  const [m, u, w] = [zeros(rows), zeros(rows), zeros([...rows, valueDim])];
  m.data.set(initialState?.m.data ?? m.data.map(() => -Infinity));
  u.data.set(initialState?.u.data ?? []);
  w.data.set(initialState?.w.data ?? []);
  const out = zeros(v.shape);

  for (const { n, tokens } of sequences) {
    for (let h = 0; h < heads; h++) {
      const row = n * heads + h;
      const sums = w.data.subarray(row * valueDim, (row + 1) * valueDim);
      for (const t of tokens) {
        const score = s.data[t * heads + h];
        if (score > -Infinity) {
          const last = m.data[row];
          m.data[row] = Math.max(last, score);
          const [alpha, p] = [Math.exp(last - m.data[row]), Math.exp(score - m.data[row])];
          u.data[row] = alpha * u.data[row] + p;
          for (let e = 0; e < valueDim; e++) {
            sums[e] = alpha * sums[e] + p * v.data[(t * heads + h) * valueDim + e];
          }
        }
        for (let e = 0; e < valueDim && u.data[row] > 0; e++) {
          out.data[(t * heads + h) * valueDim + e] = sums[e] / u.data[row];
        }
      }
    }
  }
  return finalState ? { out, finalState: { m, u, w } } : { out };
}
