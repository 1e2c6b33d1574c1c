/**
 * Attention calibration (ACT): in chosen heads, keys that draw too much attention keep β of it, and the
 * rest of a row shares what is freed in proportion.
 *
 * Sinks are S = {j > 0 : mean over rows i ≥ j of A_ij > threshold}. With m = Σ_S A_ij a row becomes
 * βm O_S + (1 − βm) O_rest = m (β O_S + (1 − β) O_rest) + (1 − m) O_rest: a mix with constants, then the
 * merge by lse that gives m = e^{lse_S − lse}. Yu et al., "Unveiling and Harnessing Hidden Attention
 * Sinks" (ICML 2024); catalogue T24. Its code leaves the first sink that it finds as it is; here that is
 * token 0 in any case. The kernels' part is everything: column sums without the matrix, the choice of sinks
 * as a mask that reads them, two attentions over disjoint keys, the merges.
 *
 * deno run examples/mechanisms/attention_calibration.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  mergeAttention,
  requestGpu,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode calibratedAttention}. */
export interface CalibrationOptions {
  /** Keys whose mean weight is above it are sinks. */
  threshold: number;
  /** β: what sinks keep of their weight. */
  beta: number;
  /** The query heads that are calibrated. */
  heads: readonly number[];
}

/** Causal: `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k `[B, T, Hkv, D]` and v `[B, T, Hkv, Dv]`. */
export function calibratedAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { threshold, beta, heads }: CalibrationOptions,
): Tensor<E> {
  const [, tokens, count] = q.shape;
  const kept = Float32Array.from({ length: count }, (_, h) => heads.includes(h) ? beta : 1);
  return q.gpu.scope(() => {
    const { columnSums } = attentionStatistics(q, k, { causal: true, columnSums: true });
    const inputs = { received: columnSums!, threshold, tokens };
    const isSink = "j > 0 && received(b, j, h) > threshold * (tokens - f32(j))";
    const [sinks, rest] = [isSink, `!(${isSink})`].map((mask) => {
      const { out, lse } = attention(q, k, v, { causal: true, mask, inputs, lse: true });
      return { out, lse: lse! };
    });
    const coefficients = [kept, kept.map((share) => 1 - share)].map((shares) =>
      q.gpu.tensor(shares, [count])
    );
    const { out } = mergeAttention([sinks, rest], { coefficients });
    return mergeAttention([{ out, lse: sinks.lse }, rest]).out;
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [tokens, heads, threshold, beta] = [200, 4, 0.012, 0.4];
  const shape = [1, tokens, heads, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const { columnSums } = statistics(q, k, { causal: true, columnSums: true });
  const isSink = (j: number, h: number) =>
    j > 0 && columnSums!.data[j * heads + h] > threshold * (tokens - j);
  // the mix of both parts has the weights of the oracle's one call: A_ij times β, or (1 - βm) / (1 - m)
  const whole = reference(q, k, v, { causal: true });
  const rest = reference(q, k, v, { causal: true, mask: ({ h, j }) => !isSink(j, h) });
  const expected = rest.out.data.map((part, n) => {
    const row = Math.floor(n / shape[3]);
    const others = Math.exp(rest.lse.data[row] - whole.lse.data[row]); // 1 - m
    return beta * (whole.out.data[n] - others * part) + (1 - beta * (1 - others)) * part;
  });
  const options = { threshold, beta, heads: [0, 1, 2, 3] };
  const out = calibratedAttention(q.tensor, k.tensor, v.tensor, options);
  const sinks = columnSums!.data.filter((_, n) => isSink(Math.floor(n / heads), n % heads));
  console.log(
    `attention calibration, ${tokens} tokens, ${sinks.length / heads} sinks a head: ${await errorOf(
      out,
      { data: expected },
    )}`,
  );
}
