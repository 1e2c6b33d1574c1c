import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchSelectiveScan } from "./launch.ts";
import {
  type SelectiveScanOptions,
  type SelectiveScanStepOptions,
  STEP_OPTIONS,
} from "./options.ts";
import { planSelectiveScan } from "./plan.ts";
import { ACTION, type CheckedSelectiveScan, selectiveScanProblem } from "./problem.ts";

export type {
  SelectiveScanForm,
  SelectiveScanOptions,
  SelectiveScanStepOptions,
} from "./options.ts";

/** What {@linkcode selectiveScan} returns. */
export interface SelectiveScanResult<T extends "f32" | "f16"> {
  /** `[B, T, C]`, in the dtype of u. */
  out: Tensor<T>;
  /** The states behind the last token of each sequence, f32, `[C, N]` for each, where asked for. */
  finalState?: Tensor<"f32">;
}

/**
 * The selective scan of Mamba (Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State
 * Spaces", 2023): in each channel, with N states, h_t = e^(Δ_t a) h_{t-1} + Δ_t b_t u_t and
 * y_t = c_t · h_t + d u_t, times silu(z_t).
 *
 * Δ is delta plus its bias, through softplus where the options say so (off by default, as in mamba_ssm);
 * b and c are the same for all channels. a is negative (the paper's −e^(A_log)): exponents Δ a below
 * −88 count as −88, whose exponential is 0 in f32. Positive ones are taken as they are: states grow,
 * to Infinity in the end, and an exponent above 88 makes NaN of a state of 0. Legend: B batch, T
 * tokens, C channels, N states of a channel. Every tensor but states may be f32 or f16 on its own;
 * states and arithmetic are f32.
 *
 * @typeParam T storage of u
 * @param u `[B, T, C]`: the inputs
 * @param delta `[B, T, C]`: the step sizes
 * @param a `[C, N]`: the decay rates, N up to 64
 * @param b `[B, T, N]`: what inputs are written with
 * @param c `[B, T, N]`: what states are read with
 * @param options skip connection, gate, treatment of delta, states, sequences, mode
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Two steps of half a state
 * ```ts
 * import { requestGpu, selectiveScan } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const pair = (x: number, y: number) => gpu.tensor(Float32Array.of(x, y), [1, 2, 1]);
 * const a = gpu.tensor(Float32Array.of(-Math.LN2), [1, 1]);
 * const { out } = selectiveScan(pair(3, 5), pair(2, 1), a, pair(1, 1), pair(1, 1));
 * const y = await out.read();
 * assertAlmostEquals(y[0], 2 * 3, 1e-5);
 * assertAlmostEquals(y[1], 6 / 2 + 5, 1e-5);
 * ```
 */
export function selectiveScan<T extends "f32" | "f16">(
  u: Tensor<T>,
  delta: Tensor,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: SelectiveScanOptions = {},
): SelectiveScanResult<T> {
  return recall(walk<T>, u, delta, a, b, c, options);
}

function walk<T extends "f32" | "f16">(
  u: Tensor<T>,
  delta: Tensor,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: SelectiveScanOptions,
): SelectiveScanResult<T> {
  const checked = selectiveScanProblem({ u, delta, a, b, c }, options);
  return run(checked, u, { initial: options.initialState, inPlace: false });
}

/**
 * The next token of `selectiveScan`, in place.
 *
 * @typeParam T storage of u
 * @param state `[B, C, N]`, f32: the states before the token, then those behind it
 * @param u `[B, 1, C]`: the inputs
 * @param delta `[B, 1, C]`: the step sizes
 * @param a `[C, N]`: the decay rates
 * @param b `[B, 1, N]`: what inputs are written with
 * @param c `[B, 1, N]`: what states are read with
 * @param options skip connection, gate, treatment of delta
 * @returns `[B, 1, C]`, in the dtype of u
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A token that halves its state
 * ```ts
 * import { requestGpu, selectiveScanStep } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const one = (x: number) => gpu.tensor(Float32Array.of(x), [1, 1, 1]);
 * const a = gpu.tensor(Float32Array.of(-Math.LN2), [1, 1]);
 * const state = one(6);
 * selectiveScanStep(state, one(5), one(1), a, one(1), one(1));
 * assertAlmostEquals((await state.read())[0], 6 / 2 + 5, 1e-5);
 * ```
 */
export function selectiveScanStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  u: Tensor<T>,
  delta: Tensor,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: SelectiveScanStepOptions = {},
): Tensor<T> {
  return recall(step<T>, state, u, delta, a, b, c, options);
}

function step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  u: Tensor<T>,
  delta: Tensor,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: SelectiveScanStepOptions,
): Tensor<T> {
  // without a state there would be none to go on from, and none to leave
  if (state === undefined) {
    throw new TypeError(
      `Cannot ${ACTION} as a step needs a state: state is ${kindOf(state)}`,
    );
  }
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  const stepped = { ...options, initialState: state, mode: "loop" as const };
  const checked = selectiveScanProblem({ u, delta, a, b, c }, stepped);
  return run(checked, u, { initial: state, inPlace: true }).out;
}

/** Plans and records a call. */
function run<T extends "f32" | "f16">(
  { problem, inputs, gpu }: CheckedSelectiveScan,
  u: Tensor<T>,
  { initial, inPlace }: { initial: Tensor<"f32"> | undefined; inPlace: boolean },
): SelectiveScanResult<T> {
  const plan = planSelectiveScan(problem, gpu);
  return record(gpu, inPlace ? "selectiveScanStep" : "selectiveScan", (operation) => {
    const { bounds, channels, states } = problem;
    const out = gpu.empty(u.shape, u.dtype);
    const finalState = problem.final
      ? gpu.empty([bounds.length - 1, channels, states], "f32")
      : undefined;
    launchSelectiveScan(operation, {
      ...{ problem, plan, inputs, out },
      initial: initial?.buffer ?? null,
      final: (inPlace ? initial : finalState)?.buffer ?? null,
      limits: gpu.limits,
    });
    return { out, ...(finalState && { finalState }) };
  });
}
