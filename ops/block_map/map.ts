import type { Gpu } from "../../gpu/device.ts";
import { spellAs } from "../../gpu/spelling.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { PARTIAL } from "../../kernels/attention/blocks.ts";
import type { CheckedHooks } from "../attention/hooks.ts";

/** What a block map covers. */
export interface BlockMapSizes {
  /** B, or 1 for all batch entries. */
  readonly batch: number;
  /** Hq, or 1 for all heads. */
  readonly heads: number;
  /** T. */
  readonly qLen: number;
  /** S. */
  readonly kvLen: number;
  /** Queries of a block. */
  readonly queryBlock: number;
  /** Keys of a block. */
  readonly keyBlock: number;
}

const MASKS = new WeakMap<BlockMap, CheckedHooks>();

/** The masks of the partial blocks of a map, and what they read. */
export function masksOf(map: BlockMap): CheckedHooks {
  return MASKS.get(map) as CheckedHooks;
}

/**
 * Which blocks of keys each block of queries sees, and which of them in full; on the device, made once
 * and used by any number of calls of `attention` on such lengths.
 *
 * @example How much of a causal map is not empty
 * ```ts
 * import { compileBlockMap, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * using map = compileBlockMap(gpu, "j <= i", { qLen: 256, kvLen: 256 });
 * assertEquals(await map.density(), (1 + 2 + 3 + 4) / 16);
 * ```
 */
export class BlockMap implements BlockMapSizes, Disposable {
  /** The device that holds it. */
  readonly gpu: Gpu;
  /** B, or 1 for all batch entries. */
  readonly batch: number;
  /** Hq, or 1 for all heads. */
  readonly heads: number;
  /** T. */
  readonly qLen: number;
  /** S. */
  readonly kvLen: number;
  /** Queries of a block. */
  readonly queryBlock: number;
  /** Keys of a block. */
  readonly keyBlock: number;
  /** How many blocks of keys each block of queries sees, `[B|1, Hq|1, ⌈T / queryBlock⌉]`. */
  readonly counts: Tensor<"u32">;
  /**
   * Their numbers in order, `[B|1, Hq|1, ⌈T / queryBlock⌉, ⌈S / keyBlock⌉]`; the highest bit is set
   * where hooks hide some of a block, and what is behind the count is of no meaning.
   */
  readonly list: Tensor<"u32">;

  /**
   * Use `compileBlockMap()`, `blockMapFromMatrix()` or `blockMapFromIndices()` instead.
   *
   * @param gpu the device
   * @param sizes what it covers
   * @param blocks its lists
   * @param hooks the masks of partial blocks
   */
  constructor(
    gpu: Gpu,
    sizes: BlockMapSizes,
    blocks: { readonly counts: Tensor<"u32">; readonly list: Tensor<"u32"> },
    hooks: CheckedHooks,
  ) {
    this.gpu = gpu;
    this.batch = sizes.batch;
    this.heads = sizes.heads;
    this.qLen = sizes.qLen;
    this.kvLen = sizes.kvLen;
    this.queryBlock = sizes.queryBlock;
    this.keyBlock = sizes.keyBlock;
    this.counts = blocks.counts;
    this.list = blocks.list;
    MASKS.set(this, hooks);
  }

  /** Blocks of queries. */
  get queryBlocks(): number {
    return Math.ceil(this.qLen / this.queryBlock);
  }

  /** Blocks of keys. */
  get keyBlocks(): number {
    return Math.ceil(this.kvLen / this.keyBlock);
  }

  /** Whether `dispose()` was called. */
  get disposed(): boolean {
    return this.counts.disposed;
  }

  /**
   * Waits for the map and counts.
   *
   * @returns the share of all blocks that some query sees
   */
  async density(): Promise<number> {
    const counts = await this.counts.read();
    const all = counts.length * this.keyBlocks;
    return all === 0 ? 0 : counts.reduce((sum, count) => sum + count, 0) / all;
  }

  /**
   * Waits for the map and reads it.
   *
   * @returns for each batch entry and head of the map, block of queries and block of keys: 0 where no
   * query sees a key, 1 where hooks decide, 2 where all see all
   */
  async matrix(): Promise<Uint8Array> {
    const [counts, list] = [await this.counts.read(), await this.list.read()];
    const { keyBlocks } = this;
    const matrix = new Uint8Array(list.length);
    counts.forEach((count, row) => {
      for (const entry of list.subarray(row * keyBlocks, row * keyBlocks + count)) {
        matrix[row * keyBlocks + entry % PARTIAL] = entry >= PARTIAL ? 1 : 2;
      }
    });
    return matrix;
  }

  /** Frees its lists once recorded work no longer needs them; what its hooks read stays. */
  dispose(): void {
    this.counts.dispose();
    this.list.dispose();
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

spellAs(BlockMap.prototype, (map) => {
  const { batch, heads, qLen, kvLen, queryBlock, keyBlock, counts, list } = map;
  return { batch, heads, qLen, kvLen, queryBlock, keyBlock, counts, list, masks: masksOf(map) };
});
