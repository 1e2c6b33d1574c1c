/**
 * AnchorAttention: query i sees keys j ≤ i of its own document, and the first token, which all share.
 *
 * allow(i, j) = j ≤ i ∧ (d_i = d_j ∨ d_j = 0): the first token of a packed row is a document of its own,
 * the anchor, number 0. Positions run on through all documents, so the anchor has one position for all.
 * bf16 angles break the relative invariance of RoPE, worst at the first token; those of `rope` do not
 * depend on the storage of q. Wang et al., "When Precision Meets Position: BFloat16 Breaks Down RoPE in
 * Long-Context Training" (2024); catalogue T20. The kernel's part is the block map, made once for all
 * layers, which leaves out blocks of other documents, and the rotation.
 *
 * deno run examples/mechanisms/anchor_attention.ts
 *
 * @module
 */
import {
  attention,
  type BlockMap,
  causal,
  compileBlockMap,
  documentMask,
  either,
  requestGpu,
  rope,
  type Tensor,
} from "@tessera/kernels";
import { attention as reference, rope as ropeReference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Who sees whom, of the number of each token's document, i32 `[T]`, 0 for the anchor. */
export function anchorMap(documents: Tensor<"i32">): BlockMap {
  const [tokens] = documents.shape;
  const anchor = { code: "documents(j) == 0", inputs: { documents } };
  const mask = [causal(), either(documentMask(documents), anchor)];
  return compileBlockMap(documents.gpu, mask, { qLen: tokens, kvLen: tokens });
}

/** `[B, T, Hq, Dv]` of q `[B, T, Hq, D]`, k `[B, T, Hkv, D]`, not yet rotated, and v `[B, T, Hkv, Dv]`. */
export function anchorAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  blockMap: BlockMap,
): Tensor<E> {
  return q.gpu.scope(() => attention(rope(q), rope(k), v, { blockMap }).out);
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const documents = [1, 200, 90, 310, 39].flatMap((tokens, n) => Array<number>(tokens).fill(n));
  const shape = [1, documents.length, 4, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const expected = reference(ropeReference(q), ropeReference(k), v, {
    mask: ({ i, j }) => j <= i && (documents[i] === documents[j] || documents[j] === 0),
  });
  using map = anchorMap(gpu.tensor(Int32Array.from(documents), [documents.length]));
  const out = anchorAttention(q.tensor, k.tensor, v.tensor, map);
  const density = (await map.density()).toFixed(2);
  console.log(
    `AnchorAttention, ${documents.length} tokens: density ${density}, ${await errorOf(
      out,
      expected.out,
    )}`,
  );
}
