import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { TitansMemoryOptions, TitansMemoryState, TitansMemoryStepOptions } from "./options.ts";
import { fastProblem } from "./problem.ts";
import { checkStepState, runFastWeights } from "./run.ts";

/** What {@linkcode titansMemory} returns. */
export interface TitansMemoryResult<T extends "f32" | "f16"> {
  /** `[B, T, HO, V]`, in the dtype of q; HO = max(HQ, HV). */
  out: Tensor<T>;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: TitansMemoryState;
}

const RULE = {
  rule: "titans",
  name: "titansMemory",
  action: "compute the memory of Titans",
  required: ["theta"],
  names: {},
  parts: { weights: "m", momentum: "s" },
  miniBatch: 1,
} as const;
const STEP_OPTIONS: readonly (keyof TitansMemoryStepOptions)[] = [
  ...["theta", "eta", "alpha", "scale", "stateLayout", "schedule"] as const,
];
const OPTIONS: readonly (keyof TitansMemoryOptions)[] = [
  ...STEP_OPTIONS,
  ...["miniBatch", "initialState", "finalState", "cuSeqlens"] as const,
];

type Rows<T extends "f32" | "f16"> = readonly [q: Tensor<T>, k: Tensor<T>, v: Tensor<T>];

/**
 * The linear memory of Titans (Behrouz et al., "Titans: Learning to Memorize at Test Time", 2024), trained
 * at test time with momentum and weight decay: S_t = η_t S_{t-1} − θ_t ∇_t, M_t = (1 − α_t) M_{t-1} + S_t
 * and o_t = scale · q_t M_t.
 *
 * ∇_t = k_tᵀ (k_t M̂_t − v_t) is the gradient of |k_t M̂_t − v_t|² / 2 with respect to the memory M̂_t:
 * what the first token of the mini-batch finds, M, decayed down to token t, (1 − α) … (1 − α_t) M. The
 * paper's loss has no 1/2, so θ is twice its θ. In mini-batches of one token M̂_t is (1 − α_t) M_{t-1},
 * and without momentum it is `gatedDeltaRule` with g = log(1 − α) and β = θ.
 *
 * A state is handed over between mini-batches: resumed where one ends, a sequence goes on as if it had
 * not been cut. Heads are grouped as in `recurrence`. Rates may be f32 or f16 on their own; states and
 * arithmetic are f32.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options theta, eta, alpha, miniBatch (default 1), scale (default K^-1/2), states, sequences
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Momentum writes the first value twice
 * ```ts
 * import { requestGpu, titansMemory } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const pair = (x: number, y: number) => gpu.tensor(Float32Array.of(x, y), [1, 2, 1, 1]);
 * const rates = (x: number, y: number) => gpu.tensor(Float32Array.of(x, y), [1, 2, 1]);
 * const { out } = titansMemory(pair(1, 1), pair(1, 1), pair(8, 0), {
 *   theta: rates(1, 0),
 *   eta: rates(0, 0.5),
 * });
 * assertEquals(await out.read(), Float32Array.of(8, 8 + 4));
 * ```
 */
export function titansMemory<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: TitansMemoryOptions,
): TitansMemoryResult<T> {
  checkOptionNames(RULE.action, options ?? {}, OPTIONS);
  return recall(run<T>, [q, k, v], options, false);
}

/**
 * The next token of `titansMemory`, in place: a mini-batch of its own.
 *
 * @typeParam T storage of q, k and v
 * @param state f32, m and s `[B, HV, K, V]`: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options theta, eta and alpha `[B, 1, HV]`, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Half of what the memory misses
 * ```ts
 * import { requestGpu, titansMemoryStep } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (value: number) => gpu.tensor(Float32Array.of(value), [1, 1, 1, 1]);
 * const theta = gpu.tensor(Float32Array.of(0.5), [1, 1, 1]);
 * const state = { m: x(6), s: x(0) };
 * titansMemoryStep(state, x(1), x(1), x(10), { theta });
 * assertEquals(await state.m.read(), Float32Array.of(8));
 * ```
 */
export function titansMemoryStep<T extends "f32" | "f16">(
  state: TitansMemoryState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: TitansMemoryStepOptions,
): Tensor<T> {
  checkStepState(RULE.action, state);
  checkOptionNames(RULE.action, options ?? {}, STEP_OPTIONS);
  return recall(run<T>, [q, k, v], { ...options, initialState: state, miniBatch: 1 }, true).out;
}

function run<T extends "f32" | "f16">(
  [q, k, v]: Rows<T>,
  options: TitansMemoryOptions,
  inPlace: boolean,
): TitansMemoryResult<T> {
  const { theta, eta, alpha } = options ?? {};
  const checked = fastProblem(RULE, { q, k, v, others: { theta, eta, alpha } }, options);
  return runFastWeights(RULE, checked, { dtype: q.dtype, inPlace });
}
