import type { ReferenceTensor } from "../tensor.ts";
import { recurrence } from "./engine.ts";
import { taylor2 } from "./feature_map.ts";
import type { StateRecordOptions, StateRecordResult } from "./options.ts";

/** Options for {@linkcode based}; states have 1 + K + K(K+1)/2 rows in place of K. */
export interface BasedOptions extends StateRecordOptions {
  /**
   * Added to the sum of the weights.
   *
   * @default {1e-6}
   */
  eps?: number;
}

/**
 * The linear attention of Based (Arora et al., Simple linear attention language models balance the
 * recall-throughput tradeoff, 2024): the second-order Taylor series of exp in place of exp.
 *
 * o_t = Σ_{j<=t} w_tj v_j / (Σ_{j<=t} w_tj + eps), w_tj = 1 + s + s²/2, s = scale q_t · k_j. There is
 * no gate. Written as a recurrence the state is `{ s, z }` over the features 1, √scale x_i,
 * scale x_i² / √2 and scale x_i x_j for i < j, in this order. The default scale is K^-1/2; it must be
 * positive. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`; the paper has K = 16.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options The scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Weights of 1 and 5
 * ```ts
 * import { based } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 *
 * const { out } = based(ones, { data: [0, 2], shape }, { data: [6, 12], shape }, { eps: 0 });
 *
 * assertAlmostEquals(out.data[1], (1 * 6 + 5 * 12) / 6);
 * ```
 */
export function based(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: BasedOptions = {},
): StateRecordResult {
  const { scale = q.shape[3] ** -0.5, eps = 1e-6 } = options;
  const [qs, ks] = [q, k].map((x) => expand(x, scale));
  const result = recurrence(qs, ks, v, { ...options, eps, scale: 1, normalize: true });
  const { out, finalState } = result;
  return finalState && "s" in finalState ? { out, finalState } : { out };
}

/** The features of queries or keys, `[B, T, H, 1 + K + K(K+1)/2]`. */
function expand(x: ReferenceTensor, scale: number): ReferenceTensor {
  const dim = x.shape[3];
  const data = Float64Array.from(x.data);
  const features = Array.from(
    { length: data.length / dim },
    (_, row) => taylor2(data.subarray(row * dim, (row + 1) * dim), scale),
  );
  const width = 1 + dim + dim * (dim + 1) / 2;
  return { data: features.flat(), shape: [...x.shape.slice(0, 3), width] };
}
