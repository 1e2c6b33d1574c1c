import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { ELEMENT_BYTES, ELEMENTS } from "../../kernels/scan/element.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { type Round, roundsOf, wantsChunks } from "../segments.ts";
import type { ScanProblem } from "./problem.ts";

/** How a scan will be computed; no GPU was touched. */
export interface ScanPlan {
  readonly rounds: readonly Round[];
  /** Whether sequences have elements: from states, for states, or for the next round. */
  readonly carried: boolean;
}

/** Invocations that fill a GPU: with fewer of them, chunks in parallel are worth reading twice. */
const FULL = 32_768;

/** Chooses the mode, and cuts sequences where a driver would end a loop or refuse a binding. */
export function planScan(
  problem: ScanProblem,
  device: Pick<PlanDevice, "adapter" | "limits">,
): ScanPlan {
  const { bounds, reverse, initial, final } = problem;
  const { limits } = device;
  const chunk = chunked(problem, device);
  checkRows(problem, limits);
  const longest = chunk
    ? tokensOfChunks(problem, limits)
    : Math.min(0.9 * limits.maxLoopIterations, tokensOfBinding(problem, limits));
  const uncut = Math.max(1, problem.length);
  const rounds = roundsOf(bounds, {
    longest: Math.floor(Math.min(longest, uncut)),
    chunkSize: chunk ? problem.chunkSize : null,
    reverse,
  });
  const carried = initial || final || rounds.length > 1;
  if (carried || chunk) checkElements(problem, limits);
  return { rounds, carried };
}

/** Vec4 columns of a token, each of which has an element. */
export function itemsOf({ heads, width }: Pick<ScanProblem, "heads" | "width">): number {
  return heads * Math.ceil(width / 4);
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

/** Whether chunks are computed in parallel. */
function chunked(
  problem: ScanProblem,
  { adapter: { software } }: Pick<PlanDevice, "adapter">,
): boolean {
  const invocations = (problem.bounds.length - 1) * itemsOf(problem);
  return wantsChunks(problem, { software, idle: invocations < FULL });
}

/** Tokens of a sequence whose chunks one binding holds, and one loop carries. */
function tokensOfChunks(problem: ScanProblem, limits: GpuLimits): number {
  const { bounds, chunkSize } = problem;
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
