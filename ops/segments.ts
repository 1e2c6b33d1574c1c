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

/** Sequences in rounds of pieces, each from the state that the round before left. */
export function roundsOf(
  sequences: readonly Segment[],
  longest: number,
  reverse: boolean,
): Segment[][] {
  const cut = sequences.map((sequence) => inOrder(sequence, longest, reverse));
  const count = Math.max(1, ...cut.map(({ length }) => length));
  return Array.from({ length: count }, (_, round) =>
    cut.flatMap((list, n) => {
      if (list[round] !== undefined) return [list[round]];
      // a sequence without tokens hands its state on, once
      const { end, state } = sequences[n];
      return round === 0 ? [{ first: end, end, state }] : [];
    }));
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
  const full = segments.filter(({ first, end }) => end > first);
  if (full.length === 0) return [0, 1];
  return [Math.min(...full.map(({ first }) => first)), Math.max(...full.map(({ end }) => end))];
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
