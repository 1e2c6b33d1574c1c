import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { TttLinearOptions, TttLinearState, TttLinearStepOptions } from "./options.ts";
import { type FastGiven, fastProblem } from "./problem.ts";
import { checkStepState, runFastWeights } from "./run.ts";

/** What {@linkcode tttLinear} returns. */
export interface TttLinearResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, D]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: TttLinearState;
}

const RULE = {
  rule: "ttt",
  name: "tttLinear",
  action: "compute TTT-Linear",
  required: ["normWeights", "normBias", "eta"],
  names: { normWeights: "w", normBias: "b" },
  parts: { weights: "w", bias: "b" },
  miniBatch: 16,
} as const;
const STEP_OPTIONS: readonly (keyof TttLinearStepOptions)[] = [
  ...["eps", "scale", "stateLayout", "schedule"] as const,
];
const OPTIONS: readonly (keyof TttLinearOptions)[] = [
  ...STEP_OPTIONS,
  ...["miniBatch", "initialState", "finalState", "cuSeqlens"] as const,
];

/**
 * TTT-Linear (Sun et al., "Learning to (Learn at Test Time): RNNs with Expressive Hidden States", 2024):
 * the state is a linear model x W + c that each mini-batch trains by one step of gradient descent.
 *
 * G_j is the gradient of |LN(z) ⊙ w + b − (v_j − k_j)|² / 2 with respect to z = k_j W + c, with W and c as
 * the mini-batch finds them. Token i of the mini-batch reads
 * o_i = scale · q_i (W − η_i Σ_{j≤i} k_jᵀ G_j) + c − η_i Σ_{j≤i} G_j; its output is o_i + LN(o_i) ⊙ w + b.
 * The mini-batch leaves W − η Σ_j k_jᵀ G_j and c − η Σ_j G_j with the η of its last token.
 *
 * A state is handed over between mini-batches: resumed where one ends, a sequence goes on as if it had
 * not been cut. K and V are both D, 1 to 256. Heads are grouped as in `recurrence`. w, b and eta may be
 * f32 or f16 on their own; states and arithmetic are f32.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, D]`
 * @param k `[B, T, HK, D]`
 * @param v `[B, T, HV, D]`
 * @param w `[HV, D]`: the weights of the layer norm
 * @param b `[HV, D]`: its biases
 * @param eta `[B, T, HV]`: the learning rates η
 * @param options miniBatch (default 16), eps, scale (default D^-1/2), states, sequences
 * @returns out `[B, T, HO, D]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Learning rates of 0 leave the bias of the layer norm
 * ```ts
 * import { requestGpu, tttLinear } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const row = (x: number, y: number) => gpu.tensor(Float32Array.of(x, y), [1, 2]);
 * const x = gpu.tensor(Float32Array.of(1, 2), [1, 1, 1, 2]);
 * const eta = gpu.tensor(Float32Array.of(0), [1, 1, 1]);
 * const { out } = tttLinear(x, x, x, row(1, 1), row(3, 4), eta);
 * assertEquals(await out.read(), Float32Array.of(3, 4));
 * ```
 */
export function tttLinear<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  w: Tensor,
  b: Tensor,
  eta: Tensor,
  options: TttLinearOptions = {},
): TttLinearResult<T> {
  checkOptionNames(RULE.action, options, OPTIONS);
  const given: FastGiven = { q, k, v, others: { normWeights: w, normBias: b, eta } };
  return recall(run<T>, given, options, false);
}

/**
 * The next token of `tttLinear`, in place: a mini-batch of its own, which the state learns from at once.
 *
 * @typeParam T storage of q, k and v
 * @param state f32, w `[B, HV, D, D]` and b `[B, HV, D]`: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, D]`
 * @param k `[B, 1, HK, D]`
 * @param v `[B, 1, HV, D]`
 * @param w `[HV, D]`: the weights of the layer norm
 * @param b `[HV, D]`: its biases
 * @param eta `[B, 1, HV]`: the learning rates η
 * @param options eps, scale, layout of the state
 * @returns `[B, 1, HO, D]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A bias that nothing changes
 * ```ts
 * import { requestGpu, tttLinearStep } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const filled = (value: number, ...shape: number[]) =>
 *   gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(value), shape);
 * const state = { w: filled(0, 1, 1, 2, 2), b: filled(5, 1, 1, 2) };
 * const x = filled(1, 1, 1, 1, 2);
 * const out = tttLinearStep(state, x, x, x, filled(1, 1, 2), filled(3, 1, 2), filled(0, 1, 1, 1));
 * assertEquals(await out.read(), Float32Array.of(5 + 3, 5 + 3));
 * ```
 */
export function tttLinearStep<T extends "f32" | "f16">(
  state: TttLinearState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  w: Tensor,
  b: Tensor,
  eta: Tensor,
  options: TttLinearStepOptions = {},
): Tensor<T> {
  checkStepState(RULE.action, state);
  checkOptionNames(RULE.action, options, STEP_OPTIONS);
  const given: FastGiven = { q, k, v, others: { normWeights: w, normBias: b, eta } };
  return recall(run<T>, given, { ...options, initialState: state, miniBatch: 1 }, true).out;
}

function run<T extends "f32" | "f16">(
  given: FastGiven,
  options: TttLinearOptions,
  inPlace: boolean,
): TttLinearResult<T> {
  const checked = fastProblem(RULE, given, options);
  return runFastWeights(RULE, checked, { dtype: checked.problem.elem as T, inPlace });
}
