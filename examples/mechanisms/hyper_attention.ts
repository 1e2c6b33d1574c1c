/**
 * HyperAttention: queries see the keys that hash like them, and a sample of all other keys.
 *
 * q and k are hashed with the same planes and sorted by their codes; sorted queries see the block of sorted
 * keys at their place (sortLSH), and, of a sample of m sorted keys, those outside of it, each of which stands
 * for n / m keys: a softmax over e^s of the block and (n / m) e^s of the sample. Han et al., "HyperAttention:
 * Long-context Attention in Near-Linear Time" (ICLR 2024). Codes lie on a Gray code, so that the codes of
 * neighbouring blocks differ in one sign; the official code permutes signs by the Gray code itself, not by
 * its inverse, and neighbours then differ in more. The kernels' part is everything: hashes, sorting, moving,
 * block-diagonal attention as a batch of blocks, and a merge by lse.
 *
 * deno run examples/mechanisms/hyper_attention.ts
 *
 * @module
 */
import {
  argSort,
  attention,
  gatherTokens,
  hashTokens,
  mergeAttention,
  requestGpu,
  scatterTokens,
  type Tensor,
} from "@tessera/kernels";
import {
  argSort as sort,
  attention as reference,
  hashTokens as hash,
  type ReferenceTensor,
} from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode hyperAttention}. */
export interface HyperAttentionOptions<E extends "f32" | "f16"> {
  /** Normals of the planes, `[1, R, 1, D]`. */
  planes: Tensor<E>;
  /** Tokens of a block, which divide T. */
  block: number;
  /** Places of the sample among the sorted keys, `[B, m]`. */
  sample: Tensor<"i32">;
}

/** `[B, T, H, D]` of q, k and v `[B, T, H, D]`, not causal. */
export function hyperAttention<E extends "f32" | "f16">(
  q: Tensor<E>,
  k: Tensor<E>,
  v: Tensor<E>,
  { planes, block, sample }: HyperAttentionOptions<E>,
): Tensor<E> {
  const { gpu, shape } = q;
  const [batch, length, heads, dim] = shape;
  return gpu.scope(() => {
    const [queryOrder, keyOrder] = [q, k].map((x) => argSort(hashTokens(x, planes), { axis: 1 }));
    const sortedQ = gatherTokens(q, queryOrder);
    const [sortedK, sortedV] = [k, v].map((x) => gatherTokens(x, keyOrder));
    const blocks = [sortedQ, sortedK, sortedV].map(({ buffer }) =>
      gpu.wrap(buffer, [batch * length / block, block, heads, dim], q.dtype)
    );
    const diagonal = attention(blocks[0], blocks[1], blocks[2], { lse: true });
    const own = {
      out: gpu.wrap(diagonal.out.buffer, shape, q.dtype),
      lse: gpu.wrap(diagonal.lse!.buffer, [batch, length, heads], "f32"),
    };
    const [sampledK, sampledV] = [sortedK, sortedV].map((x) => gatherTokens(x, sample));
    const others = attention(sortedQ, sampledK, sampledV, {
      score: "s + log(share)",
      mask: `sample(b, j) / ${block} != i / ${block}`,
      inputs: { sample, share: length / sample.shape[1] },
      lse: true,
    });
    const { out } = mergeAttention([own, { out: others.out, lse: others.lse! }]);
    return scatterTokens(out, queryOrder, { length });
  });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [length, heads, dim, block, samples] = [1024, 2, 64, 64, 128];
  const shape = [1, length, heads, dim];
  const [q, k, v, planes] = randomTensors(gpu, shape, shape, shape, [1, 7, 1, dim]);
  const sample = Int32Array.from({ length: samples }, (_, n) => n * 37 % length);
  const placesOf = (x: ReferenceTensor): Int32Array => { // of tokens, `[T, H]`, as lines of a head
    const codes = hash(x, planes);
    const places = new Int32Array(length * heads);
    for (let h = 0; h < heads; h++) {
      const line = codes.data.filter((_, n) => n % heads === h);
      sort({ data: line, shape: [length] }).data.forEach((t, place) =>
        places[t * heads + h] = place
      );
    }
    return places;
  };
  const [queryPlaces, keyPlaces] = [q, k].map(placesOf);
  const chances = new Map(Array.from(sample, (place) => [place, Math.log(length / samples)]));
  const expected = reference(q, k, v, {
    score: (s, { h, i, j }) => {
      const [own, place] = [queryPlaces[i * heads + h], keyPlaces[j * heads + h]];
      if (Math.floor(own / block) === Math.floor(place / block)) return s;
      return s + (chances.get(place) ?? -Infinity);
    },
  });
  const options = { planes: planes.tensor, block, sample: gpu.tensor(sample, [1, samples]) };
  const out = hyperAttention(q.tensor, k.tensor, v.tensor, options);
  const seen = ((block + samples) / length).toFixed(2);
  console.log(
    `HyperAttention, ${length} tokens, ${seen} of the pairs: ${await errorOf(out, expected.out)}`,
  );
}
