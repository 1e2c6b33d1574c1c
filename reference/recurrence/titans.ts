import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { addOuter, rowTimes, scaleBy } from "./matrices.ts";
import type { StateOptions } from "./options.ts";
import { readersOf, rowsOf, sequencesOf } from "./sequences.ts";
import { loadMatrices, storeMatrices } from "./states.ts";
import { zeros } from "./tensors.ts";

/** The state of {@linkcode titansMemory}. */
export interface TitansMemoryState {
  /** The memory M, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  m: ReferenceTensor;
  /** The momentum S, of the same shape. */
  s: ReferenceTensor;
}

/** The state of {@linkcode titansMemory} as it returns it. */
export interface Float64TitansMemoryState extends TitansMemoryState {
  /** The memory M, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  m: Float64Tensor;
  /** The momentum S, of the same shape. */
  s: Float64Tensor;
}

/** Options for {@linkcode titansMemory}. */
export interface TitansMemoryOptions extends Omit<StateOptions, "initialState" | "reverse"> {
  /** The learning rates θ, `[B, T, HV]`. */
  theta: ReferenceTensor;
  /**
   * How much of the momentum stays, `[B, T, HV]`, in [0, 1]; without it 0, which is no momentum.
   *
   * @default {undefined}
   */
  eta?: ReferenceTensor;
  /**
   * How much of the memory is forgotten, `[B, T, HV]`, in [0, 1]; without it 0.
   *
   * @default {undefined}
   */
  alpha?: ReferenceTensor;
  /**
   * Tokens whose gradients are taken from the same memory, the one that the first of them finds; the
   * last ones of a sequence may be fewer. It is part of the model: another number gives other outputs.
   *
   * @default {1}
   */
  miniBatch?: number;
  /**
   * The state that the first token of each sequence finds; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: TitansMemoryState;
}

/** What {@linkcode titansMemory} returns. */
export interface TitansMemoryResult {
  /** The output, `[B, T, HO, V]`. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, where it is asked for. */
  finalState?: Float64TitansMemoryState;
}

/**
 * The linear memory of Titans (Behrouz et al., Titans: Learning to Memorize at Test Time, 2024), trained
 * at test time with momentum and weight decay: S_t = η_t S_{t-1} - θ_t ∇_t, M_t = (1 - α_t) M_{t-1} + S_t
 * and o_t = scale q_t M_t.
 *
 * ∇_t = k_tᵀ (k_t M̂_t - v_t) is the gradient of |k_t M̂_t - v_t|² / 2 with respect to the memory M̂_t:
 * what the first token of the mini-batch finds, M, decayed down to token t, (1 - α) … (1 - α_t) M. The
 * paper's loss has no 1/2, so θ is twice its θ. In mini-batches of one token M̂_t is (1 - α_t) M_{t-1},
 * and without momentum it is {@linkcode gatedDeltaRule} with g = log(1 - α) and β = θ.
 *
 * A state is handed over between mini-batches: resumed where one ends, a sequence goes on as if it had
 * not been cut. The default scale is K^-1/2. Heads are grouped as in {@linkcode recurrence}.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options Learning rates, momentum and decay, the mini-batch, the scale, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Momentum writes the first value twice
 * ```ts
 * import { titansMemory } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1, 1];
 * const ones = { data: [1, 1], shape };
 * const theta = { data: [1, 0], shape: [1, 2, 1] };
 * const eta = { data: [0, 0.5], shape: [1, 2, 1] };
 *
 * const { out } = titansMemory(ones, ones, { data: [8, 0], shape }, { theta, eta });
 *
 * assertEquals(out.data, Float64Array.of(8, 8 + 4));
 * ```
 */
export function titansMemory(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: TitansMemoryOptions,
): TitansMemoryResult {
  const [batch, length, qHeads, keyDim] = q.shape;
  const [heads, valueDim] = v.shape.slice(-2);
  const outHeads = Math.max(qHeads, heads);
  const { theta, eta, alpha, miniBatch = 1, scale = keyDim ** -0.5 } = options;
  const { initialState, stateLayout, cuSeqlens } = options;
  const sequences = sequencesOf(batch, length, cuSeqlens, false);
  const shape = [sequences.length, heads, keyDim, valueDim];
  const memories = loadMatrices(shape, initialState?.m, stateLayout);
  const momenta = loadMatrices(shape, initialState?.s, stateLayout);
  const [qAt, kAt, vAt] = [rowsOf(q, outHeads), rowsOf(k, heads), rowsOf(v, heads)];
  const out = zeros([batch, length, outHeads, valueDim]);

  for (const { n, tokens } of sequences) {
    for (let s = 0; s < heads; s++) {
      const [M, S] = [memories[n * heads + s], momenta[n * heads + s]];
      let start = M; // the memory that gradients are taken from, decayed
      for (const [index, t] of tokens.entries()) {
        const [θ, η, α] = [theta, eta, alpha].map((x) => x ? x.data[t * heads + s] : 0);
        if (index % miniBatch === 0) start = M.slice();
        scaleBy(start, 1 - α);
        const read = rowTimes(kAt(t, s), start);
        const surprise = vAt(t, s).map((v_e, e) => v_e - read[e]);
        scaleBy(S, η);
        addOuter(S, kAt(t, s), surprise, θ);
        scaleBy(M, 1 - α);
        S.forEach((step, place) => M[place] += step);
        for (const h of readersOf(s, heads, outHeads)) {
          const row = rowTimes(qAt(t, h), M).map((o) => scale * o);
          out.data.set(row, (t * outHeads + h) * valueDim);
        }
      }
    }
  }
  if (!options.finalState) return { out };
  const [m, s] = [memories, momenta].map((x) => storeMatrices(x, shape, stateLayout));
  return { out, finalState: { m, s } };
}
