import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { addOuter, dot, rowTimes } from "./matrices.ts";
import type { StateOptions } from "./options.ts";
import { readersOf, rowsOf, sequencesOf } from "./sequences.ts";
import { loadMatrices, storeMatrices } from "./states.ts";
import { zeros } from "./tensors.ts";

/** The state of {@linkcode tttLinear}: the linear model that it trains. */
export interface TttLinearState {
  /** The weights W, `[N, HV, D, D]`, or with both axes swapped where the layout is `"vk"`. */
  w: ReferenceTensor;
  /** The bias c, `[N, HV, D]`. */
  b: ReferenceTensor;
}

/** The state of {@linkcode tttLinear} as it returns it. */
export interface Float64TttLinearState extends TttLinearState {
  /** The weights W, `[N, HV, D, D]`, or with both axes swapped where the layout is `"vk"`. */
  w: Float64Tensor;
  /** The bias c, `[N, HV, D]`. */
  b: Float64Tensor;
}

/** Options for {@linkcode tttLinear}. */
export interface TttLinearOptions extends Omit<StateOptions, "initialState" | "reverse"> {
  /**
   * Tokens of a mini-batch; the last one of a sequence may have fewer. It is part of the model: another
   * size gives other outputs.
   *
   * @default {16}
   */
  miniBatch?: number;
  /**
   * Added to the variance in the layer norm.
   *
   * @default {1e-6}
   */
  eps?: number;
  /**
   * The state that the first token of each sequence finds; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: TttLinearState;
}

/** What {@linkcode tttLinear} returns. */
export interface TttLinearResult {
  /** The output, `[B, T, HO, D]`. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: Float64TttLinearState;
}

/**
 * TTT-Linear (Sun et al., Learning to (Learn at Test Time): RNNs with Expressive Hidden States, 2024): the
 * state is a linear model x W + c that each mini-batch trains by one step of gradient descent.
 *
 * G_j is the gradient of |LN(z) ⊙ w + b - (v_j - k_j)|² / 2 with respect to z = k_j W + c, with W and c
 * as the mini-batch finds them, LN(z) = (z - mean) / √(variance + eps). Token i of the mini-batch then
 * reads o_i = scale q_i (W - η_i Σ_{j<=i} k_jᵀ G_j) + c - η_i Σ_{j<=i} G_j, and its output is
 * o_i + LN(o_i) ⊙ w + b. The mini-batch leaves W - η Σ_j k_jᵀ G_j and c - η Σ_j G_j with the η of its
 * last token.
 *
 * A state is handed over between mini-batches: resumed where one ends, a sequence goes on as if it had
 * not been cut. K and V are both D. The default scale is D^-1/2. Heads are grouped as in
 * {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, D]`.
 * @param k The keys, `[B, T, HK, D]`.
 * @param v The values, `[B, T, HV, D]`.
 * @param w The weights of the layer norm, `[HV, D]`.
 * @param b The biases of the layer norm, `[HV, D]`.
 * @param eta The learning rates η, `[B, T, HV]`.
 * @param options The mini-batch, the scale, states and sequences.
 * @returns The output `[B, T, HO, D]`, and the final state where it is asked for.
 *
 * @example Learning rates of 0 leave the bias of the layer norm
 * ```ts
 * import { tttLinear } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [1, 2], shape: [1, 1, 1, 2] };
 * const w = { data: [1, 1], shape: [1, 2] };
 * const b = { data: [3, 4], shape: [1, 2] };
 *
 * const { out } = tttLinear(x, x, x, w, b, { data: [0], shape: [1, 1, 1] });
 *
 * assertEquals(out.data, Float64Array.of(3, 4));
 * ```
 */
export function tttLinear(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  w: ReferenceTensor,
  b: ReferenceTensor,
  eta: ReferenceTensor,
  options: TttLinearOptions = {},
): TttLinearResult {
  const [batch, length, qHeads, dim] = q.shape;
  const heads = v.shape[2];
  const outHeads = Math.max(qHeads, heads);
  const { miniBatch = 16, eps = 1e-6, scale = dim ** -0.5, initialState, stateLayout } = options;
  const sequences = sequencesOf(batch, length, options.cuSeqlens, false);
  const shape = [sequences.length, heads, dim, dim];
  const weights = loadMatrices(shape, initialState?.w, stateLayout);
  const biases = zeros(shape.slice(0, 3));
  biases.data.set(initialState?.b.data ?? []);
  const [qAt, kAt, vAt] = [rowsOf(q, outHeads), rowsOf(k, heads), rowsOf(v, heads)];
  const [wAt, bAt] = [w, b].map(({ data }) => rowsOf({ data, shape: [1, heads, dim] }, heads));
  const out = zeros([batch, length, outHeads, dim]);

  for (const { n, tokens } of sequences) {
    for (let s = 0; s < heads; s++) {
      const state = n * heads + s;
      const norm = { w: wAt(0, s), b: bAt(0, s), eps };
      const W = weights[state];
      const c = biases.data.subarray(state * dim, (state + 1) * dim);
      for (let start = 0; start < tokens.length; start += miniBatch) {
        const [sumKG, sumG] = [new Float64Array(dim * dim), new Float64Array(dim)];
        let η = 0;
        for (const t of tokens.slice(start, start + miniBatch)) {
          const z = rowTimes(kAt(t, s), W).map((z_e, e) => z_e + c[e]);
          const target = vAt(t, s).map((v_e, e) => v_e - kAt(t, s)[e]);
          const G = gradient(z, target, norm);
          addOuter(sumKG, kAt(t, s), G);
          G.forEach((G_e, e) => sumG[e] += G_e);
          η = eta.data[t * heads + s];
          for (const h of readersOf(s, heads, outHeads)) {
            const [held, learned] = [W, sumKG].map((matrix) => rowTimes(qAt(t, h), matrix));
            const o = held.map((_, e) => scale * (held[e] - η * learned[e]) + c[e] - η * sumG[e]);
            const { hat } = standardized(o, eps);
            const row = o.map((o_e, e) => o_e + hat[e] * norm.w[e] + norm.b[e]);
            out.data.set(row, (t * outHeads + h) * dim);
          }
        }
        for (let place = 0; place < W.length; place++) W[place] -= η * sumKG[place];
        for (let e = 0; e < dim; e++) c[e] -= η * sumG[e];
      }
    }
  }
  if (!options.finalState) return { out };
  return { out, finalState: { w: storeMatrices(weights, shape, stateLayout), b: biases } };
}

/** (z - mean) / deviation, and the deviation √(variance + eps). */
function standardized(z: Float64Array, eps: number): { hat: Float64Array; deviation: number } {
  const mean = z.reduce((sum, z_e) => sum + z_e, 0) / z.length;
  const centred = z.map((z_e) => z_e - mean);
  const deviation = Math.sqrt(dot(centred, centred) / z.length + eps);
  return { hat: centred.map((x) => x / deviation), deviation };
}

/** The gradient of |LN(z) ⊙ w + b - target|² / 2 with respect to z. */
function gradient(
  z: Float64Array,
  target: Float64Array,
  { w, b, eps }: { w: Float64Array; b: Float64Array; eps: number },
): Float64Array {
  const { hat, deviation } = standardized(z, eps);
  const inner = hat.map((x, e) => (x * w[e] + b[e] - target[e]) * w[e]); // with respect to LN(z)
  const mean = inner.reduce((sum, g) => sum + g, 0) / z.length;
  const along = dot(inner, hat) / z.length;
  return inner.map((g, e) => (g - mean - hat[e] * along) / deviation);
}
