/**
 * Sigmoid attention: o_i = Σ_j σ(q_i · k_j / √D + b) v_j with b = −log S.
 *
 * Weights are not divided by their sum, so a row has no maximum and no denominator and tiles of keys are
 * just added; hidden keys weigh 0, also under the causal mask. b makes the weights of S equal keys sum to
 * about 1. Language models of the paper add ALiBi to the scores. Ramapuram et al., "Theory, Analysis, and
 * Best Practices for Sigmoid Self-Attention" (ICLR 2025); catalogue T01, equation from knowledge of the
 * paper. All of it is the kernel's: the weight, b as a score hook whose number is no part of the text.
 *
 * deno run examples/mechanisms/sigmoid_attention.ts
 *
 * @module
 */
import { alibi, attention, requestGpu, type Tensor } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode sigmoidAttention}. */
export interface SigmoidAttentionOptions {
  /** b; −log S by default. */
  bias?: number;
  /** Whether query i sees keys j ≤ i + S − T alone. */
  causal?: boolean;
  /** ALiBi's slopes, `[Hq]`. */
  slopes?: Tensor;
}

/** `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k `[B, S, Hkv, D]` and v `[B, S, Hkv, Dv]`. */
export function sigmoidAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { bias = -Math.log(k.shape[1]), causal = false, slopes }: SigmoidAttentionOptions = {},
): Tensor<E> {
  const offset = k.shape[1] - q.shape[1];
  const score = ["s + shift", ...(slopes ? [alibi(slopes, { offset })] : [])];
  return attention(q, k, v, { weight: "sigmoid", score, inputs: { shift: bias }, causal }).out;
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [tokens, heads] = [300, 4];
  const shape = [1, tokens, heads, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const score = (s: number) => s - Math.log(tokens);
  const expected = reference(q, k, v, { weight: "sigmoid", score, causal: true });
  const out = sigmoidAttention(q.tensor, k.tensor, v.tensor, { causal: true });
  console.log(`sigmoid attention, ${tokens} tokens: ${await errorOf(out, expected.out)}`);
}
