import type { Gpu } from "../gpu/device.ts";
import type { AttentionHook } from "../ops/attention/hooks.ts";
import type { KeyOptions } from "../ops/attention/key_layout.ts";
import type { AttentionSizes } from "../ops/attention/sizes.ts";
import { blockMapFromIndices, blockMapFromMatrix, compileBlockMap } from "../ops/block_map/mod.ts";
import { Random } from "./random.ts";

/** A block map of a mask, or of random blocks given by a matrix or by numbers. */
export interface MapCase {
  readonly kind: "map";
  readonly from: "mask" | "matrix" | "indices";
  readonly queryBlock: number;
  readonly keyBlock: number;
  /** B and H of the map. */
  readonly batch: number;
  readonly heads: number;
}

/** Lengths of packed sequences; those of the keys where they differ. */
export interface PackedCase {
  readonly kind: "packed";
  readonly q: readonly number[];
  readonly kv?: readonly number[];
}

/** A cache; S is the capacity of a batch entry, in pages or in a row, or what lists choose from. */
export interface CacheCase {
  readonly kind: "cache";
  readonly layout: "rows" | "pages" | "tokens";
  readonly pageSize: number;
  /** Keys of a list. */
  readonly listed: number;
  /** Lengths, `[B]` or `[B, H]`; none without. */
  readonly lengths: readonly number[];
  /** Rows of a batch entry in the lengths and in the table. */
  readonly lengthHeads: number;
  readonly tableHeads: number;
}

/** Where the keys of a case are. */
export type KeyCase = { readonly kind: "row" } | MapCase | PackedCase | CacheCase;

interface Given extends AttentionSizes {
  readonly seed: number;
  readonly keys: KeyCase;
}

/** Pages that nobody uses. */
const SPARE_PAGES = 3;

/** The first two axes of k and v. */
export function cacheShape({ batch, kvLen, keys }: Given): [number, number] {
  if (keys.kind !== "cache" || keys.layout !== "pages") return [batch, kvLen];
  return [batch * keys.tableHeads * kvLen / keys.pageSize + SPARE_PAGES, keys.pageSize];
}

/** The blocks of a map by random, `[B|1, H|1, query blocks, key blocks]`; one row in five is empty. */
export function randomBlocks({ qLen, kvLen, seed }: Given, keys: MapCase): boolean[][] {
  const random = new Random(seed + 1);
  const rows = keys.batch * keys.heads * Math.ceil(qLen / keys.queryBlock);
  const columns = Math.ceil(kvLen / keys.keyBlock);
  return Array.from({ length: rows }, () => {
    const density = random.next() < 0.2 ? 0 : 0.5;
    return Array.from({ length: columns }, () => random.next() < density);
  });
}

/** The table of a cache, `[B, H, M]`: pages, each used once, or tokens in any order. */
export function cacheTable({ batch, kvLen, seed, keys }: Given): Int32Array {
  if (keys.kind !== "cache" || keys.layout === "rows") return new Int32Array();
  const random = new Random(seed + 2);
  const shuffled = (length: number): number[] => {
    const order = Array.from({ length }, () => random.next());
    return order.map((_, n) => n).sort((a, b) => order[a] - order[b]);
  };
  const rows = batch * keys.tableHeads;
  if (keys.layout === "tokens") {
    return Int32Array.from({ length: rows * keys.listed }, () => random.integer(0, kvLen - 1));
  }
  const pages = rows * kvLen / keys.pageSize;
  return Int32Array.from(shuffled(pages + SPARE_PAGES)).subarray(0, pages);
}

/** Bounds of sequences from their lengths. */
export function boundsOf(lengths: readonly number[]): Int32Array {
  const bounds = new Int32Array(lengths.length + 1);
  lengths.forEach((length, n) => bounds[n + 1] = bounds[n] + length);
  return bounds;
}

/** Makes what the operator is told of keys. */
export function loadKeys(gpu: Gpu, c: Given, masks: readonly AttentionHook[]): KeyOptions {
  switch (c.keys.kind) {
    case "row":
      return {};
    case "map":
      return { blockMap: loadMap(gpu, c, c.keys, masks) };
    case "packed": {
      const bounds = (lengths: readonly number[]) =>
        gpu.tensor(boundsOf(lengths), [lengths.length + 1]);
      const { q, kv } = c.keys;
      return { cuSeqlensQ: bounds(q), ...(kv && { cuSeqlensKv: bounds(kv) }) };
    }
    case "cache":
      return loadCache(gpu, c, c.keys);
  }
}

function loadMap(gpu: Gpu, c: Given, keys: MapCase, masks: readonly AttentionHook[]) {
  const { from, queryBlock, keyBlock, batch, heads } = keys;
  const sizes = { qLen: c.qLen, kvLen: c.kvLen, batch, heads, queryBlock, keyBlock };
  if (from === "mask") return compileBlockMap(gpu, masks, sizes);
  const blocks = randomBlocks(c, keys);
  const options = { ...sizes, ...(masks.length > 0 && { mask: masks }) };
  const [rows, columns] = [Math.ceil(c.qLen / queryBlock), Math.ceil(c.kvLen / keyBlock)];
  if (from === "matrix") {
    const matrix = Uint32Array.from(blocks.flat(), Number);
    return blockMapFromMatrix(gpu.tensor(matrix, [batch, heads, rows, columns]), options);
  }
  // backwards and twice, then what is no block
  const lists = blocks.map((row) => {
    const found = row.flatMap((seen, n) => seen ? [n, n] : []).toReversed();
    return [...found, ...Array(2 * columns + 1 - found.length).fill(-1), columns];
  });
  const indices = gpu.tensor(Int32Array.from(lists.flat()), [batch, heads, rows, 2 * columns + 2]);
  return blockMapFromIndices(indices, options);
}

function loadCache(gpu: Gpu, c: Given, keys: CacheCase): KeyOptions {
  const { layout, lengths, lengthHeads, tableHeads } = keys;
  const shape = (heads: number, ...rest: number[]): number[] =>
    heads === 1 ? [c.batch, ...rest] : [c.batch, heads, ...rest];
  const data = cacheTable(c);
  const table = layout === "rows"
    ? undefined
    : gpu.tensor(data, shape(tableHeads, data.length / (c.batch * tableHeads)));
  return {
    ...(table && (layout === "pages" ? { pageTable: table } : { keyIndices: table })),
    ...(lengths.length > 0 && {
      kvLengths: gpu.tensor(Int32Array.from(lengths), shape(lengthHeads)),
    }),
  };
}
