/**
 * Stick-breaking attention: A_ij = σ(z_ij) Π_{j<k<i} (1 − σ(z_ik)) for j < i, z_ij = q_i · k_j / √D.
 *
 * The nearest key breaks its share off a stick of length 1, the next one of what is left, and so on; what
 * is left in the end, 1 − Σ_j A_ij, goes to the token's own value. No positions are encoded. In
 * ModuleFormer heads are experts: each token is routed to a few, whose gates multiply their outputs, and
 * keys and values are shared by all. Shen et al., "ModuleFormer" (2023); Tan et al., "Scaling Stick-Breaking
 * Attention" (ICLR 2025); catalogue T12. The kernel's part is the weight, walked from the nearest tile of
 * keys backwards, and that tiles without a routed query cost nothing; the rest of the stick is a merge.
 *
 * deno run examples/mechanisms/stick_breaking_attention.ts
 *
 * @module
 */
import { attention, mergeAttention, requestGpu, type Tensor } from "@tessera/kernels";
import {
  attention as reference,
  mergeAttention as mergeReference,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode stickBreakingAttention}. */
export interface StickBreakingOptions {
  /** Whether what is left of the stick goes to v_i; v needs as many heads as q then. */
  remainder?: boolean;
  /** Gates of the routed heads, f32 `[B, T, Hq]`, 0 where a token is not routed to a head. */
  gates?: Tensor<"f32">;
}

/** `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k `[B, T, Hkv, D]` and v `[B, T, Hkv, Dv]`. */
export function stickBreakingAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { remainder = false, gates }: StickBreakingOptions = {},
): Tensor<E> {
  const weight = "stickBreaking";
  // causal leaves tiles out, the mask the token itself
  const options = { weight, causal: true, mask: "j < i", aux: true, ...(gates && { gates }) };
  if (!remainder) return attention(q, k, v, options).out;
  return q.gpu.scope(() => {
    const { out, aux } = attention(q, k, v, options);
    const parts = [{ out, aux: aux! }, { out: v, aux: aux! }];
    const gated = gates && { coefficients: [1, gates], masses: true };
    return mergeAttention(parts, { weight, ...gated }).out;
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const shape = [1, 300, 4, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const weight = "stickBreaking";
  const { out, aux } = reference(q, k, v, { weight, mask: ({ i, j }) => j < i });
  const expected = mergeReference([{ out, aux: aux! }, { out: v, aux: aux! }], { weight });
  const actual = stickBreakingAttention(q.tensor, k.tensor, v.tensor, { remainder: true });
  const left = Math.exp(aux!.data.at(-1)!).toExponential(0);
  console.log(
    `stick-breaking attention, ${shape[1]} tokens, ${left} left of the last stick: ${await errorOf(
      actual,
      expected.out,
    )}`,
  );
}
