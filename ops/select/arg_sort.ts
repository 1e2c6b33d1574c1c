import type { Gpu } from "../../gpu/device.ts";
import { elementBytes, kindOf, volume } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { Sortable } from "../../kernels/select/keys.ts";
import { SORT_THREADS, sortPairs } from "../../kernels/select/sort.ts";
import { boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { checkFlags } from "../options.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { checkTensors } from "../tensors.ts";
import { checkSortable, sortRows, writePlaces } from "./sort.ts";

/** Options of {@linkcode argSort}. */
export interface ArgSortOptions {
  /**
   * Whether the largest comes first.
   *
   * @default {false}
   */
  descending?: boolean;
  /**
   * The axis along which lines are sorted; from the last one back where it is negative.
   *
   * @default {-1}
   */
  axis?: number;
}

/** What is sorted, validated: lines of a tensor [outer, length, inner]. */
interface SortProblem {
  readonly elem: Sortable;
  readonly descending: boolean;
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

const ACTION = "sort";
const programOf = once(sortPairs);

/**
 * The places of elements in the order of their values: a stable sort along an axis. NaN comes last
 * either way, and −0 is equal to 0.
 *
 * Lines of up to 1,024 by a bitonic sort in the memory of a workgroup, longer ones by a radix sort of
 * four bits at a time.
 * With `gatherTokens()` and `scatterTokens()` it permutes tokens by cluster, region or window, and back.
 *
 * @param x f32, f16, i32 or u32, any shape
 * @param options the axis and the direction
 * @returns for each line the places of its elements, in the shape of x
 * @throws TypeError if a tensor or option does not fit
 * @throws RangeError if a value is out of range, or a line too long for the device
 *
 * @example Tokens by cluster
 * ```ts
 * import { argSort, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const cluster = gpu.tensor(Int32Array.of(1, 0, 1, 0), [1, 4]);
 * assertEquals(await argSort(cluster).read(), Int32Array.of(1, 3, 0, 2));
 * ```
 */
export function argSort(x: Tensor, options: ArgSortOptions = {}): Tensor<"i32"> {
  return recall(run, x, options);
}

function run(x: Tensor, options: ArgSortOptions): Tensor<"i32"> {
  const { problem, gpu } = sortProblem(x, options);
  const { elem, descending, outer, length, inner } = problem;
  const most = linesOfLaunch(problem, gpu.limits);
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  return record(gpu, "argSort", (operation) => {
    const indices = gpu.empty(x.shape, "i32");
    for (let from = 0; x.size > 0 && from < outer; from += most) {
      const to = Math.min(outer, from + most);
      const elements = [from * length * inner, to * length * inner] as const;
      const rows = (to - from) * inner;
      const pairs = operation.scratch(8 * rows * length);
      const sorted = { pairs, rows, width: length, indices: 0 };
      const read = boundRows(x, elements, 1, alignment);
      launchItems(operation, gpu.limits, {
        ...{ first: 0, end: rows * length, threads: SORT_THREADS },
      }, {
        program: programOf({ elem, descending }),
        resources: { scores: read.resource, pairs: sorted.pairs },
        params: { inner, width: length, length, before: elements[0] - read.first },
      });
      sortRows(operation, sorted);
      const written = boundRows(indices, elements, 1, alignment);
      const lines = {
        indices: written.resource,
        length,
        inner,
        before: elements[0] - written.first,
      };
      writePlaces(operation, gpu, sorted, lines);
    }
    return indices;
  });
}

/** Validates the arguments. */
function sortProblem(
  x: Tensor,
  options: ArgSortOptions,
): { problem: SortProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, ["descending", "axis"]);
  const { descending = false, axis = -1 } = options;
  checkFlags(ACTION, { descending });
  const gpu = checkTensors(ACTION, { x });
  const { shape } = x;
  const at = axis < 0 ? axis + shape.length : axis;
  if (!Number.isSafeInteger(axis) || shape[at] === undefined) {
    throw new RangeError(
      `Cannot ${ACTION} as axis must be one of x: axis is ${kindOf(axis)}, x is [${shape}]`,
    );
  }
  const [outer, inner] = [volume(shape.slice(0, at)), volume(shape.slice(at + 1))];
  return { problem: { elem: x.dtype, descending, outer, length: shape[at], inner }, gpu };
}

/** How many times `inner` lines a launch sorts. */
function linesOfLaunch({ elem, length, inner }: SortProblem, limits: GpuLimits): number {
  checkSortable(ACTION, length, limits);
  const pairs = Math.floor(limits.maxStorageBufferBindingSize / (8 * length * inner));
  const elements = rowsOfBinding(length * inner * elementBytes(elem), limits, elementBytes(elem));
  const rows = Math.floor(limits.maxComputeWorkgroupsPerDimension / Math.max(1, inner));
  const most = Math.min(pairs, elements, rows);
  if (most >= 1 || length * inner === 0) return Math.max(1, most);
  throw new RangeError(
    `Cannot ${ACTION} as the lines at one place of the axes before them must fit one launch: there are ${inner} of ${length}, the device allows ${limits.maxStorageBufferBindingSize} bytes and ${limits.maxComputeWorkgroupsPerDimension} lines`,
  );
}
