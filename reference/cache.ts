import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";

/** Keys and values of sequences that grow. */
export interface KvCache {
  /** Keys, `[B, S, Hkv, D]`, or with a page table `[pages, page size, Hkv, D]`. */
  k: ReferenceTensor;
  /** Values, `[B, S, Hkv, Dv]` or `[pages, page size, Hkv, Dv]`. */
  v: ReferenceTensor;
  /** How many tokens there have been, `[B]`. */
  lengths: ReferenceTensor;
  /**
   * The pages of each batch entry, `[B, M]`.
   *
   * @default {undefined}
   */
  pageTable?: ReferenceTensor;
}

/** Options for {@linkcode appendToCache}. */
export interface AppendOptions {
  /**
   * Whether tokens that no longer fit take the place of the oldest.
   *
   * @default {false}
   */
  ring?: boolean;
  /**
   * How many of the first tokens a ring keeps.
   *
   * @default {0}
   */
  sinks?: number;
}

/** What {@linkcode appendToCache} returns: the cache behind the tokens. */
export interface AppendResult {
  /** Keys, of the shape that they had. */
  k: Float64Tensor;
  /** Values, of the shape that they had. */
  v: Float64Tensor;
  /** Lengths, T larger. */
  lengths: Float64Tensor;
}

/**
 * Writes tokens behind those of a cache: token t of a batch entry with n tokens takes the place n + t, in a
 * ring of capacity S with so many sinks the place sinks + (n + t - sinks) mod (S - sinks) once S are
 * taken; without a ring what has no place is dropped. Lengths count on.
 *
 * @param cache The cache, which stays as it is.
 * @param k The keys, `[B, T, Hkv, D]`.
 * @param v The values, `[B, T, Hkv, Dv]`.
 * @param options Ring and sinks.
 * @returns The cache behind the tokens.
 *
 * @example The fourth token takes the place of the first
 * ```ts
 * import { appendToCache } from "@tessera/kernels/reference";
 * import { assertEquals } from "@std/assert";
 *
 * const full = { data: [1, 2, 3], shape: [1, 3, 1, 1] };
 * const cache = { k: full, v: full, lengths: { data: [3], shape: [1] } };
 * const next = { data: [4], shape: [1, 1, 1, 1] };
 *
 * const { k, lengths } = appendToCache(cache, next, next, { ring: true });
 *
 * assertEquals(k.data, Float64Array.of(4, 2, 3));
 * assertEquals(lengths.data, Float64Array.of(4));
 * ```
 */
export function appendToCache(
  { k: keys, v: values, lengths, pageTable }: KvCache,
  k: ReferenceTensor,
  v: ReferenceTensor,
  { ring = false, sinks = 0 }: AppendOptions = {},
): AppendResult {
  const [batch, tokens] = k.shape;
  const size = keys.shape[1];
  const pages = pageTable?.shape[1];
  const capacity = pages === undefined ? size : pages * size;
  const rowOf = (b: number, place: number): number =>
    pages === undefined
      ? b * capacity + place
      : (pageTable?.data[b * pages + Math.floor(place / size)] ?? 0) * size + place % size;
  const appended = (cache: ReferenceTensor, given: ReferenceTensor): Float64Tensor => {
    const data = Float64Array.from(cache.data);
    const tokenRows = Float64Array.from(given.data);
    const width = cache.shape[2] * cache.shape[3];
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < tokens; t++) {
        const n = lengths.data[b] + t;
        if (n >= capacity && !ring) continue;
        const place = n < capacity ? n : sinks + (n - sinks) % (capacity - sinks);
        const from = (b * tokens + t) * width;
        data.set(tokenRows.subarray(from, from + width), rowOf(b, place) * width);
      }
    }
    return { data, shape: [...cache.shape] };
  };
  const grown = Float64Array.from(lengths.data, (n) => n + tokens);
  return {
    k: appended(keys, k),
    v: appended(values, v),
    lengths: { data: grown, shape: [...lengths.shape] },
  };
}
