import { constants, declare, type Program } from "../../gpu/program.ts";
import { LOG_LINEAR_THREADS, type LogLinearChunkConfig, stateSizes } from "./config.ts";
import {
  BLOCK_CODE,
  BLOCK_PARAMS,
  blocks,
  CHUNK_CODE,
  chunkSizes,
  PIECE_PARAMS,
  pieceBindings,
  pieceCode,
} from "./pieces.ts";

/** Loop iterations for a chunk, on average over its blocks, and beside them. */
export const TREE_ITERATIONS: readonly [number, number] = [4, 2048];

/**
 * Turns what each chunk adds into a Fenwick tree, in place: behind chunk n stands the state of the last
 * 2^z chunks, z the zeros that n + 1 ends with in binary. A chunk reads each level from one block of it.
 *
 * An invocation has four values of a state head of a piece and walks its chunks: the state of a block is
 * that of its last chunk plus those of the blocks before, decayed. Decays of blocks are the same for all
 * values; each invocation keeps them itself, as it may not read what others write.
 */
export function logLinearTree(config: LogLinearChunkConfig): Program {
  const bindings = [...pieceBindings(config), blocks("read_write")];
  const params = { ...PIECE_PARAMS, ...BLOCK_PARAMS, heads: "u32" } as const;
  const code = [
    constants({ THREADS: LOG_LINEAR_THREADS, ...stateSizes(config), ...chunkSizes(config) }),
    declare(bindings, params),
    pieceCode(config),
    CHUNK_CODE,
    BLOCK_CODE,
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (tree)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x >= KEYS * V4 { return; }
  let piece = piece_at(params.piece0 + at.z);
  var spans = array<f32, 33>(); // by level; those before the piece do not decay inside
  for (var l = 0u; l < 33u; l++) { spans[l] = 1.0; }
  for (var row = piece.row; ; row++) {
    let chunk = chunk_at(piece, row);
    if chunk.count == 0u { break; }
    let own = chunk_block(piece, chunk.number, at.y);
    let top = CHUNK_LEVEL + countTrailingZeros(chunk.number + 1u);
    var s = blocks[own + at.x];
    var cursor = Cursor(chunk.number, 0u, 0u, blocks[own + DECAY].x);
    while next_block(&cursor, piece, at.y) {
      if cursor.level > top { break; }
      s = fma(vec4f(cursor.decay), blocks[cursor.at + at.x], s);
      cursor.decay *= spans[cursor.level];
    }
    spans[top + 1u] = cursor.decay;
    blocks[own + at.x] = s;
    if at.x == 0u { blocks[own + SPAN] = vec4f(cursor.decay); }
  }
}
`;
