import { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { blockLists } from "../../kernels/block_map/lists.ts";
import { blockMarks } from "../../kernels/block_map/marks.ts";
import { blockStates, MAP_THREADS } from "../../kernels/block_map/states.ts";
import {
  type AttentionHook,
  type CheckedHooks,
  checkHooks,
  type HookInputs,
  hookParams,
  hookResources,
  hookTensors,
} from "../attention/hooks.ts";
import { checkHookBindings } from "../attention/hook_bindings.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { checkDType, checkRank, checkTensors } from "../tensors.ts";
import { BlockMap, type BlockMapSizes } from "./map.ts";

export { BlockMap, type BlockMapSizes } from "./map.ts";

/** What a block map covers; B and Hq are 1 where it is one for all. */
export interface BlockMapOptions {
  /** T. */
  qLen: number;
  /** S. */
  kvLen: number;
  /**
   * B, where batch entries differ.
   *
   * @default {1}
   */
  batch?: number;
  /**
   * Hq, where heads differ.
   *
   * @default {1}
   */
  heads?: number;
  /**
   * Queries of a block.
   *
   * @default {64}
   */
  queryBlock?: number;
  /**
   * Keys of a block.
   *
   * @default {64}
   */
  keyBlock?: number;
  /** What masks read. */
  inputs?: HookInputs;
}

/** Options of maps whose blocks are given. */
export interface GivenBlocksOptions extends BlockMapOptions {
  /** Masks of the listed blocks; without one, their keys are all seen. */
  mask?: AttentionHook | readonly AttentionHook[];
}

const ACTION = "make a block map";
const OPTIONS: readonly (keyof BlockMapOptions)[] = [
  ...["qLen", "kvLen", "batch", "heads", "queryBlock", "keyBlock", "inputs"] as const,
];

const programs = { states: once(blockStates), lists: once(blockLists), marks: once(blockMarks) };

/**
 * Compiles a mask into a block map on the device: blocks that no query sees are left out, and those
 * that all see are marked, so that their keys need no mask.
 *
 * @param gpu the device
 * @param mask WGSL predicates on `b`, `h`, `i` and `j`, all of which must hold
 * @param options lengths, sizes of blocks, what the mask reads
 * @returns the map; the work is recorded
 * @throws HookError if the text of a mask does not compile
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example A causal window, and the first four keys
 * ```ts
 * import { attention, compileBlockMap, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 500 * 2 * 64 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 500, 2, 64]));
 * const mask = "j <= i && (i - j < 100 || j < 4)";
 * using blockMap = compileBlockMap(gpu, mask, { qLen: 500, kvLen: 500 });
 * const { out } = attention(q, k, v, { blockMap });
 * console.log(await blockMap.density(), await out.read());
 * ```
 */
export function compileBlockMap(
  gpu: Gpu,
  mask: AttentionHook | readonly AttentionHook[],
  options: BlockMapOptions,
): BlockMap {
  const { sizes, hooks } = checkMap(gpu, options, OPTIONS, mask);
  if (hooks.hooks.masks.length === 0) {
    throw new TypeError(`Cannot ${ACTION} as mask must be WGSL text: mask is ${kindOf(mask)}`);
  }
  checkArea(gpu, sizes);
  return makeMap(gpu, "compileBlockMap", { sizes, hooks }, (operation, states) => {
    const { batch, heads, qLen, kvLen, queryBlock, keyBlock } = sizes;
    const [queryBlocks, keyBlocks] = blocksOf(sizes);
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    for (let row0 = 0; row0 < batch * heads; row0 += most) {
      operation.launch({
        program: programs.states({ hooks: hooks.hooks, queryBlock, keyBlock }),
        resources: { ...hookResources(hooks), states },
        params: { qLen, kvLen, heads, row0, queryBlocks, keyBlocks, ...hookParams(hooks) },
        grid: [keyBlocks, queryBlocks, Math.min(most, batch * heads - row0)],
      });
    }
  });
}

/**
 * Makes a block map of a matrix: blocks whose element is not 0 are seen, under `mask` where there is
 * one.
 *
 * @param matrix `[B|1, Hq|1, ⌈T / queryBlock⌉, ⌈S / keyBlock⌉]`, i32 or u32
 * @param options lengths, sizes of blocks, a mask for the blocks
 * @returns the map; the work is recorded
 * @throws HookError if the text of a mask does not compile
 * @throws TypeError or RangeError if the matrix or an option does not fit
 *
 * @example Blocks on the diagonal
 * ```ts
 * import { blockMapFromMatrix, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const matrix = gpu.tensor(Uint32Array.of(1, 0, 0, 1), [1, 1, 2, 2]);
 * using map = blockMapFromMatrix(matrix, { qLen: 100, kvLen: 100 });
 * assertEquals(await map.density(), 0.5);
 * ```
 */
export function blockMapFromMatrix(matrix: Tensor, options: GivenBlocksOptions): BlockMap {
  return givenBlocks(matrix, options, { name: "matrix", operator: "blockMapFromMatrix" });
}

/**
 * Makes a block map of lists: each block of queries sees the blocks of keys that its row names, under
 * `mask` where there is one. The order does not matter, a number may occur twice, and negative numbers
 * fill rows; numbers that are too large are left out.
 *
 * @param indices `[B|1, Hq|1, ⌈T / queryBlock⌉, M]`, i32
 * @param options lengths, sizes of blocks, a mask for the blocks
 * @returns the map; the work is recorded
 * @throws HookError if the text of a mask does not compile
 * @throws TypeError or RangeError if the indices or an option do not fit
 *
 * @example Two of four blocks for each of two
 * ```ts
 * import { blockMapFromIndices, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const indices = gpu.tensor(Int32Array.of(3, 0, 1, -1), [1, 1, 2, 2]);
 * using map = blockMapFromIndices(indices, { qLen: 128, kvLen: 256 });
 * assertEquals(await map.density(), 3 / 8);
 * ```
 */
export function blockMapFromIndices(indices: Tensor, options: GivenBlocksOptions): BlockMap {
  return givenBlocks(indices, options, { name: "indices", operator: "blockMapFromIndices" });
}

function givenBlocks(
  blocks: Tensor,
  options: GivenBlocksOptions,
  { name, operator }: { readonly name: "matrix" | "indices"; readonly operator: string },
): BlockMap {
  const gpu = checkTensors(ACTION, { [name]: blocks });
  const { sizes, hooks } = checkMap(gpu, options, [...OPTIONS, "mask"], options.mask);
  checkDType(ACTION, name, blocks, name === "matrix" ? ["i32", "u32"] : ["i32"]);
  checkRank(ACTION, name, blocks, ["B|1", "Hq|1", "blocks of queries", "blocks of keys"]);
  const [queryBlocks, keyBlocks] = blocksOf(sizes);
  const wanted = [sizes.batch, sizes.heads, queryBlocks, ...(name === "matrix" ? [keyBlocks] : [])];
  if (wanted.some((size, axis) => blocks.shape[axis] !== size)) {
    throw new TypeError(
      `Cannot ${ACTION} as ${name} must be [${
        name === "matrix" ? wanted : [...wanted, "any"]
      }]: ${name} is [${blocks.shape}]`,
    );
  }
  return makeMap(gpu, operator, { sizes, hooks }, (operation, states) => {
    const columns = blocks.shape[3];
    const rows = sizes.batch * sizes.heads * queryBlocks;
    const program = (pass: "clear" | "mark") =>
      programs.marks({ pass, indices: name === "indices", partial: hooks.hooks.masks.length > 0 });
    const items = (end: number) => ({ first: 0, end, threads: MAP_THREADS });
    const resources = { given: { buffer: blocks.buffer }, states };
    launchItems(operation, gpu.limits, items(rows * keyBlocks), {
      program: program("clear"),
      resources: { states },
      params: { columns, keyBlocks },
    });
    launchItems(operation, gpu.limits, items(rows * columns), {
      ...{ program: program("mark"), resources, params: { columns, keyBlocks } },
    });
  });
}

/** Records the states of blocks, then their lists. */
function makeMap(
  gpu: Gpu,
  operator: string,
  { sizes, hooks }: { readonly sizes: BlockMapSizes; readonly hooks: CheckedHooks },
  launchStates: (operation: Operation, states: BufferRange) => void,
): BlockMap {
  return record(gpu, operator, (operation) => {
    const { batch, heads } = sizes;
    const [queryBlocks, keyBlocks] = blocksOf(sizes);
    const counts = gpu.empty([batch, heads, queryBlocks], "u32");
    const list = gpu.empty([batch, heads, queryBlocks, keyBlocks], "u32");
    const states = operation.scratch(Math.max(16, list.bytes));
    launchStates(operation, states);
    const rows = counts.size;
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    for (let row0 = 0; row0 < rows; row0 += most) {
      operation.launch({
        program: programs.lists({}),
        resources: { states, counts: { buffer: counts.buffer }, list: { buffer: list.buffer } },
        params: { row0, keyBlocks },
        grid: [Math.min(most, rows - row0), 1, 1],
      });
    }
    return new BlockMap(gpu, sizes, { counts, list }, hooks);
  });
}

function blocksOf({ qLen, kvLen, queryBlock, keyBlock }: BlockMapSizes): [number, number] {
  return [Math.ceil(qLen / queryBlock), Math.ceil(kvLen / keyBlock)];
}

/** Checks what maps have in common. */
function checkMap(
  gpu: Gpu,
  options: BlockMapOptions,
  names: readonly string[],
  mask: AttentionHook | readonly AttentionHook[] | undefined,
): { sizes: BlockMapSizes; hooks: CheckedHooks } {
  if (!(gpu instanceof Gpu)) {
    throw new TypeError(`Cannot ${ACTION} as gpu must be a Gpu: gpu is ${kindOf(gpu)}`);
  }
  checkOptionNames(ACTION, options, names);
  const { batch = 1, heads = 1, qLen, kvLen, queryBlock = 64, keyBlock = 64 } = options;
  const sizes = { batch, heads, qLen, kvLen, queryBlock, keyBlock };
  const least = { batch: 0, heads: 1, qLen: 0, kvLen: 0, queryBlock: 1, keyBlock: 1 };
  for (const [name, size] of Object.entries(sizes)) {
    const from = least[name as keyof BlockMapSizes];
    if (Number.isSafeInteger(size) && size >= from && size < 2 ** 31) continue;
    throw new RangeError(
      `Cannot ${ACTION} as ${name} must be an integer >= ${from}: ${name} is ${kindOf(size)}`,
    );
  }
  const { inputs } = options;
  const hooks = checkHooks(ACTION, {
    ...(mask !== undefined && { mask }),
    ...(inputs !== undefined && { inputs }),
  });
  const read = hookTensors(hooks);
  if (hooks.tensors.length > 0 && checkTensors(ACTION, read) !== gpu) {
    throw new TypeError(
      `Cannot ${ACTION} as tensors must share a device: inputs live on another device than the map`,
    );
  }
  checkHookBindings(ACTION, gpu, hooks, 1); // beside states
  const [queryBlocks, keyBlocks] = blocksOf(sizes);
  checkBlocks(gpu, batch * heads * queryBlocks * keyBlocks, { queryBlocks, keyBlocks });
  return { sizes, hooks };
}

/** Lists are bound whole, and a block is a workgroup. */
function checkBlocks(
  { limits }: Gpu,
  blocks: number,
  { queryBlocks, keyBlocks }: Readonly<Record<"queryBlocks" | "keyBlocks", number>>,
): void {
  const most = limits.maxStorageBufferBindingSize / 4;
  const groups = limits.maxComputeWorkgroupsPerDimension;
  if (blocks <= most && queryBlocks <= groups && keyBlocks <= groups) return;
  throw new RangeError(
    `Cannot ${ACTION} as it must have at most ${most} blocks, ${groups} on an axis: it has ${blocks}, ${queryBlocks} x ${keyBlocks}; take larger blocks`,
  );
}

/** A workgroup looks at all pairs of a block. */
function checkArea({ limits }: Gpu, { queryBlock, keyBlock }: BlockMapSizes): void {
  const most = Math.floor(Math.min(2 ** 31, 0.9 * limits.maxLoopIterations * MAP_THREADS));
  if (queryBlock * keyBlock <= most) return;
  throw new RangeError(
    `Cannot ${ACTION} as queryBlock x keyBlock must be at most ${most}: current values are ${queryBlock} x ${keyBlock}`,
  );
}
