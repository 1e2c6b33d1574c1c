import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { IN_A_ROW, type KeyLayout, type KeyOptions } from "../ops/attention/key_layout.ts";
import { namedPages } from "../ops/attention/named_pages.ts";
import type { AttentionSizes } from "../ops/attention/sizes.ts";
import { type BlockMap, type BlockMapSizes, compileBlockMap } from "../ops/block_map/mod.ts";
import { maskOf } from "./attention_hooks.ts";
import type { HostTensor } from "./host_tensor.ts";
import { boundsOf } from "./programmable_keys.ts";
import { Random } from "./random.ts";

/** Where the keys of a case are, if not in a row; at most one of them. */
export interface CaseKeys {
  /** Blocks of a map of the mask. */
  readonly map?: { readonly queryBlock: number; readonly keyBlock: number };
  /** Lengths of packed sequences. */
  readonly packed?: readonly number[];
  /** Pages of `size` tokens in random order, of which each batch entry sees one of `selected`. */
  readonly pages?: { readonly selected: number; readonly size: number };
}

interface Given extends AttentionSizes, CaseKeys {
  readonly seed: number;
  readonly mask?: string;
  readonly causal?: boolean | "top-left";
}

type Mapped = Given & Required<Pick<Given, "map" | "mask">>;

/** How many keys a batch entry has that a query may see. */
export function keyCount({ kvLen, pages }: Pick<Given, "kvLen" | "pages">): number {
  return pages === undefined ? kvLen : pages.size * selectedPages({ kvLen, pages });
}

function selectedPages({ kvLen, pages }: Required<Pick<Given, "kvLen" | "pages">>): number {
  return Math.ceil(kvLen / pages.size / pages.selected);
}

/** The first two axes of k and v. */
export function keyShape({ batch, kvLen, pages }: Given): [number, number] {
  return pages === undefined ? [batch, kvLen] : [batch * kvLen / pages.size, pages.size];
}

/** Where the keys are, as attention's problem has it. */
export function keyLayoutOf(c: Given): KeyLayout {
  const { map, mask, packed, pages } = c;
  checkKeys(c);
  if (map !== undefined && mask !== undefined) {
    return { kind: "blocks", ...mapSizes({ ...c, map, mask }) };
  }
  if (packed !== undefined) {
    const bounds = [...boundsOf(packed)];
    return { kind: "packed", q: bounds, kv: bounds, bottomRight: c.causal !== "top-left" };
  }
  if (pages === undefined) return IN_A_ROW;
  const [count, pageSize] = keyShape(c);
  const named = namedPages(tableOf(c), [count, pageSize, c.kvHeads, c.headDim]);
  return {
    ...{ kind: "cache", layout: "pages", pageSize, pages: count, capacity: keyCount(c) },
    ...{ lengthHeads: 0, tableHeads: 1, named },
  };
}

/** Refuses a map without a mask, and lengths that packs or pages do not fill. */
function checkKeys({ batch, qLen, kvLen, map, mask, packed, pages }: Given): void {
  if (map !== undefined && mask === undefined) {
    throw new TypeError("Cannot make a block map as a mask must say who sees whom: there is none");
  }
  const tokens = packed?.reduce((sum, length) => sum + length, 0);
  if (tokens !== undefined && (batch !== 1 || qLen !== tokens || kvLen !== tokens)) {
    throw new RangeError(
      `Cannot pack sequences as they must fill a batch of 1: they have ${tokens} tokens, the problem has B${batch} T${qLen} S${kvLen}`,
    );
  }
  if (pages !== undefined && (kvLen === 0 || kvLen % pages.size !== 0)) {
    throw new RangeError(
      `Cannot cut keys into pages as pages must be full: there are ${kvLen} keys, pages have ${pages.size}`,
    );
  }
}

/** What a map of a case covers: one for all batch entries and heads where the mask does not tell them apart. */
function mapSizes({ batch, heads, qLen, kvLen, map, mask }: Mapped): BlockMapSizes {
  const differ = maskOf(mask);
  return {
    ...{ qLen, kvLen, ...map },
    batch: differ.batches ? batch : 1,
    heads: differ.heads ? heads : 1,
  };
}

/** Compiles the map of a case. */
export function compileMap(gpu: Gpu, c: Mapped): BlockMap {
  return compileBlockMap(gpu, c.mask, mapSizes(c));
}

/** Makes what the operator is told of keys. */
export function loadKeys(
  gpu: Gpu,
  c: Given,
): { readonly options: KeyOptions; readonly owned: readonly Disposable[] } {
  const { map, mask, packed, pages } = c;
  if (map !== undefined && mask !== undefined) {
    const blockMap = compileMap(gpu, { ...c, map, mask });
    return { options: { blockMap }, owned: [blockMap] };
  }
  const table = (data: Int32Array<ArrayBuffer>, shape: readonly number[]): Tensor =>
    gpu.tensor(data, shape);
  if (packed !== undefined) {
    const cuSeqlensQ = table(Int32Array.from(boundsOf(packed)), [packed.length + 1]);
    return { options: { cuSeqlensQ }, owned: [cuSeqlensQ] };
  }
  if (pages === undefined) return { options: {}, owned: [] };
  const pageTable = table(tableOf(c), [c.batch, selectedPages({ ...c, pages })]);
  return { options: { pageTable }, owned: [pageTable] };
}

/** The table of pages, `[B, M]`: some of the pages of each batch entry, in any order. */
function tableOf({ batch, kvLen, pages, seed }: Given): Int32Array<ArrayBuffer> {
  if (pages === undefined) return new Int32Array();
  const random = new Random(seed + 1);
  const own = kvLen / pages.size;
  const chosen = Array.from({ length: batch }, (_, b) => {
    const order = Array.from({ length: own }, () => random.next());
    const shuffled = order.map((_, n) => n).sort((x, y) => order[x] - order[y]);
    return shuffled.slice(0, selectedPages({ kvLen, pages })).map((page) => b * own + page);
  });
  return Int32Array.from(chosen.flat());
}

/** Keys or values in the order in which queries see them, `[B, keys, Hkv, D|Dv]`. */
export function inOrder(c: Given, { data, shape }: HostTensor): HostTensor {
  if (c.pages === undefined) return { data, shape };
  const [, pageSize, heads, dim] = shape;
  const width = pageSize * heads * dim;
  const table = tableOf(c);
  const ordered = new Float32Array(table.length * width);
  table.forEach((page, n) =>
    ordered.set(data.subarray(page * width, (page + 1) * width), n * width)
  );
  return { data: ordered, shape: [c.batch, keyCount(c), heads, dim] };
}
