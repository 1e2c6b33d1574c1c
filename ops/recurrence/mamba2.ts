import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkFlags } from "../options.ts";
import { checkDType, checkShape } from "../tensors.ts";
import {
  runFamily,
  type StateFamily,
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
/** The greatest f32. */
const MOST = 3.4028234663852886e38;

const MAMBA2: StateFamily<"x" | "dt" | "a" | "b" | "c", Mamba2Form> = {
  name: "mamba2",
  action: ACTION,
  names: { q: "c", k: "b", v: "x" },
  scale: 1,
  options: ["d", "z", "dtBias", "dtSoftplus", "dtLimits"],
  tensors: ["d", "z", "dtBias"],
  form({ x, dt, a }, { d, z, dtBias, dtSoftplus = false, dtLimits = [0, Infinity] }) {
    checkShapes({ x, dt, a }, { d, z, dtBias });
    checkFlags(ACTION, { dtSoftplus });
    const [low, high] = checkLimits(dtLimits);
    return {
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
  },
};

function checkShapes(
  { x, dt, a }: Readonly<Record<"x" | "dt" | "a", Tensor>>,
  given: Readonly<Record<"d" | "z" | "dtBias", Tensor | undefined>>,
): void {
  const [batch, length, heads, dim] = x.shape;
  const shapes: Readonly<Record<string, readonly (readonly number[])[]>> = {
    ...{ dt: [[batch, length, heads]], a: [[heads]], dtBias: [[heads]] },
    ...{ d: [[heads], [heads, dim]], z: [[batch, length, heads, dim]] },
  };
  for (const [name, tensor] of Object.entries({ dt, a, ...given })) {
    if (tensor === undefined) continue;
    checkShape(ACTION, name, tensor, ...shapes[name]);
    checkDType(ACTION, name, tensor, ["f32", "f16"]);
  }
}

function checkLimits(dtLimits: unknown): [number, number] {
  const limits: readonly unknown[] = Array.isArray(dtLimits) ? dtLimits : [];
  const [low, high] = limits;
  if (typeof low === "number" && typeof high === "number" && low <= high && limits.length === 2) {
    return [low, high];
  }
  throw new RangeError(
    `Cannot ${ACTION} as dtLimits must be [least, most], two numbers: dtLimits is ${
      Array.isArray(dtLimits) ? `[${dtLimits}]` : kindOf(dtLimits)
    }`,
  );
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
  return runFamily(MAMBA2, { x, dt, a, b, c }, options);
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
  return stepFamily(MAMBA2, state, { x, dt, a, b, c }, options);
}
