import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { ELEMENT_BYTES, ELEMENTS } from "../../kernels/scan/element.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { defaultsOf } from "../defaults.ts";
import { chunkTokens, type Round, roundsOf } from "../segments.ts";
import { tunedWalk } from "../tuning.ts";
import { isFull, itemsOf, scanClass } from "./class.ts";
import { CHUNK_SIZES, type ScanProblem } from "./problem.ts";

/** How a scan will be computed; no GPU was touched. */
export interface ScanPlan {
  readonly rounds: readonly Round[];
  /** Tokens of the chunks that are computed in parallel, or null where loops walk them. */
  readonly chunkSize: number | null;
  /** Whether sequences have elements: from states, for states, or for the next round. */
  readonly carried: boolean;
}

/** Chooses the mode, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planScan(
  problem: ScanProblem,
  device: Omit<PlanDevice, "features">,
): ScanPlan {
  const { bounds, reverse, initial, final } = problem;
  const { limits } = device;
  const chunkSize = chunkOf(problem, device);
  checkRows(problem, limits);
  const longest = chunkSize === null
    ? Math.min(0.9 * limits.maxLoopIterations, tokensOfBinding(problem, limits))
    : tokensOfChunks(problem, chunkSize, limits);
  const uncut = Math.max(1, problem.length);
  const rounds = roundsOf(bounds, {
    longest: Math.floor(Math.min(longest, uncut)),
    ...{ chunkSize, reverse },
  });
  const carried = initial || final || rounds.length > 1;
  if (carried || chunkSize !== null) checkElements(problem, limits);
  return { rounds, chunkSize, carried };
}

/** Rows of a tensor for a token, and their elements. */
interface Layout {
  readonly rows: number;
  readonly width: number;
}

/** Rows that each tensor has for a token, and their elements. */
export function rowsOf(
  { kind, heads, width, gateRows }: Pick<ScanProblem, "kind" | "heads" | "width" | "gateRows">,
): Record<string, Layout> {
  const row = { rows: heads, width };
  const gates = { rows: heads * (gateRows ?? 0), width };
  return {
    a: row,
    b: row,
    x: row,
    g: row,
    s: { rows: heads, width: 1 },
    v: row,
    out: row,
    i: row,
    f: row,
    keys: row,
    gates,
    weights: { rows: ELEMENTS[kind].anchored ? heads : 0, width: 2 * width },
  };
}

/** Tokens whose rows one binding holds. */
export function tokensOfBinding(
  problem: ScanProblem,
  { maxStorageBufferBindingSize: largest, minStorageBufferOffsetAlignment: alignment }: GpuLimits,
): number {
  const { heads, width, elem, weightElem } = problem;
  const { gates, weights } = rowsOf(problem);
  const tokensOf = (stored: "f32" | "f16", { rows, width }: Layout): number => {
    const row = width * elementBytes(stored);
    // bindings start at whole rows that are aligned
    const before = row % alignment === 0 ? 0 : row * alignment;
    return (largest - before) / (rows * row);
  };
  const row = { rows: heads, width };
  const outputs = [gates, weights].filter(({ rows }) => rows > 0);
  return Math.floor(Math.min(
    ...[tokensOf(elem, row), tokensOf(weightElem, row)],
    ...outputs.map((output) => tokensOf("f32", output)),
  ));
}

/** Tokens of the chunks that are computed in parallel, or null for a loop. */
function chunkOf(
  problem: ScanProblem,
  device: Omit<PlanDevice, "features">,
): number | null {
  const tuned = { device, problemClass: scanClass(problem) };
  return chunkTokens(problem, {
    parallel: defaultsOf(device.adapter).parallel,
    idle: !isFull(problem),
    tuned: tunedWalk(tuned, null, CHUNK_SIZES),
  });
}

/** Tokens of a sequence whose chunks one binding holds, and one loop carries. */
function tokensOfChunks(problem: ScanProblem, chunkSize: number, limits: GpuLimits): number {
  const { bounds } = problem;
  const sequences = Math.max(1, bounds.length - 1);
  const elements = limits.maxStorageBufferBindingSize / (ELEMENT_BYTES * itemsOf(problem));
  const chunks = Math.min(elements / sequences, 0.9 * limits.maxLoopIterations);
  return Math.max(1, Math.floor(chunks)) * chunkSize;
}

/** The rows of a token are bound whole. */
function checkRows(problem: ScanProblem, limits: GpuLimits): void {
  if (tokensOfBinding(problem, limits) >= 1) return;
  throw new RangeError(
    `Cannot plan a scan as a token must fit one binding: it has ${
      problem.heads * problem.width * (problem.gateRows ?? 1)
    } channels, the device allows ${limits.maxStorageBufferBindingSize} bytes`,
  );
}

/** The elements of sequences are bound whole. */
function checkElements(problem: ScanProblem, limits: GpuLimits): void {
  const bytes = ELEMENT_BYTES * (problem.bounds.length - 1) * itemsOf(problem);
  if (bytes <= limits.maxStorageBufferBindingSize) return;
  throw new RangeError(
    `Cannot plan a scan as what all sequences carry must fit one binding: it has ${bytes} bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}
