/**
 * Kronecker (tensor) attention: triples instead of pairs, o_i = Σ_{j,l} A_i(jl) (v¹_j ⊙ v²_l) with A_i(jl)
 * ∝ exp(Σ_c q_ic k¹_jc k²_lc).
 *
 * The keys are all n₁ n₂ products of rows, which are never made: for each l, (q ⊙ k²_l) · k¹_j is an
 * ordinary attention, its output times v²_l a part, and the parts are merged by their lse. Exact and cubic.
 * Alman and Song, "How to Capture Higher-order Correlations? Generalizing Matrix Softmax Attention to
 * Kronecker Computation" (ICLR 2024); catalogue T23, equation from knowledge of the paper. The kernels' part
 * is n₂ attentions and their merge; products with a row are a convolution of one tap.
 *
 * deno run examples/mechanisms/kronecker_attention.ts
 *
 * @module
 */
import { attention, causalConv1d, mergeAttention, requestGpu, type Tensor } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** A token of the second keys and values, the same for all batch entries. */
export interface SecondToken {
  /** k²_l, `[Hq · D, 1]`. */
  readonly k: Tensor;
  /** v²_l, `[Hq · Dv, 1]`. */
  readonly v: Tensor;
}

/**
 * `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k¹ `[B, S, Hkv, D]`, v¹ `[B, S, Hkv, Dv]` and tokens of k² and v²;
 * `scale` multiplies the triple product. Until they are merged, an output for each token of k² is held.
 */
export function kroneckerAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { second, scale = 1 }: { second: readonly SecondToken[]; scale?: number },
): Tensor<E> {
  return q.gpu.scope(() => {
    const parts = second.map((token) => {
      const { out, lse } = attention(times(q, token.k), k, v, { scale, lse: true });
      return { out: times(out, token.v), lse: lse! };
    });
    return mergeAttention(parts).out;
  });
}

/** x `[B, T, H, D]` ⊙ row `[H · D, 1]`. */
function times<E extends "f32" | "f16">(x: Tensor<E>, row: Tensor): Tensor<E> {
  const [batch, tokens, heads, dim] = x.shape;
  const channels = x.gpu.wrap(x.buffer, [batch, tokens, heads * dim], x.dtype);
  return x.gpu.wrap(causalConv1d(channels, row).out.buffer, x.shape, x.dtype);
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [first, second, heads, dim] = [60, 24, 2, 32];
  const shape = [1, first, heads, dim];
  const rows = [second, heads, dim];
  const [q, k, v, k2, v2] = randomTensors(gpu, shape, shape, shape, rows, rows);
  const width = heads * dim;
  const row = (data: Float32Array, l: number) => data.subarray(l * width, (l + 1) * width);
  const tokens = Array.from({ length: second }, (_, l) => ({
    k: gpu.tensor(row(k2.data, l), [width, 1]),
    v: gpu.tensor(row(v2.data, l), [width, 1]),
  }));
  const scale = dim ** -0.5;
  const out = kroneckerAttention(q.tensor, k.tensor, v.tensor, { second: tokens, scale });
  // the oracle has every key and value: n₁ n₂ products of rows
  const products = (one: Float32Array, other: Float32Array) => ({
    data: Float64Array.from({ length: first * second * width }, (_, n) => {
      const [pair, c] = [Math.floor(n / width), n % width];
      return one[Math.floor(pair / second) * width + c] * other[pair % second * width + c];
    }),
    shape: [1, first * second, heads, dim],
  });
  const expected = reference(q, products(k.data, k2.data), products(v.data, v2.data), { scale });
  console.log(
    `Kronecker attention, ${first} x ${second} keys: ${await errorOf(out, expected.out)}`,
  );
}
