import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchLogLinear } from "./launch.ts";
import {
  type LogLinearAttentionOptions,
  type LogLinearState,
  type LogLinearStepOptions,
  STEP_OPTIONS,
} from "./options.ts";
import { planLogLinear } from "./plan.ts";
import { ACTION, logLinearProblem, type LogLinearTensors } from "./problem.ts";

export type { LogLinearAttentionOptions, LogLinearState, LogLinearStepOptions } from "./options.ts";

/** What {@linkcode logLinearAttention} returns. */
export interface LogLinearAttentionResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: LogLinearState;
}

/**
 * Log-linear attention (Guo et al., "Log-Linear Attention", 2025): o_t = scale · Σ_l λ_t[l] q_t S_t^(l),
 * where S_t^(l) is the gated sum of k_sᵀ v_s over the tokens s at level l of t.
 *
 * Level 0 is the token itself; a token before it is at level 1 + the highest bit in which their places
 * within the sequence differ, so that the past falls into blocks of 1, 2, 4, … tokens, and L levels
 * reach over 2^(L-1) of them. A state has a matrix for each level; `t` says which hold something, the
 * others count as 0. How many tokens a state has had only the GPU knows: where they outgrow L levels,
 * what is summed is not defined. Heads are grouped as in `recurrence`. Legend: B batch, T tokens, HQ, HK
 * and HV heads of q, k and v, K and V head dims up to 256, L levels up to 32. States and arithmetic f32.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param g `[B, T, HV]`, f32 or f16: natural logarithms of decays, at most 0; those below −88 clear states
 * @param lambda `[B, T, HV, L]`, f32 or f16: the weights of the levels
 * @param options scale (default 1), states, sequences
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or L levels do not reach over the longest sequence
 *
 * @example The third token sees itself at level 0 and both others at level 2
 * ```ts
 * import { logLinearAttention, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (...data: number[]) => gpu.tensor(Float32Array.from(data), [1, 3, 1, 1]);
 * const g = gpu.tensor(new Float32Array(3), [1, 3, 1]);
 * const weights = Float32Array.of(1, 10, 100, 1, 10, 100, 1, 10, 100);
 * const lambda = gpu.tensor(weights, [1, 3, 1, 3]);
 * const { out } = logLinearAttention(x(1, 1, 1), x(1, 1, 1), x(1, 2, 4), g, lambda);
 * assertEquals(await out.read(), Float32Array.of(1, 2 + 10 * 1, 4 + 100 * (1 + 2)));
 * ```
 */
export function logLinearAttention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  lambda: Tensor,
  options: LogLinearAttentionOptions = {},
): LogLinearAttentionResult<T> {
  return recall(run<T>, { q, k, v, g, lambda }, options, false);
}

/**
 * The next token (or a few) of `logLinearAttention`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state s `[B, HV, L, K, V]`, f32, and t `[B]`, i32: the state before the token, then that behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param g `[B, 1, HV]`
 * @param lambda `[B, 1, HV, L]`
 * @param options scale, layout of the state
 * @returns `[B, 1, HO, V]`, in the dtype of q
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A second token merges the first into level 1
 * ```ts
 * import { logLinearAttentionStep, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (value: number) => gpu.tensor(Float32Array.of(value), [1, 1, 1, 1]);
 * const g = gpu.tensor(Float32Array.of(0), [1, 1, 1]);
 * const lambda = gpu.tensor(Float32Array.of(1, 10), [1, 1, 1, 2]);
 * const s = gpu.tensor(Float32Array.of(3, 0), [1, 1, 2, 1, 1]);
 * const state = { s, t: gpu.tensor(Int32Array.of(1), [1]) };
 * const out = logLinearAttentionStep(state, x(1), x(1), x(5), g, lambda);
 * assertEquals(await out.read(), Float32Array.of(5 + 10 * 3));
 * assertEquals(await s.read(), Float32Array.of(5, 3));
 * assertEquals(await state.t.read(), Int32Array.of(2));
 * ```
 */
export function logLinearAttentionStep<T extends "f32" | "f16">(
  state: LogLinearState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  lambda: Tensor,
  options: LogLinearStepOptions = {},
): Tensor<T> {
  // without a state there would be none to go on from, and none to leave
  if (state === undefined) {
    throw new TypeError(`Cannot ${ACTION} as a step needs a state: state is ${kindOf(state)}`);
  }
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  return recall(run<T>, { q, k, v, g, lambda }, { ...options, initialState: state }, true).out;
}

/** Validates, plans and records a call. */
function run<T extends "f32" | "f16">(
  tensors: LogLinearTensors & { readonly q: Tensor<T> },
  options: LogLinearAttentionOptions,
  inPlace: boolean,
): LogLinearAttentionResult<T> {
  const { problem, gpu } = logLinearProblem(tensors, options, inPlace);
  const plan = planLogLinear(problem, gpu);
  const { initialState } = options;
  const { bounds, qHeads, heads, levels, keyDim, valueDim, valueFirst } = problem;
  const name = inPlace ? "logLinearAttentionStep" : "logLinearAttention";
  return record(gpu, name, (operation) => {
    const { q } = tensors;
    const out = gpu.empty([...q.shape.slice(0, 2), Math.max(qHeads, heads), valueDim], q.dtype);
    const axes = valueFirst ? [valueDim, keyDim] : [keyDim, valueDim];
    const finalState = problem.final && !inPlace
      ? {
        s: gpu.empty([bounds.length - 1, heads, levels, ...axes], "f32"),
        t: gpu.empty([bounds.length - 1], "i32"),
      }
      : undefined;
    const buffers = (state: LogLinearState | undefined) =>
      state ? { s: state.s.buffer, t: state.t.buffer } : null;
    launchLogLinear(operation, {
      ...{ problem, plan, tensors, out },
      initial: buffers(initialState),
      final: buffers(inPlace ? initialState : finalState),
      device: gpu,
    });
    return { out, ...(finalState && { finalState }) };
  });
}
