import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { silu } from "./activations.ts";
import type { SequenceOptions } from "./options.ts";
import { sequencesOf } from "./sequences.ts";
import { zeros } from "./tensors.ts";

/** Options for {@linkcode causalConv1d}. */
export interface CausalConv1dOptions extends Omit<SequenceOptions, "reverse"> {
  /**
   * Added to the sum, `[C]`.
   *
   * @default {undefined}
   */
  bias?: ReferenceTensor;
  /**
   * What the sum goes through in the end.
   *
   * @default {"none"}
   */
  activation?: "silu" | "none";
  /**
   * The W - 1 inputs before the first token of each sequence, one `[C, W - 1]` each, the oldest first; 0
   * by default.
   *
   * @default {undefined}
   */
  state?: ReferenceTensor;
}

/** What {@linkcode causalConv1d} returns. */
export interface CausalConv1dResult {
  /** The output, `[B, T, C]`. */
  out: Float64Tensor;
  /**
   * The last W - 1 inputs of each sequence, `[C, W - 1]` each, the oldest first, where it is asked for;
   * those of the initial state where the sequence is shorter.
   */
  finalState?: Float64Tensor;
}

/**
 * The short convolution in front of Mamba and the delta rules, one filter for each channel: y_t = bias +
 * Σ_i weight_i x_{t-W+1+i}, i from 0 to W - 1, then the activation.
 *
 * The last tap, weight_{W-1}, belongs to the token itself, as in causal_conv1d; before the first token
 * of a sequence x is its state.
 *
 * @param x The inputs, `[B, T, C]`.
 * @param weight The filters, `[C, W]`.
 * @param options Bias, activation, states and sequences.
 * @returns The output `[B, T, C]`, and the final state where it is asked for.
 *
 * @example Two taps
 * ```ts
 * import { causalConv1d } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [1, 2, 3], shape: [1, 3, 1] };
 * const weight = { data: [10, 1], shape: [1, 2] };
 *
 * const { out, finalState } = causalConv1d(x, weight, { finalState: true });
 *
 * assertEquals(out.data, Float64Array.of(1, 12, 23));
 * assertEquals(finalState?.data, Float64Array.of(3));
 * ```
 */
export function causalConv1d(
  x: ReferenceTensor,
  weight: ReferenceTensor,
  options: CausalConv1dOptions = {},
): CausalConv1dResult {
  const { bias, activation = "none", state, finalState = false, cuSeqlens } = options;
  const [batch, length, channels] = x.shape;
  const width = weight.shape[1];
  const sequences = sequencesOf(batch, length, cuSeqlens, false);
  const last = zeros([sequences.length, channels, width - 1]);
  const out = zeros(x.shape);

  for (const { n, tokens } of sequences) {
    for (let c = 0; c < channels; c++) {
      const row = (n * channels + c) * (width - 1);
      const before = Array.from({ length: width - 1 }, (_, i) => state ? state.data[row + i] : 0);
      const xs = [...before, ...tokens.map((t) => x.data[t * channels + c])];
      for (const [index, t] of tokens.entries()) {
        let y = bias ? bias.data[c] : 0;
        for (let i = 0; i < width; i++) y += weight.data[c * width + i] * xs[index + i];
        out.data[t * channels + c] = activation === "silu" ? silu(y) : y;
      }
      last.data.set(xs.slice(tokens.length), row);
    }
  }
  return finalState ? { out, finalState: last } : { out };
}
