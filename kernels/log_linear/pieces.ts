import type { Binding, ParamType } from "../../gpu/program.ts";
import type { LogLinearChunkConfig, LogLinearConfig } from "./config.ts";
import { storage } from "./inputs.ts";

/** What pieces of sequences bind: their table, and how many tokens sequences have had. */
export function pieceBindings({ resumed }: Pick<LogLinearConfig, "resumed">): Binding[] {
  return [
    storage("pieces", "vec4u", "read"),
    ...(resumed ? [storage("counts", "i32", "read")] : []),
  ];
}

/** Parameters of kernels that walk pieces. */
export const PIECE_PARAMS: Readonly<Record<string, ParamType>> = {
  piece0: "u32", // first row of the table of this launch
};

/** `piece_at(i)`: a row of the table. Places count the tokens of a sequence from its first. */
export function pieceCode({ resumed }: Pick<LogLinearConfig, "resumed">): string {
  return /* wgsl */ `
struct Piece {
  first: u32, // token, among all
  end: u32, // one past its last
  place: u32, // of its first token
  sequence: u32,
  row: u32, // its first chunk, among those of all pieces
  number: u32, // its own, among all pieces
}

fn piece_at(i: u32) -> Piece {
  let tokens = pieces[2u * i]; // first, end, first counted from the first of the sequence, sequence
  let rows = pieces[2u * i + 1u];
  let place = tokens.z + ${resumed ? "u32(counts[tokens.w])" : "0u"};
  return Piece(tokens.x, tokens.y, place, tokens.w, rows.x, rows.y);
}

/// Bits of a number: the level at which places see each other that differ by it.
fn bits(x: u32) -> u32 { return 32u - countLeadingZeros(x); }
`;
}

/** vec4 of a block: a state, padded to whole ones, then decays. */
export function blockVectors(
  { keyDim, valueDim }: Pick<LogLinearConfig, "keyDim" | "valueDim">,
): number {
  return keyDim * Math.ceil(valueDim / 4) + 2;
}

/** Constants of chunks, and of blocks in memory. */
export function chunkSizes(config: LogLinearChunkConfig): Record<string, number> {
  const stride = blockVectors(config);
  return {
    CHUNK: config.chunkSize,
    CHUNK_LEVEL: Math.log2(config.chunkSize), // the highest level inside a chunk
    DECAY: stride - 2, // where a block has the decay of its last chunk, and of all its chunks
    SPAN: stride - 1,
    STRIDE: stride,
  };
}

/** Binds blocks: states `[K, V]` and decays. */
export function blocks(access: "read" | "read_write"): Binding {
  return storage("blocks", "vec4f", access);
}

/** Parameters of kernels that read or write blocks. */
export const BLOCK_PARAMS: Readonly<Record<string, ParamType>> = {
  levelRows: "u32", // blocks before those of chunks
};

/** `chunk_at(piece, row)`: tokens of a chunk; there may be none. */
export const CHUNK_CODE: string = /* wgsl */ `
struct Chunk {
  number: u32, // counted from the first token of the sequence
  place: u32, // of its first token, which lies inside where a piece begins there
  first: u32, // token, among all
  count: u32,
}

fn chunk_at(piece: Piece, row: u32) -> Chunk {
  let number = piece.place / CHUNK + row - piece.row;
  let begin = max(number * CHUNK, piece.place);
  let end = min((number + 1u) * CHUNK, piece.place + piece.end - piece.first);
  return Chunk(number, begin, piece.first + begin - piece.place, max(end, begin) - begin);
}

/// The token at a place of a chunk, counted from where chunks of all tokens begin.
fn token_in(chunk: Chunk, i: u32) -> u32 {
  let before = chunk.place % CHUNK;
  return chunk.first + min(max(i, before) - before, chunk.count - 1u);
}

fn is_in(chunk: Chunk, i: u32) -> bool {
  let before = chunk.place % CHUNK;
  return i >= before && i < before + chunk.count;
}
`;

/** `next_block(cursor, piece, head)`: a walk over all blocks before a chunk, the nearest first. */
export const BLOCK_CODE: string = /* wgsl */ `
/// Where the block is that chunks 0 to number leave at the last of them.
fn chunk_block(piece: Piece, number: u32, head: u32) -> u32 {
  let row = piece.row + number - piece.place / CHUNK;
  return (params.level_rows + row * params.heads + head) * STRIDE;
}

/// Where a level of the state is that the piece finds.
fn level_block(piece: Piece, level: u32, head: u32) -> u32 {
  return ((piece.number * params.heads + head) * LEVELS + level) * STRIDE;
}

struct Cursor {
  chunks: u32, // before which the next block ends
  level: u32, // of the current block
  at: u32, // where it is
  decay: f32, // from its end on: callers multiply it by the span of a block that they leave
}

/// Binary digits of the number of chunks name the blocks; what was before the piece is in its levels.
fn next_block(cursor: ptr<function, Cursor>, piece: Piece, head: u32) -> bool {
  let chunks = (*cursor).chunks;
  if chunks > piece.place / CHUNK {
    (*cursor).level = CHUNK_LEVEL + 1u + countTrailingZeros(chunks);
    (*cursor).at = chunk_block(piece, chunks - 1u, head);
    (*cursor).chunks = chunks & (chunks - 1u);
    return true;
  }
  let level = (*cursor).level;
  let left = piece.place >> min(level, 31u); // levels that hold tokens
  if left == 0u || level + 1u >= LEVELS { return false; }
  (*cursor).level = min(level + 1u + countTrailingZeros(left), LEVELS - 1u);
  (*cursor).at = level_block(piece, (*cursor).level, head);
  return true;
}
`;
