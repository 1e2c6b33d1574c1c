import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { SORT_TILE } from "../../kernels/select/order.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import type { SelectProblem } from "./problem.ts";
import { checkSortable } from "./sort.ts";

/** How rows are selected from; no GPU was touched. */
export interface SelectPlan {
  /** Whether each element finds its place by itself, without a workgroup for the row. */
  readonly ranked: boolean;
  /** Invocations that share a row. */
  readonly threads: number;
  /** Pairs that a workgroup holds. */
  readonly tile: number;
  /** Whether a workgroup sorts what it selected; else pairs of a row are sorted in steps. */
  readonly sorted: boolean;
  /** Pairs of a row, or those that a workgroup sorts: as many as can be selected. */
  readonly pairs: number;
  /** Rows of a launch. */
  readonly rows: number;
}

/** Elements up to which a small workgroup walks a row. */
const LONG = 4096;

/** Pairs up to which it sorts them. */
const MANY = 256;

/** Elements and places up to which each element finds its place: it reads the whole row. */
const SHORT = 64;

/** Sizes of a workgroup's memory: few, since each compiles its own kernels. */
const TILES = [64, 256, SORT_TILE];

/** Chooses the workgroups and how many rows a launch has. */
export function planSelect(problem: SelectProblem, limits: GpuLimits): SelectPlan {
  const { elem, rows, width, places, share } = problem;
  const pairs = Math.min(places, width);
  const sorted = pairs <= SORT_TILE;
  // a choice of the row alone where sums depend on it
  const long = width > LONG || (share === null && pairs > MANY);
  const threads = long ? 256 : 64;
  const element = elementBytes(elem);
  const bytes = [width * element, 4 * places, ...(sorted ? [] : [8 * pairs])];
  const most = Math.min(
    limits.maxComputeWorkgroupsPerDimension,
    ...bytes.map((size) => rowsOfBinding(size, limits, element)),
  );
  if (rows > 0 && most < 1) {
    throw new RangeError(
      `Cannot plan a selection as a row must fit one binding: it takes ${
        Math.max(...bytes)
      } bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
    );
  }
  const walks = share === null ? 9 : 21; // over the row, at most; what else loops is short
  const iterations = Math.ceil((walks * width + places) / threads) + 4096;
  if (iterations > 0.9 * limits.maxLoopIterations) {
    throw new RangeError(
      `Cannot plan a selection as a row must take at most ${
        Math.floor(0.9 * limits.maxLoopIterations)
      } iterations here: ${width} elements and ${places} places take ${iterations}`,
    );
  }
  checkSortable("plan a selection", pairs, limits);
  const held = Math.max(sorted ? pairs : 0, share === null ? 0 : 4 * threads);
  const tile = TILES.find((size) => size >= held) ?? SORT_TILE;
  const ranked = Math.max(width, places) <= SHORT;
  return { ranked, threads, tile, sorted, pairs, rows: most };
}
