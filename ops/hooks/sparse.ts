import type { Tensor } from "../../gpu/tensor.ts";
import type { HookSource } from "../attention/hooks.ts";
import { checkShared } from "../tensors.ts";
import { checkCount, checkTable, type PlacedOptions, placeOf } from "./place.ts";

/** Options of {@linkcode stridedHeads}. */
export interface StridedHeadsOptions extends PlacedOptions {
  /** Steps between the keys of each head, i32 `[Hq]`, at least 1. */
  strides: Tensor;
  /** Which of the keys between two steps each head sees, i32 `[Hq]`, 0 ≤ offset < stride; 0 by default. */
  offsets?: Tensor;
  /**
   * Keys before a query that it sees in all heads.
   *
   * @default {0}
   */
  window?: number;
}

/**
 * Strides that differ by head: j ≤ i, and i − j ≤ window or (i − j) mod stride_h = offset_h.
 *
 * Definition: Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.2. Heads
 * with one stride and all offsets see every key together, as in Lin et al., "S2-Attention: Hardware-Aware
 * Context Sharding Among Attention Heads" (2024), section 3.
 *
 * @param options strides, offsets, window, where queries stand
 * @returns a mask; maps of it have `heads`
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example Four heads that share the keys
 * ```ts
 * import { attention, requestGpu, stridedHeads } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 4 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 4, 16]));
 * const strides = gpu.tensor(Int32Array.of(4, 4, 4, 4), [4]);
 * const offsets = gpu.tensor(Int32Array.of(0, 1, 2, 3), [4]);
 * const { out } = attention(q, k, v, { mask: stridedHeads({ strides, offsets, window: 8 }) });
 * console.log(await out.read());
 * ```
 */
export function stridedHeads(options: StridedHeadsOptions): HookSource {
  const action = "make the mask stridedHeads";
  const { i, inputs } = placeOf(action, options, ["strides", "offsets", "window"]);
  const { strides, offsets, window = 0 } = options;
  checkTable(action, "strides", strides, { dtypes: ["i32"], axes: [["Hq"]] });
  checkCount(action, "window", window, { least: 0 });
  const near = `${i} - j <= ${window}`;
  const step = `(${i} - j) % max(strides(h), 1)`;
  if (offsets === undefined) {
    return { code: `j <= ${i} && (${near} || ${step} == 0)`, inputs: { ...inputs, strides } };
  }
  checkTable(action, "offsets", offsets, { dtypes: ["i32"], axes: [["Hq"]] });
  checkShared(action, "heads", { strides: strides.shape[0], offsets: offsets.shape[0] });
  return {
    code: `j <= ${i} && (${near} || ${step} == strideOffsets(h))`,
    inputs: { ...inputs, strides, strideOffsets: offsets },
  };
}

/**
 * Columns and diagonals of each head: vertical_h[j] ≠ 0 or slash_h[i − j + S − 1] ≠ 0.
 *
 * Definition: Jiang et al., "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic
 * Sparse Attention" (NeurIPS 2024), section 3.2. The pattern there is causal: give `causal()` beside it.
 *
 * @param vertical 1 for keys that all queries see, else 0, i32 or u32 `[Hq, S]`
 * @param slash 1 for diagonals that are seen, else 0, i32 or u32 `[Hq, T + S − 1]`, from that of the last
 * key and the first query (i − j = 1 − S) to that of the first key and the last query (T − 1)
 * @returns a mask; maps of it have `heads`
 * @throws TypeError if a table does not fit
 *
 * @example The first key and the main diagonal, of three tokens
 * ```ts
 * import { compileBlockMap, requestGpu, verticalSlash } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const vertical = gpu.tensor(Int32Array.of(1, 0, 0), [1, 3]);
 * const slash = gpu.tensor(Int32Array.of(0, 0, 1, 0, 0), [1, 5]);
 * const sizes = { qLen: 3, kvLen: 3, queryBlock: 1, keyBlock: 1 };
 * using map = compileBlockMap(gpu, verticalSlash(vertical, slash), sizes);
 * assertEquals(await map.matrix(), Uint8Array.of(2, 0, 0, 2, 2, 0, 2, 0, 2));
 * ```
 */
export function verticalSlash(vertical: Tensor, slash: Tensor): HookSource {
  const action = "make the mask verticalSlash";
  const dtypes = ["i32", "u32"] as const;
  checkTable(action, "vertical", vertical, { dtypes, axes: [["Hq", "S"]] });
  checkTable(action, "slash", slash, { dtypes, axes: [["Hq", "T + S - 1"]] });
  const [heads, keys] = vertical.shape;
  checkShared(action, "heads", { vertical: heads, slash: slash.shape[0] });
  checkCount(action, "the number of keys", keys, { least: 1, input: true });
  return {
    code: "vertical(h, j) != 0 || slash(h, i - j + i32(lastKey)) != 0",
    inputs: { vertical, slash, lastKey: keys - 1 },
  };
}

/** Options of {@linkcode everyNthBlock}; all but `block` count blocks. */
export interface EveryNthBlockOptions extends PlacedOptions {
  /** Tokens of a block. */
  block: number;
  /** Blocks whose number is a multiple of n are seen. */
  n: number;
  /**
   * Blocks at the start that are seen.
   *
   * @default {1}
   */
  sinks?: number;
  /**
   * Blocks before that of a query that it sees.
   *
   * @default {0}
   */
  window?: number;
}

/**
 * Blocks of keys: the first, those just before a query, and every n-th, causal: j ≤ i, and ⌊j / block⌋ <
 * sinks or ⌊i / block⌋ − ⌊j / block⌋ ≤ window or ⌊j / block⌋ mod n = 0.
 *
 * Definition: Zaheer et al., "Big Bird: Transformers for Longer Sequences" (NeurIPS 2020), section 2, with
 * regular blocks in place of random ones. All queries see the same n-th blocks, so that a cache may drop
 * the others.
 *
 * @param options block size, n, sinks, window, where queries stand
 * @returns a mask; maps of it are thin where their blocks are multiples of `block` or divide it
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example How much is left of 1024 tokens
 * ```ts
 * import { compileBlockMap, everyNthBlock, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const mask = everyNthBlock({ block: 64, n: 8, window: 1 });
 * using map = compileBlockMap(gpu, mask, { qLen: 1024, kvLen: 1024 });
 * console.log(await map.density());
 * ```
 */
export function everyNthBlock(options: EveryNthBlockOptions): HookSource {
  const action = "make the mask everyNthBlock";
  const { i, inputs } = placeOf(action, options, ["block", "n", "sinks", "window"]);
  const { block, n, sinks = 1, window = 0 } = options;
  for (const [name, count] of Object.entries({ block, n })) {
    checkCount(action, name, count, { least: 1 });
  }
  for (const [name, count] of Object.entries({ sinks, window })) {
    checkCount(action, name, count, { least: 0 });
  }
  const own = `j / ${block}`;
  const seen = [
    `${own} < ${sinks}`,
    `${i} / ${block} - ${own} <= ${window}`,
    `${own} % ${n} == 0`,
  ];
  return { code: `j <= ${i} && (${seen.join(" || ")})`, inputs };
}
