import { elementBytes } from "../../gpu/dtype.ts";
import type { Operation } from "../../gpu/recorder.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { appendTokens, CACHE_THREADS } from "../../kernels/cache/append.ts";
import { keepTokens } from "../../kernels/cache/keep.ts";
import { lengthen } from "../../kernels/cache/lengthen.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { tokenTextures } from "../token_textures.ts";
import {
  type AppendOptions,
  appendProblem,
  type CacheProblem,
  compactProblem,
  type KvCache,
} from "./problem.ts";

export { countInvalidPages, type InvalidPagesOptions } from "./outside.ts";
export type { AppendOptions, KvCache } from "./problem.ts";

const programs = {
  append: once(appendTokens),
  keep: once(keepTokens),
  lengthen: once(lengthen),
};

/**
 * Appends tokens to a cache, in place: behind the `lengths` tokens of each batch entry, which grow by T
 * on the device; nothing is read back.
 *
 * Without a ring, tokens beyond the capacity are dropped, and `lengths` beyond the capacity tell so;
 * with one they take the place of the oldest but the sinks, in which case the order of the rows is no
 * longer that of the tokens. `attention(q, cache.k, cache.v, { kvLengths: cache.lengths, pageTable:
 * cache.pageTable })` sees what is there.
 *
 * @param cache keys, values and lengths, with a page table or without
 * @param k `[B, T, Hkv, D]`, in the dtype of the cache
 * @param v `[B, T, Hkv, Dv]`
 * @param options ring and sinks
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Three tokens, then the next
 * ```ts
 * import { appendToCache, attention, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (tokens: number) => gpu.tensor(new Float32Array(tokens * 8).fill(tokens), [1, tokens, 2, 4]);
 * const room = () => gpu.tensor(new Float32Array(100 * 8), [1, 100, 2, 4]);
 * const cache = { k: room(), v: room(), lengths: gpu.tensor(new Int32Array(1), [1]) };
 * appendToCache(cache, x(3), x(3));
 * appendToCache(cache, x(1), x(1));
 * const { out } = attention(x(1), cache.k, cache.v, { kvLengths: cache.lengths });
 * assertEquals(out.shape, [1, 1, 2, 4]);
 * assertEquals(await cache.lengths.read(), Int32Array.of(4));
 * ```
 */
export function appendToCache(
  cache: KvCache,
  k: Tensor,
  v: Tensor,
  options: AppendOptions = {},
): void {
  recall(append, cache, k, v, options);
}

function append(cache: KvCache, k: Tensor, v: Tensor, options: AppendOptions): void {
  const problem = appendProblem(cache, k, v, options);
  const { gpu, elem, batch, heads, headDim, valueDim, capacity, pageSize, pages } = problem;
  const { tokens, ring, sinks } = problem;
  const { lengths, pageTable } = cache;
  record(gpu, "appendToCache", (operation) => {
    const sides = [[k, cache.k, headDim], [v, cache.v, valueDim]] as const;
    for (const [given, into, width] of sides) {
      const textures = tokenTextures(operation, gpu, { given: { tensor: given, width } });
      const source = textures.given ? "texture" : "buffer";
      launchItems(operation, gpu.limits, vectorsOf(batch * tokens * heads, width), {
        program: programs.append({ elem, width, paged: pageTable !== undefined, ring, source }),
        resources: {
          given: { buffer: given.buffer },
          cache: { buffer: into.buffer },
          lengths: { buffer: lengths.buffer },
          ...(pageTable && { table: { buffer: pageTable.buffer } }),
          ...textures,
        },
        params: {
          ...{ tokens, heads, capacity, sinks, pageSize, pages, givenFirst: 0, cacheFirst: 0 },
        },
      });
    }
    launchItems(operation, gpu.limits, { first: 0, end: batch, threads: CACHE_THREADS }, {
      program: programs.lengthen({}),
      resources: { lengths: { buffer: lengths.buffer } },
      params: { tokens },
    });
  });
}

/**
 * Keeps some tokens of a cache, in place: token m of each batch entry (and head) becomes the one that
 * `indices` names. `lengths` stay as they are: those that are kept are M, or the counts of a selection.
 *
 * Eviction policies (heavy hitters, SnapKV, sinks and window) are a selection followed by this. Rows of
 * the cache that `indices` computed on the device names beyond its end are the last one.
 *
 * @param cache keys and values in rows, without a page table
 * @param indices i32 `[B, M]` or `[B, H, M]`, H a divisor of Hkv
 * @throws TypeError if a tensor, shape or dtype does not fit
 * @throws RangeError if an index is out of range
 *
 * @example The first and the last of four tokens
 * ```ts
 * import { compactCache, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = () => gpu.tensor(Float32Array.of(1, 2, 3, 4), [1, 4, 1, 1]);
 * const cache = { k: x(), v: x(), lengths: gpu.tensor(Int32Array.of(4), [1]) };
 * compactCache(cache, gpu.tensor(Int32Array.of(0, 3), [1, 2]));
 * assertEquals((await cache.k.read()).slice(0, 2), Float32Array.of(1, 4));
 * ```
 */
export function compactCache(cache: KvCache, indices: Tensor): void {
  recall(compact, cache, indices);
}

function compact(cache: KvCache, indices: Tensor): void {
  const { problem, kept, indexHeads } = compactProblem(cache, indices);
  record(problem.gpu, "compactCache", (operation) => {
    const sides = [[cache.k, problem.headDim], [cache.v, problem.valueDim]] as const;
    for (const [tensor, width] of sides) {
      launchKeep(operation, { problem, tensor, width, indices, kept, indexHeads });
    }
  });
}

interface Kept {
  readonly problem: CacheProblem;
  readonly tensor: Tensor;
  readonly width: number;
  readonly indices: Tensor;
  readonly kept: number;
  readonly indexHeads: number;
}

/** Gathers the rows that are kept, then puts them back. */
function launchKeep(
  operation: Operation,
  { problem, tensor, width, indices, kept, indexHeads }: Kept,
): void {
  const { gpu, elem, batch, heads, capacity } = problem;
  const rows = batch * kept * heads;
  const scratch = operation.scratch(
    Math.max(16, 4 * Math.ceil(rows * width * elementBytes(elem) / 4)),
  );
  const own = { buffer: tensor.buffer };
  const params = {
    ...{ kept, heads, capacity, indexHeads, indexGroup: heads / indexHeads },
    ...{ givenFirst: 0, movedFirst: 0 },
  };
  launchItems(operation, gpu.limits, vectorsOf(rows, width), {
    program: programs.keep({ elem, width, pass: "gather" }),
    resources: { given: own, moved: scratch, indices: { buffer: indices.buffer } },
    params,
  });
  launchItems(operation, gpu.limits, vectorsOf(rows, width), {
    program: programs.keep({ elem, width, pass: "put" }),
    resources: { given: scratch, moved: own },
    params,
  });
}

/** An invocation for each four channels of rows. */
function vectorsOf(rows: number, width: number): { first: number; end: number; threads: number } {
  return { first: 0, end: rows * Math.ceil(width / 4), threads: CACHE_THREADS };
}
