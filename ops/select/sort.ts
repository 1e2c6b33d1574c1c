import type { Gpu } from "../../gpu/device.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import { sortDigits } from "../../kernels/select/digits.ts";
import { SORT_TILE } from "../../kernels/select/order.ts";
import { SORT_THREADS, sortedPlaces, sortTile } from "../../kernels/select/sort.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";

const programs = { digits: once(sortDigits), tile: once(sortTile), places: once(sortedPlaces) };

/** Rows of pairs in a buffer. */
export interface PairRows {
  readonly pairs: BufferRange;
  readonly rows: number;
  /** Pairs of a row. */
  readonly width: number;
  /** What indices are less than, where pairs come in any order; else 0: they come by their indices. */
  readonly indices: number;
}

/** Where the sorted places of rows are written: lines of a tensor [outer, length, inner]. */
export interface PlaceLines {
  readonly indices: BufferRange;
  readonly length: number;
  readonly inner: number;
  /** Elements of the binding before the first line. */
  readonly before: number;
}

/** Checks that the tiles of a row are no more than the workgroups of a grid. */
export function checkSortable(
  action: string,
  width: number,
  { maxComputeWorkgroupsPerDimension: groups }: GpuLimits,
): void {
  const tiles = Math.ceil(width / SORT_TILE);
  if (tiles <= groups) return;
  throw new RangeError(
    `Cannot ${action} as a row must have at most ${groups} tiles of ${SORT_TILE}: ${width} elements have ${tiles}`,
  );
}

/** Sorts rows of pairs: short ones in the memory of workgroups, longer ones digit after digit. */
export function sortRows(operation: Operation, sorted: PairRows): void {
  const { pairs, rows, width, indices } = sorted;
  if (width > SORT_TILE) {
    const digits = [...digitsOf(1, indices), ...digitsOf(0, 2 ** 32)];
    sortByDigits(operation, sorted, digits);
    return;
  }
  operation.launch({
    program: programs.tile({}),
    resources: { list: pairs },
    params: { width },
    grid: [1, rows, 1],
  });
}

/** A digit of four bits of the key (word 0) or the index of a pair. */
interface Digit {
  readonly word: 0 | 1;
  readonly shift: number;
}

/** The digits of words below a size from the lowest up, an even number of them: pairs move to and fro. */
function digitsOf(word: 0 | 1, size: number): Digit[] {
  const bytes = size === 0 ? 0 : Math.max(1, Math.ceil(Math.log2(size) / 8));
  return Array.from({ length: 2 * bytes }, (_, digit) => ({ word, shift: 4 * digit }));
}

function sortByDigits(
  operation: Operation,
  { pairs, rows, width }: PairRows,
  digits: readonly Digit[],
): void {
  const tiles = Math.ceil(width / SORT_TILE);
  const counts = operation.scratch(4 * 16 * rows * tiles);
  let [from, to] = [pairs, operation.scratch(8 * rows * width)];
  for (const digit of digits) {
    const params = { width, tiles, ...digit };
    for (const pass of ["count", "places", "move"] as const) {
      operation.launch({
        program: programs.digits({ pass }),
        resources: { pairs: from, moved: to, counts },
        params,
        grid: [pass === "places" ? 1 : tiles, rows, 1],
      });
    }
    [from, to] = [to, from];
  }
}

/** Writes the places of sorted rows. */
export function writePlaces(
  operation: Operation,
  { limits }: Gpu,
  { pairs, rows, width }: PairRows,
  { indices, length, inner, before }: PlaceLines,
): void {
  launchItems(operation, limits, { first: 0, end: rows * length, threads: SORT_THREADS }, {
    program: programs.places({}),
    resources: { pairs, indices },
    params: { inner, width, length, before },
  });
}

/** The smallest power of two that is not less. */
export function powerOfTwo(size: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, size)));
}
