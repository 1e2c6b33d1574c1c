import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchConv } from "./launch.ts";
import { planConv } from "./plan.ts";
import {
  type CausalConv1dOptions,
  type CausalConv1dStepOptions,
  type ConvProblem,
  convProblem,
  convStepProblem,
  type ConvTensors,
} from "./problem.ts";

export type { CausalConv1dOptions, CausalConv1dStepOptions } from "./problem.ts";

/** What {@linkcode causalConv1d} returns. */
export interface CausalConv1dResult<T extends "f32" | "f16"> {
  /** The output, `[B, T, C]`, in the dtype of x. */
  out: Tensor<T>;
  /**
   * The last W − 1 inputs of each sequence, f32 `[N, C, W − 1]`, the oldest first, where it is asked for;
   * those of the state before it where the sequence is shorter.
   */
  finalState?: Tensor<"f32">;
}

/**
 * The short convolution in front of Mamba and the delta rules, one filter for each channel:
 * y_t = bias + Σ_i weight_i x_{t−W+1+i}, i from 0 to W − 1, then the activation.
 *
 * The last tap, weight_{W−1}, belongs to the token itself, as in causal_conv1d; before the first token
 * of a sequence x is its state. Each input is loaded once and stays in registers for the W tokens that
 * it reaches. Legend: B batch, T tokens, C channels, W taps, N sequences. Sums are f32.
 *
 * Definition: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023),
 * section 3.4.
 *
 * @typeParam T storage of x
 * @param x inputs, `[B, T, C]`
 * @param weight filters, `[C, W]`, W from 1 to 8, f32 or f16
 * @param options bias, activation, states and sequences
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Two taps
 * ```ts
 * import { causalConv1d, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(1, 2, 3), [1, 3, 1]);
 * const weight = gpu.tensor(Float32Array.of(10, 1), [1, 2]);
 * const { out, finalState } = causalConv1d(x, weight, { finalState: true });
 * assertEquals(await out.read(), Float32Array.of(1, 12, 23));
 * assertEquals(await finalState?.read(), Float32Array.of(3));
 * ```
 */
export function causalConv1d<T extends "f32" | "f16">(
  x: Tensor<T>,
  weight: Tensor,
  options: CausalConv1dOptions = {},
): CausalConv1dResult<T> {
  return recall(convolve<T>, x, weight, options);
}

function convolve<T extends "f32" | "f16">(
  x: Tensor<T>,
  weight: Tensor,
  options: CausalConv1dOptions,
): CausalConv1dResult<T> {
  const { bias, state } = options;
  return run(convProblem(x, weight, options), { x, weight, bias, state });
}

/**
 * The next token of `causalConv1d`, in place; or the next few, 64 at most.
 *
 * @typeParam T storage of x
 * @param state the last inputs, f32 `[B, C, W − 1]`, the oldest first: shifted by the token
 * @param x `[B, 1, C]`
 * @param weight filters, `[C, W]`, W from 1 to 8, f32 or f16
 * @param options bias and activation
 * @returns `[B, 1, C]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example The third token of two taps
 * ```ts
 * import { causalConv1dStep, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const state = gpu.tensor(Float32Array.of(2), [1, 1, 1]);
 * const weight = gpu.tensor(Float32Array.of(10, 1), [1, 2]);
 * const out = causalConv1dStep(state, gpu.tensor(Float32Array.of(3), [1, 1, 1]), weight);
 * assertEquals(await out.read(), Float32Array.of(23));
 * assertEquals(await state.read(), Float32Array.of(3));
 * ```
 */
export function causalConv1dStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  x: Tensor<T>,
  weight: Tensor,
  options: CausalConv1dStepOptions = {},
): Tensor<T> {
  return recall(step<T>, state, x, weight, options);
}

function step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  x: Tensor<T>,
  weight: Tensor,
  options: CausalConv1dStepOptions,
): Tensor<T> {
  const { bias } = options;
  return run(convStepProblem({ x, weight, state }, options), { x, weight, bias, state }).out;
}

/** Plans and records a convolution. */
function run<T extends "f32" | "f16">(
  { problem, gpu }: { readonly problem: ConvProblem; readonly gpu: Gpu },
  tensors: ConvTensors & { readonly x: Tensor<T> },
): CausalConv1dResult<T> {
  const plan = planConv(problem, gpu.limits);
  const { bounds, channels, width, final, inPlace } = problem;
  const { x, state } = tensors;
  return record(gpu, "causalConv1d", (operation) => {
    const out = gpu.empty(x.shape, x.dtype);
    const finalState = final && !inPlace
      ? gpu.empty([bounds.length - 1, channels, width - 1], "f32")
      : undefined;
    launchConv(operation, {
      ...{ problem, plan, device: gpu },
      tensors: inPlace
        ? { ...tensors, out, state: undefined, newState: state }
        : { ...tensors, out, newState: finalState },
    });
    return finalState ? { out, finalState } : { out };
  });
}
