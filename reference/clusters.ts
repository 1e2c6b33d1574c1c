import type { Int32Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode assignCentroids}. */
export interface AssignCentroidsOptions {
  /**
   * What makes a centroid the best for a token: the largest dot product, or the smallest distance.
   *
   * @default {"dot"}
   */
  metric?: "dot" | "l2";
  /**
   * How many tokens a centroid takes at most.
   *
   * @default {Infinity}
   */
  capacity?: number;
}

/** Which centroid each token belongs to. */
export interface Assignment {
  /** The centroid of each token, `[B, T, H]`; -1 where none had room. */
  cluster: Int32Tensor;
  /** How many tokens each centroid has, `[B, H, C]`. */
  counts: Int32Tensor;
}

/**
 * Assigns tokens to centroids, in rounds: each token that has none asks for the best centroid that has
 * room, and each centroid takes the best of those that ask, as far as it has room. Of equals the
 * smaller place comes first, of centroids and of tokens.
 *
 * @param x The tokens, `[B, T, H, D]`.
 * @param centroids The centroids, `[B or 1, C, H or 1, D]`.
 * @param options What is best, and how many tokens a centroid takes.
 * @returns The centroid of each token, and how many each has.
 *
 * @example The better of two that want the same place
 * ```ts
 * import { assignCentroids } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { data: [5, 6], shape: [1, 2, 1, 1] };
 * const centroids = { data: [1, 0], shape: [1, 2, 1, 1] };
 *
 * const { cluster } = assignCentroids(x, centroids, { capacity: 1 });
 *
 * assertEquals(cluster.data, Int32Array.of(1, 0));
 * ```
 */
export function assignCentroids(
  x: ReferenceTensor,
  centroids: ReferenceTensor,
  { metric = "dot", capacity = Infinity }: AssignCentroidsOptions = {},
): Assignment {
  const [batch, length, heads, dim] = x.shape;
  const [centroidBatch, count, centroidHeads] = centroids.shape;
  const cluster = new Int32Array(batch * length * heads).fill(-1);
  const counts = new Int32Array(batch * heads * count);
  for (let line = 0; line < batch * heads; line++) {
    const [b, h] = [Math.floor(line / heads), line % heads];
    const score = (t: number, c: number): number => {
      const token = ((b * length + t) * heads + h) * dim;
      const own = b % centroidBatch * count + c;
      const center = (own * centroidHeads + h % centroidHeads) * dim;
      let sum = 0;
      for (let d = 0; d < dim; d++) {
        const [value, mu] = [x.data[token + d], centroids.data[center + d]];
        sum += metric === "dot" ? value * mu : -((value - mu) ** 2);
      }
      return sum;
    };
    assignLine({ length, count, capacity, score }).forEach((c, t) => {
      cluster[(b * length + t) * heads + h] = c;
      if (c >= 0) counts[line * count + c]++;
    });
  }
  return {
    cluster: { data: cluster, shape: [batch, length, heads] },
    counts: { data: counts, shape: [batch, heads, count] },
  };
}

interface Line {
  readonly length: number;
  readonly count: number;
  readonly capacity: number;
  readonly score: (t: number, c: number) => number;
}

/** The centroids of the tokens of one batch entry and head. */
function assignLine({ length, count, capacity, score }: Line): number[] {
  const cluster = Array<number>(length).fill(-1);
  const all = Array.from({ length: count }, (_, c) => c);
  while (true) {
    const open = all.filter((c) => cluster.filter((own) => own === c).length < capacity);
    const asking: number[][] = all.map(() => []);
    cluster.forEach((own, t) => {
      if (own >= 0 || open.length === 0) return;
      asking[open.reduce((best, c) => score(t, c) > score(t, best) ? c : best)].push(t);
    });
    if (asking.every((tokens) => tokens.length === 0)) return cluster;
    for (const c of open) {
      const room = capacity - cluster.filter((own) => own === c).length;
      const ranked = asking[c].sort((a, b) => score(b, c) - score(a, c) || a - b);
      for (const t of ranked.slice(0, room)) cluster[t] = c;
    }
  }
}
