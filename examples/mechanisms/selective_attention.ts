/**
 * Selective self-attention: o_i = Σ_j softmax_j(τ_q(i) q_i · k_j / √D) τ_v(j) v_j.
 *
 * Rows that see more keys need sharper weights: τ_q(i) = 1 + e^{−e^β} log i, β learned, i counted from 1,
 * as in the official code. A part that depends on the token is given as a tensor and added; that it is
 * the tanh of a small network of the embedding, and added rather than multiplied, is unsure. τ_v has
 * nothing to do with the kernel: whoever projects v multiplies it. Zhang et al., "Selective Attention:
 * Enhancing Transformer through Principled Context Control" (NeurIPS 2024); catalogue T03. The kernel's
 * part is the score hook.
 *
 * deno run examples/mechanisms/selective_attention.ts
 *
 * @module
 */
import { attention, requestGpu, type Tensor } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode selectiveAttention}. */
export interface SelectiveAttentionOptions {
  /** β, learned; 1.5 is the official start. */
  beta: number;
  /** What tokens add to τ_q, `[B, T, Hq]`. */
  tokens?: Tensor;
}

/** Causal: `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k `[B, T, Hkv, D]` and τ_v v, `[B, T, Hkv, Dv]`. */
export function selectiveAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { beta, tokens }: SelectiveAttentionOptions,
): Tensor<E> {
  const token = tokens ? " + token_part(b, i, h)" : "";
  const score = `(1.0 + growth * log(f32(i + 1))${token}) * s`;
  const inputs = { growth: Math.exp(-Math.exp(beta)), ...(tokens && { token_part: tokens }) };
  return attention(q, k, v, { score, inputs, causal: true }).out;
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [tokens, beta] = [300, 0.5];
  const shape = [1, tokens, 4, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const strength = (i: number) => 1 + Math.exp(-Math.exp(beta)) * Math.log(i + 1);
  const expected = reference(q, k, v, { score: (s, { i }) => s * strength(i), causal: true });
  const out = selectiveAttention(q.tensor, k.tensor, v.tensor, { beta });
  const last = strength(tokens - 1).toFixed(1);
  console.log(
    `selective attention, ${tokens} tokens, the last ${last} times as sharp: ${await errorOf(
      out,
      expected.out,
    )}`,
  );
}
