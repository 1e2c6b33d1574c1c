import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  MLSTM_ACTION as ACTION,
  type MlstmOptions,
  type MlstmResult,
  type MlstmState,
  type MlstmStepOptions,
  runMlstm,
} from "./mlstm_run.ts";

export type {
  MlstmForm,
  MlstmOptions,
  MlstmResult,
  MlstmState,
  MlstmStepOptions,
} from "./mlstm_run.ts";

const STEP_OPTIONS: readonly (keyof MlstmStepOptions)[] = [
  ...["gate", "eps", "scale", "stateLayout", "schedule"] as const,
];
const OPTIONS: readonly (keyof MlstmOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"] as const,
];

/**
 * The mLSTM (Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024): C_t = f'_t C_{t−1} + i'_t k_tᵀ
 * v_t, n_t = f'_t n_{t−1} + i'_t k_t and h_t = scale · q_t C_t / (max(|scale · q_t · n_t|, l_t) + eps).
 *
 * With the gate `"exp"` the stabiliser is m_t = max(log sigmoid(f_t) + m_{t−1}, i_t), and f'_t =
 * exp(log sigmoid(f_t) + m_{t−1} − m_t), i'_t = exp(i_t − m_t), l_t = exp(−m_t): the decay is sigmoid(f),
 * the input gate exp(i) and l 1, all of it divided by exp(m). With `"sigmoid"` (Beck et al., "Tiled Flash
 * Linear Attention", 2025) f'_t = sigmoid(f_t), i'_t = sigmoid(i_t) and l_t = 1.
 *
 * A scan along time writes f', i' and l to scratch tensors, f32 `[B, T, HV]` and `[B, T, 2 HV]`, that live
 * until the call has run; the engine of `recurrence` reads them. Heads are grouped as in `recurrence`.
 *
 * Input gates of any size stay exact, but an m that is carried from call to call is one f32: of 1e4 it
 * has three decimals, and c and n are what that m makes of them. exp(−m) counts as e^88 where m is below
 * −88, and there outputs are below 1e-36.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param i `[B, T, HV]`, f32 or f16: the input gates before exp or sigmoid
 * @param f `[B, T, HV]`, f32 or f16: the forget gates before the sigmoid
 * @param options gate, eps, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Weights of 1 and 3 for the first and the second token
 * ```ts
 * import { mlstm, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 2, 1, 1]);
 * const gates = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 2, 1]);
 * const [i, f] = [gates(0, Math.log(3)), gates(100, 100)];
 * const { out } = mlstm(x(1, 1), x(1, 1), x(4, 8), i, f, { eps: 0 });
 * const o = await out.read();
 * [4, 7].forEach((expected, t) => assertAlmostEquals(o[t], expected, 1e-5));
 * ```
 */
export function mlstm<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  i: Tensor,
  f: Tensor,
  options: MlstmOptions = {},
): MlstmResult<T> {
  checkOptionNames(ACTION, options, OPTIONS);
  return recall(runMlstm<T>, { q, k, v, i, f }, options, false);
}

/**
 * The next token of `mlstm`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state f32, c `[B, HV, K, V]`, n `[B, HV, K]` and m `[B, HV]`: the state before the token, then the
 * one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param i `[B, 1, HV]`
 * @param f `[B, 1, HV]`
 * @param options gate, eps, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function mlstmStep<T extends "f32" | "f16">(
  state: MlstmState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  i: Tensor,
  f: Tensor,
  options: MlstmStepOptions = {},
): Tensor<T> {
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  // without a state there would be none to go on from, and none to leave
  if (state === undefined) {
    throw new TypeError(`Cannot ${ACTION} as a step needs a state: state is undefined`);
  }
  const stepped = { ...options, initialState: state, mode: "loop" as const };
  return recall(runMlstm<T>, { q, k, v, i, f }, stepped, true).out;
}
