import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  runFamily,
  type StateFamily,
  type StateOptions,
  type StateResult,
  stepFamily,
  type StepOptions,
} from "./state.ts";

/** How many writes a token has. */
export interface Householders {
  /**
   * Rows of k, v and beta for each token.
   *
   * @default {1}
   */
  householders?: number;
}

/** Options of {@linkcode deltaProduct}. */
export interface DeltaProductOptions extends StateOptions, Householders {}

const ACTION = "compute DeltaProduct";

const PRODUCT: StateFamily<"q" | "k" | "v" | "g" | "beta", Householders> = {
  name: "deltaProduct",
  action: ACTION,
  gates: ["token"],
  options: ["householders"],
  form({ q, k, v, g, beta }, { householders = 1 }) {
    checkHouseholders(householders, { q, k, v });
    return { options: { g, beta }, substeps: householders };
  },
};

function checkHouseholders(
  householders: number,
  { q, k, v }: Readonly<Record<"q" | "k" | "v", Tensor>>,
): void {
  if (!Number.isSafeInteger(householders) || householders < 1) {
    throw new RangeError(
      `Cannot ${ACTION} as householders must be an integer >= 1: householders is ${
        kindOf(householders)
      }`,
    );
  }
  const [tokens, ...rows] = [q, k, v].map(({ shape }) => shape[1]);
  if (rows.every((own) => own === tokens * householders)) return;
  throw new TypeError(
    `Cannot ${ACTION} as k and v must have householders rows for each token of q: current lengths are q=${tokens}, k=${
      rows[0]
    }, v=${rows[1]}, householders is ${householders}`,
  );
}

/**
 * DeltaProduct (Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder
 * Products", 2025): n steps of the delta rule for each token, of which the first decays the state by e^(g_t)
 * and the last is read, o_t = scale · q_t S.
 *
 * Rows n·t to n·t + n − 1 of k, v and beta are those of token t. `cuSeqlens` counts tokens. Heads are
 * grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T·n, HK, K]`
 * @param v `[B, T·n, HV, V]`
 * @param g `[B, T, HV]`, f32 or f16
 * @param beta `[B, T·n, HV]`, f32 or f16
 * @param options householders n, scale (default K^-1/2), states, sequences, mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function deltaProduct<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: DeltaProductOptions = {},
): StateResult<T> {
  return runFamily(PRODUCT, { q, k, v, g, beta }, options);
}

/**
 * The next token of `deltaProduct`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state `[B, HV, K, V]`, f32: the state before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, n, HK, K]`
 * @param v `[B, n, HV, V]`
 * @param g `[B, 1, HV]`
 * @param beta `[B, n, HV]`
 * @param options householders n, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function deltaProductStep<T extends "f32" | "f16">(
  state: Tensor<"f32">,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  g: Tensor,
  beta: Tensor,
  options: StepOptions & Householders = {},
): Tensor<T> {
  return stepFamily(PRODUCT, state, { q, k, v, g, beta }, options);
}
