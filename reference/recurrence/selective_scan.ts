import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { silu, softplus } from "./activations.ts";
import type { SequenceOptions } from "./options.ts";
import { sequencesOf } from "./sequences.ts";
import { zeros } from "./tensors.ts";

/** Options for {@linkcode selectiveScan}; C channels of N states each. */
export interface SelectiveScanOptions extends SequenceOptions {
  /**
   * The skip connection: d u is added to the output, `[C]`.
   *
   * @default {undefined}
   */
  d?: ReferenceTensor;
  /**
   * The output gate: the output, skip connection included, is multiplied by silu(z), `[B, T, C]`.
   *
   * @default {undefined}
   */
  z?: ReferenceTensor;
  /**
   * Added to delta, `[C]`.
   *
   * @default {undefined}
   */
  deltaBias?: ReferenceTensor;
  /**
   * Whether delta, bias included, goes through softplus.
   *
   * @default {false}
   */
  deltaSoftplus?: boolean;
  /**
   * The state that the first token of each sequence finds, one `[C, N]` for each sequence; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: ReferenceTensor;
}

/** What {@linkcode selectiveScan} returns. */
export interface SelectiveScanResult {
  /** The output, `[B, T, C]`. */
  out: Float64Tensor;
  /** The state behind the last token of each sequence, `[C, N]` each, where it is asked for. */
  finalState?: Float64Tensor;
}

/**
 * The selective scan of Mamba (Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State
 * Spaces, 2023): in each channel, with N states, h_t = exp(Δ_t a) h_{t-1} + Δ_t b_t u_t and
 * y_t = c_t · h_t + d u_t, times silu(z_t).
 *
 * Δ is delta plus its bias, through softplus where the options say so; a is negative (the paper's
 * -exp(A_log)). b and c are the same for all channels. As in mamba_ssm deltaSoftplus is off by default.
 *
 * @param u The inputs, `[B, T, C]`.
 * @param delta The step sizes, `[B, T, C]`.
 * @param a The decay rates, `[C, N]`.
 * @param b What the inputs are written with, `[B, T, N]`.
 * @param c What the states are read with, `[B, T, N]`.
 * @param options Skip connection, gate, treatment of delta, states and sequences.
 * @returns The output `[B, T, C]`, and the final state where it is asked for.
 *
 * @example Two steps of half a state
 * ```ts
 * import { selectiveScan } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1];
 * const ones = { data: [1, 1], shape };
 * const delta = { data: [2, 1], shape };
 * const a = { data: [-Math.LN2], shape: [1, 1] };
 *
 * const { out } = selectiveScan({ data: [3, 5], shape }, delta, a, ones, ones);
 *
 * assertAlmostEquals(out.data[0], 2 * 3);
 * assertAlmostEquals(out.data[1], 6 / 2 + 5);
 * ```
 */
export function selectiveScan(
  u: ReferenceTensor,
  delta: ReferenceTensor,
  a: ReferenceTensor,
  b: ReferenceTensor,
  c: ReferenceTensor,
  options: SelectiveScanOptions = {},
): SelectiveScanResult {
  const { d, z, deltaBias, deltaSoftplus = false, cuSeqlens, reverse = false } = options;
  const [batch, length, channels] = u.shape;
  const [, states] = a.shape;
  const sequences = sequencesOf(batch, length, cuSeqlens, reverse);
  const h = zeros([sequences.length, channels, states]);
  h.data.set(options.initialState?.data ?? []);
  const out = zeros(u.shape);

  for (const { n, tokens } of sequences) {
    for (let channel = 0; channel < channels; channel++) {
      const start = (n * channels + channel) * states;
      for (const t of tokens) {
        const at = t * channels + channel;
        const biased = delta.data[at] + (deltaBias?.data[channel] ?? 0);
        const Δ = deltaSoftplus ? softplus(biased) : biased;
        let y = d ? d.data[channel] * u.data[at] : 0;
        for (let i = 0; i < states; i++) {
          const kept = Math.exp(Δ * a.data[channel * states + i]) * h.data[start + i];
          h.data[start + i] = kept + Δ * b.data[t * states + i] * u.data[at];
          y += c.data[t * states + i] * h.data[start + i];
        }
        out.data[at] = z ? y * silu(z.data[at]) : y;
      }
    }
  }
  return options.finalState ? { out, finalState: h } : { out };
}
