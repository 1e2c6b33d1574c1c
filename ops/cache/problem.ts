import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { hostCopyOf } from "../../gpu/host_copy.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkFlags } from "../options.ts";
import { checkDims, checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Keys and values of sequences that grow. */
export interface KvCache {
  /** Keys, f32 or f16: `[B, S, Hkv, D]`, or with a page table `[pages, page size, Hkv, D]`. */
  readonly k: Tensor;
  /** Values of the same dtype: `[B, S, Hkv, Dv]` or `[pages, page size, Hkv, Dv]`. */
  readonly v: Tensor;
  /** How many tokens there have been, i32 `[B]`; changed in place. */
  readonly lengths: Tensor;
  /** The pages of each batch entry, one after another, i32 `[B, M]`. */
  readonly pageTable?: Tensor;
}

/** Options of {@linkcode appendToCache}. */
export interface AppendOptions {
  /**
   * Whether tokens that no longer fit take the place of the oldest; else they are dropped, and the
   * lengths show it: they count on.
   *
   * @default {false}
   */
  ring?: boolean;
  /**
   * How many of the first tokens a ring keeps (attention sinks: Xiao et al., "Efficient Streaming
   * Language Models with Attention Sinks", 2023).
   *
   * @default {0}
   */
  sinks?: number;
}

/** A cache, validated. */
export interface CacheProblem {
  readonly gpu: Gpu;
  readonly elem: "f32" | "f16";
  readonly batch: number;
  readonly heads: number;
  readonly headDim: number;
  readonly valueDim: number;
  /** Tokens of a batch entry. */
  readonly capacity: number;
  /** 1 where there are no pages. */
  readonly pageSize: number;
  /** Pages, or rows where there are none. */
  readonly pages: number;
}

/** An append, validated. */
export interface AppendProblem extends CacheProblem {
  readonly tokens: number;
  readonly ring: boolean;
  readonly sinks: number;
}

const APPEND = "append to a cache";
const COMPACT = "compact a cache";

/** Validates the arguments of an append. */
export function appendProblem(
  cache: KvCache,
  k: Tensor,
  v: Tensor,
  options: AppendOptions,
): AppendProblem {
  checkOptionNames(APPEND, options, ["ring", "sinks"]);
  const { ring = false, sinks = 0 } = options;
  checkFlags(APPEND, { ring });
  const problem = checkCache(APPEND, cache, { k, v });
  const { batch, heads, headDim, valueDim, capacity, elem } = problem;
  checkRank(APPEND, "k", k, ["B", "T", "Hkv", "D"]);
  const tokens = k.shape[1];
  checkShape(APPEND, "k", k, [batch, tokens, heads, headDim]);
  checkShape(APPEND, "v", v, [batch, tokens, heads, valueDim]);
  checkDType(APPEND, "k", k, [elem]);
  checkDType(APPEND, "v", v, [elem]);
  const most = ring ? capacity - 1 : 0;
  if (!Number.isSafeInteger(sinks) || sinks < 0 || sinks > Math.max(0, most)) {
    throw new RangeError(
      `Cannot ${APPEND} as sinks must be an integer from 0 to ${most} (less than the capacity of a ring, else 0): sinks is ${
        kindOf(sinks)
      }`,
    );
  }
  return { ...problem, tokens, ring, sinks };
}

/** Validates the arguments of a compaction; returns how many lists a batch entry has, too. */
export function compactProblem(
  cache: KvCache,
  indices: Tensor,
): { problem: CacheProblem; kept: number; indexHeads: number } {
  const problem = checkCache(COMPACT, cache, { indices });
  const { batch, heads, capacity } = problem;
  if (cache.pageTable !== undefined) {
    throw new TypeError(`Cannot ${COMPACT} as its tokens must be in rows: it has a pageTable`);
  }
  checkDType(COMPACT, "indices", indices, ["i32"]);
  const [first, second] = indices.shape;
  const rank = indices.shape.length;
  const indexHeads = rank === 3 ? second : 1;
  const kept = indices.shape[rank - 1];
  const fits = (rank === 2 || rank === 3) && first === batch && indexHeads > 0 &&
    heads % indexHeads === 0 && kept <= capacity;
  if (!fits) {
    throw new TypeError(
      `Cannot ${COMPACT} as indices must be [B, M] or [B, H, M] with B = ${batch}, H a divisor of ${heads} and M <= ${capacity}: indices is [${indices.shape}]`,
    );
  }
  const outside = hostCopyOf(indices)?.find((x) => x < 0 || x >= capacity);
  if (outside !== undefined) {
    throw new RangeError(
      `Cannot ${COMPACT} as indices must be >= 0 and < ${capacity}: one is ${outside}`,
    );
  }
  return { problem, kept, indexHeads };
}

function checkCache(
  action: string,
  cache: KvCache,
  others: Readonly<Record<string, Tensor>>,
): CacheProblem {
  if (typeof cache !== "object" || cache === null) {
    throw new TypeError(
      `Cannot ${action} as cache must be a record { k, v, lengths }: cache is ${kindOf(cache)}`,
    );
  }
  const { k, v, lengths, pageTable } = cache;
  const gpu = checkTensors(action, {
    ...{ "cache.k": k, "cache.v": v, "cache.lengths": lengths },
    ...(pageTable && { "cache.pageTable": pageTable }),
    ...others,
  });
  const elem = checkDType(action, "cache.k", k, ["f32", "f16"]);
  checkDType(action, "cache.v", v, [elem]);
  checkRank(action, "cache.k", k, ["B or pages", "S or page size", "Hkv", "D"]);
  checkRank(action, "cache.v", v, ["B or pages", "S or page size", "Hkv", "Dv"]);
  const [rows, tokens, heads, headDim] = k.shape;
  const valueDim = v.shape[3];
  checkShape(action, "cache.v", v, [rows, tokens, heads, valueDim]);
  checkDims(action, { "head dim": headDim, "value dim": valueDim });
  checkDType(action, "cache.lengths", lengths, ["i32"]);
  checkRank(action, "cache.lengths", lengths, ["B"]);
  const [batch] = lengths.shape;
  const sizes = { gpu, elem, batch, heads, headDim, valueDim };
  if (pageTable === undefined) {
    checkShape(action, "cache.lengths", lengths, [rows]);
    return { ...sizes, capacity: tokens, pageSize: 1, pages: rows * tokens };
  }
  checkDType(action, "cache.pageTable", pageTable, ["i32"]);
  checkRank(action, "cache.pageTable", pageTable, ["B", "M"]);
  checkShape(action, "cache.pageTable", pageTable, [batch, pageTable.shape[1]]);
  const outside = hostCopyOf(pageTable)?.find((page) => page < 0 || page >= rows);
  if (outside !== undefined) {
    throw new RangeError(
      `Cannot ${action} as cache.pageTable must name pages that are there, >= 0 and < ${rows}: one is ${outside}`,
    );
  }
  const capacity = pageTable.shape[1] * tokens;
  return { ...sizes, capacity, pageSize: tokens, pages: rows };
}
