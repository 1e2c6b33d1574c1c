import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { hostCopyOf } from "../../gpu/host_copy.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { BlockMap, type BlockMapSizes, masksOf } from "../block_map/map.ts";
import { boundsOf } from "../sequences.ts";
import { checkDType, checkShape, checkShared } from "../tensors.ts";
import { type NamedPages, namedPages } from "./named_pages.ts";
import type { AttentionSizes } from "./sizes.ts";

/** Where the keys that a query may see are. */
export interface KeyOptions {
  /** Which blocks of keys are visited at all; it brings its own mask. */
  blockMap?: BlockMap;
  /**
   * Int32 `[N + 1]`, made by `gpu.tensor()`: where packed sequences begin among the queries of a batch
   * of 1, and where the last ends. Each sees its own keys alone; `causal` and `window` count within
   * sequences, hooks among all tokens.
   */
  cuSeqlensQ?: Tensor;
  /** The same for keys, where they differ. */
  cuSeqlensKv?: Tensor;
  /**
   * Int32 `[B]` or `[B, H]`, H a divisor of Hq: how many keys are there, from the first on; `causal` and
   * `window` count from the last of them, which the last query meets. Numbers out of range are refused
   * where they were uploaded, and count as all where the device computed them.
   */
  kvLengths?: Tensor;
  /**
   * Int32 `[B, M]` or `[B, H, M]`: the pages of k and v, then `[pages, page size, Hkv, D|Dv]`, that hold
   * the keys of a batch entry, one after another. Pages out of range are refused where they were
   * uploaded, and read as the last page where the device computed them. A table that was uploaded
   * counts as uploaded: `gpu.wrap()` the buffer of one that passes of your own change.
   */
  pageTable?: Tensor;
  /**
   * Int32 `[B, M]` or `[B, H, M]`: the keys that are seen, in any order. Numbers out of range are
   * refused where they were uploaded, and read as the last key where the device computed them.
   */
  keyIndices?: Tensor;
}

/** Names of {@linkcode KeyOptions}. */
export const KEY_OPTIONS: readonly (keyof KeyOptions)[] = [
  ...["blockMap", "cuSeqlensQ", "cuSeqlensKv", "kvLengths", "pageTable", "keyIndices"] as const,
];

/** In a row, of which a query sees all or a band. */
export interface RowKeys {
  readonly kind: "row";
}

/** In blocks, of which a map lists those that a block of queries sees. */
export interface BlockKeys extends BlockMapSizes {
  readonly kind: "blocks";
}

/** In packed sequences, of which a query sees its own, or a band of it. */
export interface PackedKeys {
  readonly kind: "packed";
  /** Where they begin among the queries, and where the last ends. */
  readonly q: readonly number[];
  /** The same among the keys. */
  readonly kv: readonly number[];
  /** Whether bands follow the last query and key of a sequence rather than the first. */
  readonly bottomRight: boolean;
}

/** In a cache, of which a query sees what is there, or a band of it. */
export interface CacheKeys {
  readonly kind: "cache";
  /** Where the n-th key is: in the n-th row, in pages, or where a list says. */
  readonly layout: "rows" | "pages" | "tokens";
  /** Tokens of a page. */
  readonly pageSize: number;
  /** Pages of all. */
  readonly pages: number;
  /** Keys that there can be. */
  readonly capacity: number;
  /** Rows of a batch entry in the lengths, 0 without lengths. */
  readonly lengthHeads: number;
  /** Rows of a batch entry in the table. */
  readonly tableHeads: number;
  /** The pages that a table names which was uploaded, where it pays to copy them alone; or null. */
  readonly named: NamedPages | null;
}

/** Where the keys that a query may see are, validated. */
export type KeyLayout = RowKeys | BlockKeys | PackedKeys | CacheKeys;

/** Keys of the pages that all batch entries share, or null where there are none. */
export function pooledKeys(keys: KeyLayout): number | null {
  return keys.kind === "cache" && keys.layout === "pages" ? keys.pages * keys.pageSize : null;
}

/** The same of the pages that are named, where it is known which. */
export function namedKeys(keys: KeyLayout): number | null {
  if (keys.kind !== "cache" || keys.named === null) return pooledKeys(keys);
  return keys.named.pages.length * keys.pageSize;
}

/** Keys in a row. */
export const IN_A_ROW: RowKeys = { kind: "row" };

/** What else of a call decides who sees whom. */
interface Rest {
  readonly mask?: unknown;
  readonly causal?: unknown;
  readonly window?: unknown;
}

/** A problem as far as keys go. */
interface Given extends AttentionSizes {
  readonly gpu: Gpu;
  readonly action: string;
  /** The shape of k. */
  readonly shape: readonly number[];
}

/** Validates where the keys are; at most one kind of place. */
export function checkKeys(options: KeyOptions & Rest, given: Given): KeyLayout {
  const { blockMap, cuSeqlensQ, cuSeqlensKv, kvLengths, pageTable, keyIndices } = options;
  const kinds = { blockMap, cuSeqlensQ, pageTable, keyIndices };
  const named = Object.entries(kinds).filter(([, value]) => value !== undefined);
  if (named.length > 1) {
    fail(given, `${named[0][0]} and ${named[1][0]} must not both be given: they are`);
  }
  if (cuSeqlensKv !== undefined && cuSeqlensQ === undefined) {
    fail(given, "cuSeqlensKv must come with cuSeqlensQ: it comes alone");
  }
  if (kvLengths !== undefined && (blockMap !== undefined || cuSeqlensQ !== undefined)) {
    fail(given, `kvLengths must not come with ${named[0][0]}: it does`);
  }
  if (blockMap !== undefined) return checkBlocks(blockMap, options, given);
  if (cuSeqlensQ !== undefined) return checkPacked(options, given);
  if (pageTable ?? keyIndices ?? kvLengths) return checkCache(options, given);
  return IN_A_ROW;
}

/** What a launch binds of the places of keys, by name. */
export function keyTensors(
  { blockMap, kvLengths, pageTable, keyIndices }: KeyOptions,
): Readonly<Record<string, Tensor>> {
  const table = pageTable ?? keyIndices;
  return {
    ...(blockMap && { mapCounts: blockMap.counts, mapList: blockMap.list }),
    ...(table && { table }),
    ...(kvLengths && { lengths: kvLengths }),
  };
}

/** Checks a block map against the problem: it says who sees whom, and nothing else does. */
function checkBlocks(
  map: unknown,
  { mask, causal = false, window }: Rest,
  given: Given,
): BlockKeys {
  const { gpu, batch, heads, qLen, kvLen } = given;
  if (!(map instanceof BlockMap)) {
    fail(given, `blockMap must be a BlockMap: blockMap is ${kindOf(map)}`);
  }
  if (map.disposed) fail(given, "blockMap must be live: it was disposed");
  if (map.gpu !== gpu) fail(given, "blockMap must live on the device of q: it lives on another");
  const fits = map.qLen === qLen && map.kvLen === kvLen && [1, batch].includes(map.batch) &&
    heads % map.heads === 0;
  if (!fits) {
    fail(
      given,
      `blockMap must be of [B|1, H, T, S] = [${batch}|1, a divisor of ${heads}, ${qLen}, ${kvLen}]: it is of [${map.batch}, ${map.heads}, ${map.qLen}, ${map.kvLen}]`,
    );
  }
  const { maskReads } = masksOf(map);
  for (
    const [variable, axis, own, whole] of [["b", "B", map.batch, batch], [
      "h",
      "Hq",
      map.heads,
      heads,
    ]]
  ) {
    if (own === whole || !maskReads.includes(String(variable))) continue;
    fail(
      given,
      `blockMap must be of ${axis} = ${whole} as its mask reads ${variable}: it is of ${own}`,
    );
  }
  if (mask !== undefined || causal || window !== undefined) {
    fail(
      given,
      "mask, causal and window must be part of the mask of blockMap: they are given beside it",
    );
  }
  const { queryBlock, keyBlock } = map;
  return { kind: "blocks", batch: map.batch, heads: map.heads, qLen, kvLen, queryBlock, keyBlock };
}

function checkPacked(
  { cuSeqlensQ, cuSeqlensKv, causal }: KeyOptions & Rest,
  { action, batch, qLen, kvLen }: Given,
): PackedKeys {
  const q = boundsOf(action, batch, qLen, cuSeqlensQ, { name: "cuSeqlensQ", axis: "T" });
  const kv = cuSeqlensKv === undefined
    ? boundsOf(action, batch, kvLen, cuSeqlensQ, { name: "cuSeqlensQ", axis: "S" })
    : boundsOf(action, batch, kvLen, cuSeqlensKv, { name: "cuSeqlensKv", axis: "S" });
  checkShared(action, "a number of sequences", {
    cuSeqlensQ: q.length - 1,
    cuSeqlensKv: kv.length - 1,
  });
  return { kind: "packed", q, kv, bottomRight: causal !== "top-left" };
}

function checkCache(
  { kvLengths, pageTable, keyIndices, causal }: KeyOptions & Rest,
  given: Given,
): CacheKeys {
  const { action, kvLen, shape } = given;
  if (causal === "top-left") {
    fail(given, 'causal must be true or false where keys are in a cache: it is "top-left"');
  }
  const layout = pageTable ? "pages" : keyIndices ? "tokens" : "rows";
  const capacity = keyIndices ? keyIndices.shape[keyIndices.shape.length - 1] : kvLen;
  if (keyIndices && kvLen === 0 && capacity > 0) {
    fail(given, "keyIndices must name keys that are there: there are none");
  }
  const [pages, pageSize] = layout === "pages" ? shape : [0, 1];
  const tables = { pageTable, keyIndices };
  const [tableHeads = 1] = Object.entries(tables)
    .flatMap(([name, table]) => table ? [headsOf(name, table, ["M"], given)] : []);
  if (pageTable) checkHost(action, { pageTable }, { least: 0, end: pages });
  if (keyIndices) checkHost(action, { keyIndices }, { least: 0, end: kvLen });
  if (kvLengths) checkHost(action, { kvLengths }, { least: 0, end: capacity + 1 });
  const lengthHeads = kvLengths ? headsOf("kvLengths", kvLengths, [], given) : 0;
  const table = pageTable && hostCopyOf(pageTable);
  const named = table ? namedPages(table, shape) : null;
  return { kind: "cache", layout, pageSize, pages, capacity, lengthHeads, tableHeads, named };
}

/** Checks `[B, …]` or `[B, H, …]`, and returns H. */
function headsOf(
  name: string,
  tensor: Tensor,
  axes: readonly string[],
  { action, batch, heads }: Given,
): number {
  checkDType(action, name, tensor, ["i32"]);
  const rest = axes.map((_, i) => tensor.shape[tensor.shape.length - axes.length + i]);
  const own = tensor.shape.length === 2 + axes.length ? tensor.shape[1] : 1;
  if (tensor.shape.length === 2 + axes.length && own > 0 && heads % own === 0) {
    checkShape(action, name, tensor, [batch, own, ...rest]);
    return own;
  }
  if (tensor.shape.length === 1 + axes.length && tensor.shape[0] === batch) return 1;
  const tail = axes.map((axis) => `, ${axis}`).join("");
  throw new TypeError(
    `Cannot ${action} as ${name} must be [B${tail}] or [B, H${tail}] with B = ${batch} and H a divisor of ${heads}: ${name} is [${tensor.shape}]`,
  );
}

/** Refuses integers out of range where the host knows them; on the device they are clamped. */
function checkHost(
  action: string,
  tensors: Readonly<Record<string, Tensor>>,
  { least, end }: { readonly least: number; readonly end: number },
): void {
  for (const [name, tensor] of Object.entries(tensors)) {
    const at = hostCopyOf(tensor)?.findIndex((x) => x < least || x >= end) ?? -1;
    if (at < 0) continue;
    throw new RangeError(
      `Cannot ${action} as ${name} must be >= ${least} and < ${end}: element ${at} is ${
        hostCopyOf(tensor)?.[at]
      }`,
    );
  }
}

function fail({ action }: Pick<Given, "action">, reason: string): never {
  throw new TypeError(`Cannot ${action} as ${reason}`);
}
