import { kindOf } from "../../gpu/dtype.ts";
import { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** Options of {@linkcode hgrn2}. */
export interface Hgrn2Options extends StateOptions {
  /**
   * Lower bound of the forget gates, from 0 to below 1: a number, or f32 or f16 `[HK, K]`, one for each
   * key channel.
   *
   * @default {0}
   */
  lowerBound?: number | Tensor;
}

const ACTION = "compute HGRN2";

const HGRN2: StateFamily<"q" | "f" | "v", Pick<Hgrn2Options, "lowerBound">> = {
  name: "hgrn2",
  action: ACTION,
  names: { k: "f" },
  options: ["lowerBound"],
  form({ f }, { lowerBound = 0 }) {
    if (lowerBound instanceof Tensor) {
      checkTensors(ACTION, { f, lowerBound });
      checkDType(ACTION, "lowerBound", lowerBound, ["f32", "f16"]);
      checkShape(ACTION, "lowerBound", lowerBound, f.shape.slice(-2));
      return { inputs: { lowerBounds: lowerBound }, set: { gate: "forget" } };
    }
    if (typeof lowerBound !== "number" || !(lowerBound >= 0 && lowerBound < 1)) {
      throw new RangeError(
        `Cannot ${ACTION} as lowerBound must be a number from 0 to below 1, or a tensor: lowerBound is ${
          kindOf(lowerBound)
        }`,
      );
    }
    return { set: { gate: "forget", lowerBound } };
  },
};

/**
 * HGRN2 (Qin et al., "HGRN2: Gated Linear RNNs with State Expansion", 2024):
 * S_t = diag(α_t) S_{t-1} + (1 − α_t)ᵀ v_t and o_t = scale · q_t S_t, with the forget gates
 * α_t = lb + (1 − lb) sigmoid(f_t).
 *
 * f is what comes before the sigmoid. 1 − α is computed as (1 − lb) sigmoid(−f), so that saturated
 * gates lose nothing. q is taken as it is: the paper's SiLU is the caller's. Heads are grouped as in
 * `recurrence`, f in the place of k.
 *
 * @typeParam T storage of q, f and v
 * @param q `[B, T, HQ, K]`
 * @param f `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options lower bound, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function hgrn2<T extends "f32" | "f16">(
  q: Tensor<T>,
  f: Tensor<T>,
  v: Tensor<T>,
  options: Hgrn2Options = {},
): StateResult<T> {
  return runFamily(HGRN2, { q, f, v }, options);
}

/**
 * The next token of `hgrn2`, in place.
 *
 * @typeParam T storage of q, f and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param f `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options lower bound, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function hgrn2Step<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  f: Tensor<T>,
  v: Tensor<T>,
  options: StepOptions & Pick<Hgrn2Options, "lowerBound"> = {},
): Tensor<T> {
  return stepFamily(HGRN2, state, { q, f, v }, options);
}
