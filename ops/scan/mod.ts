import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  type CheckedScan,
  hgrnProblem,
  hgrnStepProblem,
  logCumsumExpProblem,
  type ScanOptions,
  scanProblem,
  type SoftmaxScanOptions,
  softmaxScanProblem,
  type SoftmaxScanState,
} from "./problem.ts";
import { runScan } from "./run.ts";

export type { ScanOptions, SoftmaxScanOptions, SoftmaxScanState, TimeOptions } from "./problem.ts";

/** What {@linkcode scan}, {@linkcode hgrn} and {@linkcode logCumsumExp} return. */
export interface ScanResult<T extends "f32" | "f16"> {
  /** The value behind each token, `[B, T, …]`, in the dtype of b or x. */
  out: Tensor<T>;
  /** The value behind the last token of each sequence, f32 `[N, …]`, where it is asked for. */
  finalState?: Tensor<"f32">;
}

/** What {@linkcode softmaxScan} returns. */
export interface SoftmaxScanResult<T extends "f32" | "f16"> {
  /** The running weighted mean of the values, `[B, T, H, V]`, in the dtype of v. */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: SoftmaxScanState;
}

/**
 * The linear scan along time: h_t = a_t h_{t-1} + b_t in each channel.
 *
 * a is the decay itself, not its logarithm, of any sign; 0 restarts the scan, save behind a value that
 * is infinite or NaN, for 0 times that is NaN. Legend: B batch, T tokens, N sequences. Values are f32
 * inside. Definition: Blelloch, "Prefix sums and their applications" (1990), section 1.4.
 *
 * @typeParam T storage of b
 * @param a decays, `[B, T, …]` with any axes behind the time, f32 or f16
 * @param b what is added, of the same shape
 * @param options initial and final values, sequences and their direction, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A restart at the third token
 * ```ts
 * import { requestGpu, scan } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const a = gpu.tensor(Float32Array.of(1, 0.5, 0, 2), [1, 4, 1]);
 * const b = gpu.tensor(Float32Array.of(8, 1, 3, 1), [1, 4, 1]);
 * const { out } = scan(a, b);
 * assertEquals(await out.read(), Float32Array.of(8, 5, 3, 7));
 * ```
 */
export function scan<T extends "f32" | "f16">(
  a: Tensor,
  b: Tensor<T>,
  options: ScanOptions = {},
): ScanResult<T> {
  return recall(runLinear<T>, a, b, options);
}

function runLinear<T extends "f32" | "f16">(
  a: Tensor,
  b: Tensor<T>,
  options: ScanOptions,
): ScanResult<T> {
  return runChannels(scanProblem(a, b, options), { a, b }, b, options);
}

/**
 * The recurrence of HGRN: h_t = e^{g_t} h_{t-1} + x_t in each channel.
 *
 * g is the natural logarithm of the forget gate: 0 keeps, −88 and less clear what came before, −∞ among
 * them. x is all that a token adds, the paper's (1 − e^{g_t}) i_t; nothing is multiplied here, and out
 * is h itself, before the paper's output gate. It is `scan` with the decays e^g, which are computed on
 * load. Legend: B batch, T tokens, N sequences. Values are f32 inside.
 *
 * Definition: Qin et al., "Hierarchically Gated Recurrent Neural Network for Sequence Modeling" (2023).
 *
 * @typeParam T storage of x
 * @param x what is added, `[B, T, …]` with any axes behind the time
 * @param g gates, of the same shape, f32 or f16
 * @param options initial and final values, sequences and their direction, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A moving average
 * ```ts
 * import { hgrn, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const g = gpu.tensor(Float32Array.of(-Math.LN2, -Math.LN2), [1, 2, 1]);
 * const x = gpu.tensor(Float32Array.of(0.5 * 8, 0.5 * 6), [1, 2, 1]);
 * const { out } = hgrn(x, g);
 * assertAlmostEquals((await out.read())[1], 0.5 * 4 + 0.5 * 6, 1e-5);
 * ```
 */
export function hgrn<T extends "f32" | "f16">(
  x: Tensor<T>,
  g: Tensor,
  options: ScanOptions = {},
): ScanResult<T> {
  return recall(runHgrn<T>, x, g, options);
}

function runHgrn<T extends "f32" | "f16">(
  x: Tensor<T>,
  g: Tensor,
  options: ScanOptions,
): ScanResult<T> {
  return runChannels(hgrnProblem(x, g, options), { x, g }, x, options);
}

/**
 * The next token of `hgrn`, in place; or the next few.
 *
 * @typeParam T storage of x
 * @param state f32 `[B, …]`: the value before the token, then the one behind it
 * @param x what is added, `[B, 1, …]`
 * @param g gates, of the same shape, f32 or f16
 * @returns `[B, 1, …]`
 * @throws TypeError if a tensor, shape or dtype does not fit
 *
 * @example A sum that halves with each token
 * ```ts
 * import { hgrnStep, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const state = gpu.tensor(Float32Array.of(8), [1, 1]);
 * const g = gpu.tensor(Float32Array.of(-Math.LN2), [1, 1, 1]);
 * hgrnStep(state, gpu.tensor(Float32Array.of(1), [1, 1, 1]), g);
 * assertAlmostEquals((await state.read())[0], 0.5 * 8 + 1, 1e-5);
 * ```
 */
export function hgrnStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  x: Tensor<T>,
  g: Tensor,
): Tensor<T> {
  return recall(stepHgrn<T>, state, x, g);
}

function stepHgrn<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  x: Tensor<T>,
  g: Tensor,
): Tensor<T> {
  const checked = hgrnStepProblem(state, x, g);
  const axes = { state: x.shape.slice(2) };
  const inputs = { x, g };
  return runScan(checked, { inputs, like: x, initial: { state }, axes, inPlace: true }).out;
}

/**
 * The logarithm of the running sum of exponentials: z_t = log Σ_{s≤t} exp(x_s) in each channel.
 *
 * Nothing overflows, however large x is: sums are kept as exp(m) u with m their largest exponent. An
 * initial value joins the sum as one more x. Sums of nothing but −∞ are −∞, and exponents below −1e30
 * count as −∞. Legend: B batch, T tokens, N sequences.
 *
 * Definition: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), with all
 * intermediate results; as LightNet normalises its keys (Qin et al., 2024).
 *
 * @typeParam T storage of x
 * @param x exponents, `[B, T, …]` with any axes behind the time
 * @param options initial and final values, sequences and their direction, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Three thousands
 * ```ts
 * import { logCumsumExp, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const { out } = logCumsumExp(gpu.tensor(Float32Array.of(1000, 1000, 1000), [1, 3, 1]));
 * const z = await out.read();
 * [1, 2, 3].forEach((sum, t) => assertAlmostEquals(z[t], 1000 + Math.log(sum), 1e-3));
 * ```
 */
export function logCumsumExp<T extends "f32" | "f16">(
  x: Tensor<T>,
  options: ScanOptions = {},
): ScanResult<T> {
  return recall(runLogCumsumExp<T>, x, options);
}

function runLogCumsumExp<T extends "f32" | "f16">(
  x: Tensor<T>,
  options: ScanOptions,
): ScanResult<T> {
  return runChannels(logCumsumExpProblem(x, options), { x }, x, options);
}

/**
 * A running softmax over the tokens so far: o_t = Σ_{i≤t} exp(s_i) v_i / Σ_{i≤t} exp(s_i).
 *
 * The state is (m, u, w) as in online softmax: m_t = max(m_{t-1}, s_t), u_t and w_t are the sums of
 * exp(s_i − m_t) and of exp(s_i − m_t) v_i, and o_t = w_t / u_t, or 0 while all scores are −∞; scores
 * below −1e30 count as −∞, and their values are not read. Legend: B batch, T tokens, H heads, V value
 * dim, N sequences. Definition: Feng et al., "Attention as an RNN" (Aaren, 2024), where s_i is q · k_i
 * with one learned query for each head.
 *
 * @typeParam T storage of v
 * @param s scores, `[B, T, H]`, f32 or f16
 * @param v values, `[B, T, H, V]`, V of any size
 * @param options initial and final states, sequences and their direction, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { requestGpu, softmaxScan } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const s = gpu.tensor(Float32Array.of(0, Math.log(3)), [1, 2, 1]);
 * const { out } = softmaxScan(s, gpu.tensor(Float32Array.of(4, 8), [1, 2, 1, 1]));
 * const o = await out.read();
 * [4, 7].forEach((expected, t) => assertAlmostEquals(o[t], expected, 1e-5));
 * ```
 */
export function softmaxScan<T extends "f32" | "f16">(
  s: Tensor,
  v: Tensor<T>,
  options: SoftmaxScanOptions = {},
): SoftmaxScanResult<T> {
  return recall(runSoftmax<T>, s, v, options);
}

function runSoftmax<T extends "f32" | "f16">(
  s: Tensor,
  v: Tensor<T>,
  options: SoftmaxScanOptions,
): SoftmaxScanResult<T> {
  const checked = softmaxScanProblem(s, v, options);
  const [, , heads, valueDim] = v.shape;
  const { out, final } = runScan(checked, {
    inputs: { s, v },
    like: v,
    initial: options.initialState,
    axes: { m: [heads], u: [heads], w: [heads, valueDim] },
  });
  return final ? { out, finalState: final } : { out };
}

/** Runs a scan whose state is one value for each channel. */
function runChannels<T extends "f32" | "f16">(
  checked: CheckedScan,
  inputs: Readonly<Record<string, Tensor>>,
  like: Tensor<T>,
  { initialState }: ScanOptions,
): ScanResult<T> {
  const { out, final } = runScan(checked, {
    ...{ inputs, like },
    initial: initialState && { state: initialState },
    axes: { state: like.shape.slice(2) },
  });
  return final ? { out, finalState: final.state } : { out };
}
