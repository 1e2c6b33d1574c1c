import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { countOutside } from "../../kernels/cache/outside.ts";
import { once } from "../once.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options of {@linkcode countInvalidPages}. */
export interface InvalidPagesOptions {
  /** Pages that there are. */
  pages: number;
  /** i32 `[B]`: how many tokens each batch entry has; without it, all pages of the table count. */
  lengths?: Tensor;
  /**
   * Tokens of a page, where there are lengths.
   *
   * @default {1}
   */
  pageSize?: number;
}

const ACTION = "count invalid pages";
const programOf = once(countOutside);

/**
 * Counts the entries of a page table that name no page, for each batch entry.
 *
 * `attention` and `appendToCache` refuse such entries where the host knows them; where a table was computed
 * on the device they take the last page in their place, which is harmless, and this tells of them.
 *
 * @param pageTable i32 `[B, M]`
 * @param options how many pages there are, and which entries are used
 * @returns u32 `[B]`; the work is recorded
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example One of three entries
 * ```ts
 * import { countInvalidPages, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const pageTable = gpu.tensor(Int32Array.of(0, 7, 3), [1, 3]);
 * assertEquals(await countInvalidPages(pageTable, { pages: 4 }).read(), Uint32Array.of(1));
 * ```
 */
export function countInvalidPages(pageTable: Tensor, options: InvalidPagesOptions): Tensor<"u32"> {
  return recall(count, pageTable, options);
}

function count(pageTable: Tensor, options: InvalidPagesOptions): Tensor<"u32"> {
  checkOptionNames(ACTION, options, ["pages", "lengths", "pageSize"]);
  const { pages, lengths, pageSize = 1 } = options;
  const gpu = checkTensors(ACTION, { pageTable, ...(lengths !== undefined && { lengths }) });
  checkDType(ACTION, "pageTable", pageTable, ["i32"]);
  checkRank(ACTION, "pageTable", pageTable, ["B", "M"]);
  const [batch, columns] = pageTable.shape;
  if (lengths !== undefined) {
    checkDType(ACTION, "lengths", lengths, ["i32"]);
    checkShape(ACTION, "lengths", lengths, [batch]);
  }
  for (const [name, size] of Object.entries({ pages, pageSize })) {
    const least = name === "pages" ? 0 : 1;
    if (Number.isSafeInteger(size) && size >= least && size < 2 ** 31) continue;
    throw new RangeError(
      `Cannot ${ACTION} as ${name} must be an integer >= ${least}: ${name} is ${kindOf(size)}`,
    );
  }
  return record(gpu, "countInvalidPages", (operation) => {
    const counts = gpu.empty([batch], "u32");
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    for (let row0 = 0; row0 < batch; row0 += most) {
      operation.launch({
        program: programOf({ lengths: lengths !== undefined }),
        resources: {
          table: { buffer: pageTable.buffer },
          counts: { buffer: counts.buffer },
          ...(lengths && { lengths: { buffer: lengths.buffer } }),
        },
        params: { row0, columns, end: pages, pageSize },
        grid: [Math.min(most, batch - row0), 1, 1],
      });
    }
    return counts;
  });
}
