import type { Gpu } from "../../gpu/device.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import { SORT_TILE } from "../../kernels/select/order.ts";
import { SORT_THREADS, sortedPlaces, sortStep, sortTile } from "../../kernels/select/sort.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";

const programs = { step: once(sortStep), tile: once(sortTile), places: once(sortedPlaces) };

/** Rows of pairs in a buffer. */
export interface PairRows {
  readonly pairs: BufferRange;
  readonly rows: number;
  /** Pairs of a row. */
  readonly width: number;
}

/** Where the sorted places of rows are written: lines of a tensor [outer, length, inner]. */
export interface PlaceLines {
  readonly indices: BufferRange;
  readonly length: number;
  readonly inner: number;
  /** Elements of the binding before the first line. */
  readonly before: number;
}

/** Checks that a step across tiles has as many workgroups as a grid. */
export function checkSortable(
  action: string,
  width: number,
  { maxComputeWorkgroupsPerDimension: groups }: GpuLimits,
): void {
  if (stepGroups(width) <= groups) return;
  throw new RangeError(
    `Cannot ${action} as a step of a sort must have at most ${groups} workgroups: ${width} elements take ${
      stepGroups(width)
    }`,
  );
}

/** Workgroups of a step across tiles. */
function stepGroups(width: number): number {
  return Math.ceil(powerOfTwo(width) / 2 / SORT_THREADS);
}

/** Sorts rows of pairs: tiles in the memory of workgroups, then across them in steps. */
export function sortRows(operation: Operation, { pairs, rows, width }: PairRows): void {
  const tiles = Math.ceil(width / SORT_TILE);
  const inTiles = (pass: "sort" | "finish"): void =>
    operation.launch({
      program: programs.tile({ pass }),
      resources: { list: pairs },
      params: { width },
      grid: [tiles, rows, 1],
    });
  inTiles("sort");
  const all = powerOfTwo(width);
  for (let size = 2 * SORT_TILE; size <= all; size *= 2) {
    for (let stride = size / 2; stride >= SORT_TILE; stride /= 2) {
      operation.launch({
        program: programs.step({}),
        resources: { pairs },
        params: { width, size, stride },
        grid: [stepGroups(width), rows, 1],
      });
    }
    inTiles("finish");
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
