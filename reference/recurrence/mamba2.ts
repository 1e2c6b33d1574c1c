import type { ReferenceTensor } from "../tensor.ts";
import { softplus } from "./activations.ts";
import type { StateOptions, StateResult } from "./options.ts";
import { plain } from "./plain.ts";
import { mapTensor } from "./tensors.ts";

/** Options for {@linkcode mamba2}; K is N, the size of the state, and V is P, that of a head. */
export interface Mamba2Options extends StateOptions {
  /**
   * The factor of the read-out.
   *
   * @default {1}
   */
  scale?: number;
  /**
   * The skip connection: d x is added to the output, `[H]` or `[H, P]`.
   *
   * @default {undefined}
   */
  d?: ReferenceTensor;
  /**
   * The output gate: the output, skip connection included, is multiplied by silu(z), `[B, T, H, P]`.
   *
   * @default {undefined}
   */
  z?: ReferenceTensor;
  /**
   * Added to dt, `[H]`.
   *
   * @default {undefined}
   */
  dtBias?: ReferenceTensor;
  /**
   * Whether dt, bias included, goes through softplus.
   *
   * @default {false}
   */
  dtSoftplus?: boolean;
  /**
   * The bounds that dt is clamped to in the end.
   *
   * @default {[0, Infinity]}
   */
  dtLimits?: readonly [number, number];
  /**
   * How many groups share one b and c, where their shape `[B, T, G · N]` does not tell.
   *
   * @default {1}
   */
  groups?: number;
}

/**
 * Mamba-2, the state space dual (Dao and Gu, Transformers are SSMs, 2024): for each head
 * S_t = exp(dt_t a) S_{t-1} + b_tᵀ (dt_t x_t) and y_t = scale c_t S_t + d x_t, times silu(z_t).
 *
 * dt is first clamp(softplus(dt + dtBias), dtLimits), as far as the options say so; a is negative (the
 * paper's -exp(A_log)). Head h reads group floor(h G / H). As in mamba_ssm dtSoftplus is off by default
 * and the default scale is 1. States are `[N, H, K, P]`, with K what the paper calls N; those of
 * mamba_ssm have the layout `"vk"`.
 *
 * @param x The inputs, `[B, T, H, P]`.
 * @param dt The step sizes, `[B, T, H]`.
 * @param a The decay rates, `[H]`.
 * @param b The keys, `[B, T, G, N]`, or `[B, T, G · N]` with the option `groups`.
 * @param c The queries, like b.
 * @param options Skip connection, gate, treatment of dt, states and sequences.
 * @returns The output `[B, T, H, P]`, and the final state where it is asked for.
 *
 * @example Two steps of half a state
 * ```ts
 * import { mamba2 } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const dt = { data: [2, 1], shape: [1, 2, 1] };
 * const a = { data: [-Math.LN2], shape: [1] };
 *
 * const { out } = mamba2({ data: [3, 5], shape }, dt, a, ones, ones);
 *
 * assertAlmostEquals(out.data[0], 2 * 3);
 * assertAlmostEquals(out.data[1], 6 / 2 + 5);
 * ```
 */
export function mamba2(
  x: ReferenceTensor,
  dt: ReferenceTensor,
  a: ReferenceTensor,
  b: ReferenceTensor,
  c: ReferenceTensor,
  options: Mamba2Options = {},
): StateResult {
  const { d, z, dtBias, dtSoftplus = false, dtLimits = [0, Infinity], scale = 1 } = options;
  const [heads, headDim] = x.shape.slice(-2);
  const steps = mapTensor(dt, (raw, index) => {
    const biased = raw + (dtBias ? dtBias.data[index % heads] : 0);
    const step = dtSoftplus ? softplus(biased) : biased;
    return Math.min(Math.max(step, dtLimits[0]), dtLimits[1]);
  });
  const g = mapTensor(steps, (step, index) => step * a.data[index % heads]);
  const v = mapTensor(x, (element, index) => steps.data[Math.floor(index / headDim)] * element);
  const [k, q] = [b, c].map((tensor) => grouped(tensor, options.groups));

  const result = plain(q, k, v, { ...options, scale, g });
  result.out.data.forEach((y, index, out) => {
    const channel = index % (heads * headDim);
    const skip = d?.data[d.shape.length === 2 ? channel : Math.floor(channel / headDim)] ?? 0;
    const logit = z?.data[index];
    const gate = logit === undefined ? 1 : logit / (1 + Math.exp(-logit));
    out[index] = (y + skip * x.data[index]) * gate;
  });
  return result;
}

/** b or c as `[B, T, G, N]`. */
function grouped({ data, shape }: ReferenceTensor, groups: number = 1): ReferenceTensor {
  if (shape.length === 4) return { data, shape };
  const [batch, length, size] = shape;
  return { data, shape: [batch, length, groups, size / groups] };
}
