import type { TunedWalk } from "./tuning.ts";

/** Tokens that one workgroup walks: from `first` to before `end`, and the row of its state. */
export interface Segment {
  readonly first: number;
  readonly end: number;
  readonly state: number;
}

/** Pieces of sequences that are walked before the next round, which finds the states they leave. */
export interface Round {
  readonly pieces: readonly Segment[];
  /** Chunks of the pieces, whose states have rows of their own; null where a piece is walked whole. */
  readonly chunks: readonly Segment[] | null;
  /** For each piece its first chunk, and one past its last, as a segment of chunks. */
  readonly chunkRanges: readonly Segment[];
}

/** A round whose pieces are cut into chunks. */
export function chunksOf(
  pieces: readonly Segment[],
  { chunkSize, reverse }: { readonly chunkSize: number; readonly reverse: boolean },
): Round {
  const chunks: Segment[] = [];
  const chunkRanges = pieces.map((piece) => {
    const first = chunks.length;
    for (const chunk of inOrder(piece, chunkSize, reverse)) {
      chunks.push({ ...chunk, state: chunks.length });
    }
    return { first, end: chunks.length, state: piece.state };
  });
  return { pieces, chunks, chunkRanges };
}

/** Sequences from the first token of each, and one past the last token of the last. */
export function sequencesOf(bounds: readonly number[]): Segment[] {
  return bounds.slice(1).map((end, n) => ({ first: bounds[n], end, state: n }));
}

/** How sequences are cut. */
export interface Cut {
  /** Tokens of a piece. */
  readonly longest: number;
  /** Tokens of a chunk, or null where pieces are walked whole. */
  readonly chunkSize: number | null;
  readonly reverse: boolean;
}

/** Sequences in rounds of pieces, each from the state that the round before left. */
export function roundsOf(
  bounds: readonly number[],
  { longest, chunkSize, reverse }: Cut,
): Round[] {
  const sequences = sequencesOf(bounds);
  const cut = sequences.map((sequence) => inOrder(sequence, longest, reverse));
  const count = cut.reduce((most, { length }) => Math.max(most, length), 1);
  return Array.from({ length: count }, (_, round) => {
    const pieces = cut.flatMap((list, n) => {
      if (list[round] !== undefined) return [list[round]];
      // a sequence without tokens hands its state on, once
      const { end, state } = sequences[n];
      return round === 0 ? [{ first: end, end, state }] : [];
    });
    return chunkSize === null
      ? { pieces, chunks: null, chunkRanges: [] }
      : chunksOf(pieces, { chunkSize, reverse });
  });
}

/** What asks for chunks. */
export interface ChunkWish {
  readonly mode: "auto" | "chunk" | "loop";
  readonly length: number;
  /** Tokens of a chunk, or null where the caller leaves them open. */
  readonly chunkSize: number | null;
}

/** Tokens of a chunk where neither a call nor a tuning names them. */
const CHUNK_SIZE = 64;

/**
 * Tokens of the chunks that are computed in parallel, or null for a loop: as the call says, as tuning
 * chose, or chunks where a parallel device would idle without them.
 */
export function chunkTokens(
  { mode, length, chunkSize }: ChunkWish,
  { parallel, idle, tuned }: {
    readonly parallel: boolean;
    readonly idle: boolean;
    readonly tuned: TunedWalk;
  },
): number | null {
  const size = chunkSize ?? tuned.chunkSize ?? CHUNK_SIZE;
  if (mode !== "auto") return mode === "chunk" ? size : null;
  const wanted = tuned.mode === undefined ? parallel && idle : tuned.mode === "chunk";
  return wanted && length >= 4 * size ? size : null;
}

/** Pieces of a segment in the order in which the recurrence meets them. */
function inOrder({ first, end, state }: Segment, size: number, reverse: boolean): Segment[] {
  const count = Math.ceil((end - first) / size);
  return Array.from(
    { length: count },
    (_, i) =>
      reverse
        ? { first: Math.max(first, end - (i + 1) * size), end: end - i * size, state }
        : { first: first + i * size, end: Math.min(end, first + (i + 1) * size), state },
  );
}

/** The tokens of segments; one where they have none, since no binding may be empty. */
export function hullOf(segments: readonly Segment[]): [number, number] {
  let [low, high] = [Infinity, 0];
  for (const { first, end } of segments) {
    if (end <= first) continue;
    low = Math.min(low, first);
    high = Math.max(high, end);
  }
  return high > 0 ? [low, high] : [0, 1];
}

/** Runs of segments with at most so many tokens from the first to the last, and segments. */
export function groupsOf(
  segments: readonly Segment[],
  most: { readonly tokens: number; readonly segments: number },
): [number, number][] {
  const groups: [number, number][] = [];
  let [start, low, high] = [0, Infinity, 0];
  segments.forEach(({ first, end }, i) => {
    const [lower, upper] = [Math.min(low, first), Math.max(high, end)];
    const full = upper - lower > most.tokens || i - start >= most.segments;
    if (full && i > start) {
      groups.push([start, i]);
      [start, low, high] = [i, first, end];
    } else {
      [low, high] = [lower, upper];
    }
  });
  if (segments.length > start) groups.push([start, segments.length]);
  return groups;
}

/** Segments as words of a table. */
export function tableOf(segments: readonly Segment[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(segments.flatMap(({ first, end, state }) => [first, end, state, 0]));
}
