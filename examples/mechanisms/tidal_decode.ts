/**
 * TidalDecode: few layers of a decoding step see all keys and choose those that the other layers see.
 *
 * A layer that selects gives each key the largest score that a query of its group has for it, max_g q_g ·
 * k_j, and lists the `keep` best for each head of keys; the latest keys are always among them. The layers up
 * to the next such one attend to this list alone. Yang et al., "TidalDecode: Fast and Accurate LLM Decoding
 * with Position Persistent Sparse Attention" (2024); catalogue D03, from knowledge of the paper; that a group
 * takes the maximum is unsure. Mending of cached keys (cache correction) is left to the model. The kernels'
 * part is everything: the list goes from selection to `keyIndices` without the CPU.
 *
 * deno run examples/mechanisms/tidal_decode.ts
 *
 * @module
 */
import {
  attention,
  attentionStatistics,
  gatherTokens,
  requestGpu,
  selectTopK,
  type Tensor,
} from "@tessera/kernels";
import {
  attention as reference,
  attentionStatistics as statistics,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode tidalDecode}. */
export interface TidalOptions {
  /** Keys that each head sees. */
  keep: number;
  /** How many of them are the latest ones. */
  recent: number;
}

/** i32 `[B, Hkv, keep]` of q `[B, 1, Hq, D]` and k `[B, S, Hkv, D]`: `attention(…, { keyIndices })`. */
export function tidalDecode<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  { keep, recent }: TidalOptions,
): Tensor<"i32"> {
  const { gpu } = q;
  const [batch, kvLen, kvHeads, dim] = k.shape;
  const heads = q.shape[2];
  const queryBlock = heads / kvHeads;
  return gpu.scope(() => {
    // a group's queries as tokens of its head of keys
    const order = Int32Array.from(
      { length: batch * heads },
      (_, n) => n % kvHeads * queryBlock + Math.floor(n % heads / kvHeads),
    );
    const rows = gpu.wrap(q.buffer, [batch, heads, 1, dim], q.dtype);
    const moved = gatherTokens(rows, gpu.tensor(order, [batch, heads]));
    const queries = gpu.wrap(moved.buffer, [batch, queryBlock, kvHeads, dim], q.dtype);
    const { blockMax } = attentionStatistics(queries, k, {
      ...{ score: "select(s, 1e30, j >= i32(latest))", inputs: { latest: kvLen - recent } },
      blockMax: { queryBlock, keyBlock: 1 },
    });
    const scores = gpu.wrap(blockMax!.buffer, [batch, kvHeads, kvLen], "f32");
    return selectTopK(scores, keep).indices;
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [tokens, keep, recent, heads, kvHeads, dim] = [2048, 128, 16, 8, 2, 64];
  const keys = [1, tokens, kvHeads, dim];
  // of the layer that selects, and of one that follows it
  const [q, k, q2, k2, v2] = randomTensors(
    gpu,
    [1, 1, heads, dim],
    keys,
    [1, 1, heads, dim],
    keys,
    keys,
  );
  const { blockMax } = statistics(q, k, { blockMax: { queryBlock: 1, keyBlock: 1 } });
  const group = heads / kvHeads;
  const chosen = Array.from({ length: kvHeads }, (_, head) => {
    const score = (j: number) => {
      if (j >= tokens - recent) return Infinity;
      const column = Array.from({ length: group }, (_, g) => (head * group + g) * tokens + j);
      return Math.max(...column.map((at) => blockMax!.data[at]));
    };
    const scores = Array.from({ length: tokens }, (_, j) => ({ j, s: score(j) }));
    scores.sort((one, other) => other.s > one.s ? 1 : -1);
    return new Set(scores.slice(0, keep).map(({ j }) => j));
  });
  const expected = reference(q2, k2, v2, {
    mask: ({ h, j }) => chosen[Math.floor(h / group)].has(j),
  });
  using keyIndices = tidalDecode(q.tensor, k.tensor, { keep, recent });
  const { out } = attention(q2.tensor, k2.tensor, v2.tensor, { keyIndices });
  console.log(
    `TidalDecode, ${keep} of ${tokens} keys: ${await errorOf(out, expected.out)}, density ${
      keep / tokens
    }`,
  );
}
