import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";
import type { RecurrenceCase } from "./run.ts";
import {
  runFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** What {@linkcode mamba2} does to its steps and its output; H heads of P channels. */
export interface Mamba2Form {
  /** The skip connection: d · x is added to the output, `[H]` or `[H, P]`. */
  d?: Tensor;
  /** The output gate: the output, skip connection included, is multiplied by silu(z), `[B, T, H, P]`. */
  z?: Tensor;
  /** Added to dt, `[H]`. */
  dtBias?: Tensor;
  /**
   * Whether dt, bias included, goes through softplus.
   *
   * @default {false}
   */
  dtSoftplus?: boolean;
  /**
   * Bounds that dt is clamped to in the end.
   *
   * @default {[0, Infinity]}
   */
  dtLimits?: readonly [number, number];
}

/** Options of {@linkcode mamba2}. */
export interface Mamba2Options extends StateOptions, Mamba2Form {}

const ACTION = "compute Mamba-2";
const FORM: readonly (keyof Mamba2Form)[] = ["d", "z", "dtBias", "dtSoftplus", "dtLimits"];
/** The greatest f32. */
const MOST = 3.4028234663852886e38;

function family(x: Tensor, dt: Tensor, a: Tensor, form: Mamba2Form): RecurrenceCase {
  const { d, z, dtBias, dtSoftplus = false, dtLimits = [0, Infinity] } = form;
  const optional = Object.entries({ d, z, dtBias }).filter(([, tensor]) => tensor !== undefined);
  checkTensors(ACTION, { x, dt, a, ...Object.fromEntries(optional) });
  checkRank(ACTION, "x", x, ["B", "T", "H", "P"]);
  const [batch, length, heads, dim] = x.shape;
  checkShape(ACTION, "dt", dt, [batch, length, heads]);
  checkShape(ACTION, "a", a, [heads]);
  if (d) checkShape(ACTION, "d", d, [heads], [heads, dim]);
  if (z) checkShape(ACTION, "z", z, [batch, length, heads, dim]);
  if (dtBias) checkShape(ACTION, "dtBias", dtBias, [heads]);
  const [low, high] = Array.isArray(dtLimits) ? dtLimits as number[] : [NaN, NaN];
  if (!(low <= high) || typeof dtSoftplus !== "boolean") {
    throw new RangeError(
      `Cannot ${ACTION} as dtLimits must be [least, most] and dtSoftplus true or false: dtLimits is ${
        Array.isArray(dtLimits) ? `[${dtLimits}]` : kindOf(dtLimits)
      }, dtSoftplus is ${kindOf(dtSoftplus)}`,
    );
  }
  for (const [name, tensor] of [...Object.entries({ dt, a }), ...optional]) {
    checkDType(ACTION, name, tensor as Tensor, ["f32", "f16"]);
  }
  return {
    name: "mamba2",
    action: ACTION,
    inputs: {
      ...{ g: dt, rates: a },
      ...(dtBias && { stepBias: dtBias }),
      ...(d && { [d.shape.length === 2 ? "skipRows" : "skip"]: d }),
      ...(z && { outGate: z }),
    },
    set: {
      ...{ gate: "step", softplus: dtSoftplus },
      stepLimits: [Math.max(low, -MOST), Math.min(high, MOST)],
    },
  };
}

/**
 * Mamba-2, the state space dual (Dao and Gu, "Transformers are SSMs", 2024): for each head
 * S_t = e^(dt_t · a) S_{t-1} + b_tᵀ (dt_t · x_t) and y_t = scale · c_t S_t + d · x_t, times silu(z_t).
 *
 * dt is first clamp(softplus(dt + dtBias), dtLimits), as far as the options say so; a is negative (the
 * paper's −e^(A_log)). Head h reads group ⌊h·G/H⌋. As in mamba_ssm dtSoftplus is off by default and the
 * scale is 1; its states have the layout `"vk"`. K is what the paper calls N.
 *
 * @typeParam T storage of x, b and c
 * @param x `[B, T, H, P]`
 * @param dt `[B, T, H]`, f32 or f16: the step sizes
 * @param a `[H]`, f32 or f16: the rates
 * @param b `[B, T, G, K]`: the keys
 * @param c `[B, T, G, K]`: the queries
 * @param options skip connection, gate, treatment of dt, scale (default 1), states, sequences, mode
 * @returns out `[B, T, H, P]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function mamba2<T extends "f32" | "f16">(
  x: Tensor<T>,
  dt: Tensor,
  a: Tensor,
  b: Tensor<T>,
  c: Tensor<T>,
  options: Mamba2Options = {},
): StateResult<T> {
  const call = { tensors: [c, b, x], set: {} } as const;
  return runFamily(family(x, dt, a, options), call, { scale: 1, ...options }, FORM);
}

/**
 * The next token of `mamba2`, in place.
 *
 * @typeParam T storage of x, b and c
 * @param state `[B, H, K, P]`, f32: the state before the token, then the one behind it
 * @param x `[B, 1, H, P]`
 * @param dt `[B, 1, H]`
 * @param a `[H]`
 * @param b `[B, 1, G, K]`
 * @param c `[B, 1, G, K]`
 * @param options skip connection, gate, treatment of dt, scale, layout of the state
 * @returns `[B, 1, H, P]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function mamba2Step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  x: Tensor<T>,
  dt: Tensor,
  a: Tensor,
  b: Tensor<T>,
  c: Tensor<T>,
  options: StepOptions & Mamba2Form = {},
): Tensor<T> {
  const call = { tensors: [c, b, x], set: {} } as const;
  return stepFamily(family(x, dt, a, options), state, call, { scale: 1, ...options }, FORM);
}
