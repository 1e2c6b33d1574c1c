import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { chunksOf, groupsOf, type Segment, sequencesOf } from "../segments.ts";
import type { ConvProblem } from "./problem.ts";

/** Tokens of a sequence that an invocation walks. */
export interface Run extends Segment {
  /** First token of the sequence; its number is `state`. */
  readonly origin: number;
  /** Whether it is the last of the sequence, and leaves its state. */
  readonly last: boolean;
}

/** How a causal convolution will be computed; no GPU was touched. */
export interface ConvPlan {
  readonly runs: readonly Run[];
  /** Runs whose tensors one binding holds each. */
  readonly groups: readonly (readonly [number, number])[];
}

/** Tokens of a run: enough that the W - 1 inputs before it weigh little, few enough to fill a GPU. */
const RUN = 64;

/** Cuts sequences into runs, and runs into groups that bindings hold. */
export function planConv(problem: ConvProblem, limits: GpuLimits): ConvPlan {
  const { bounds, width } = problem;
  const tokens = tokensOfBinding(problem, limits);
  const sequences = sequencesOfBinding(problem, limits);
  const chunkSize = Math.floor(Math.min(RUN, 0.9 * limits.maxLoopIterations, tokens - width + 1));
  if (chunkSize < 1 || sequences < 1 || !weightsFit(problem, limits)) {
    const { channels } = problem;
    throw new RangeError(
      `Cannot plan a causal convolution as ${width} tokens, filters and a state must each fit one binding: there are ${channels} channels, the device allows ${limits.maxStorageBufferBindingSize} bytes`,
    );
  }
  const runs = runsOf(bounds, chunkSize);
  const reaching = runs.map((run) => ({ ...run, first: reachOf(run, width) }));
  return { runs, groups: groupsOf(reaching, { tokens, segments: sequences }) };
}

/** The first token that a run reads. */
export function reachOf({ first, origin }: Run, width: number): number {
  return Math.max(origin, first - width + 1);
}

/** Runs of all sequences; one without tokens where a sequence has none, to hand its state on. */
function runsOf(bounds: readonly number[], chunkSize: number): Run[] {
  const pieces = sequencesOf(bounds);
  const { chunks, chunkRanges } = chunksOf(pieces, { chunkSize, reverse: false });
  return pieces.flatMap((piece, n) => {
    const { first, end } = chunkRanges[n];
    const found = chunks?.slice(first, end) ?? [];
    return (found.length > 0 ? found : [piece]).map((run) => ({
      ...{ ...run, state: n, origin: piece.first, last: run.end === piece.end },
    }));
  });
}

/** Tokens whose rows one binding holds, from wherever it may start. */
function tokensOfBinding(
  { channels, elem }: ConvProblem,
  { maxStorageBufferBindingSize, minStorageBufferOffsetAlignment }: GpuLimits,
): number {
  const row = channels * elementBytes(elem);
  const before = row % minStorageBufferOffsetAlignment === 0
    ? 0
    : row * minStorageBufferOffsetAlignment;
  return Math.floor((maxStorageBufferBindingSize - before) / row);
}

/** Sequences whose states one binding holds. */
function sequencesOfBinding(
  { channels, width, initial, final }: ConvProblem,
  { maxStorageBufferBindingSize, minStorageBufferOffsetAlignment }: GpuLimits,
): number {
  if (!(initial || final) || width === 1) return Infinity;
  const row = 4 * (width - 1);
  const before = row * minStorageBufferOffsetAlignment;
  return Math.floor((maxStorageBufferBindingSize - before) / (channels * row));
}

function weightsFit(
  { channels, width, weightElem, biasElem }: ConvProblem,
  { maxStorageBufferBindingSize }: GpuLimits,
): boolean {
  const row = Math.max(width * elementBytes(weightElem), biasElem ? elementBytes(biasElem) : 0);
  return channels * row <= maxStorageBufferBindingSize;
}
