import { constants, declare, type Program } from "../../gpu/program.ts";
import { LOG_LINEAR_THREADS, stateSizes } from "./config.ts";
import type { LogLinearEntryConfig } from "./entry.ts";
import { inputParts } from "./inputs.ts";
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

/**
 * The levels behind the last token of each piece, as that token sees them; an element an invocation.
 *
 * Going back from the last token levels rise: first over the tokens of its chunk, then over blocks.
 */
export function logLinearFinal(config: LogLinearEntryConfig): Program {
  const reads = inputParts(config, { rows: [], elements: ["k", "v", "g"] });
  const bindings = [
    ...pieceBindings(config),
    ...reads.bindings,
    blocks("read"),
    { name: "state", access: "read_write", type: "array<f32>" } as const, // [N, HV, L, K, V]
  ];
  const params = { ...PIECE_PARAMS, ...BLOCK_PARAMS, ...reads.params };
  const flags = { RESUMED: config.resumed, VALUE_FIRST: config.valueFirst };
  const code = [
    constants({ THREADS: LOG_LINEAR_THREADS, ...stateSizes(config), ...chunkSizes(config) }),
    constants(flags),
    declare(bindings, params),
    pieceCode(config),
    CHUNK_CODE,
    BLOCK_CODE,
    reads.code,
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (final)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
struct Level {
  level: u32,
  first: u32, // where level 0 of the element is
  sum: f32,
}

/// Stores what was summed up of levels below one.
fn rise(sum: ptr<function, Level>, level: u32) {
  while (*sum).level < level {
    state[(*sum).first + (*sum).level * KEYS * VALUES] = (*sum).sum;
    (*sum).sum = 0.0;
    (*sum).level++;
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x >= KEYS * VALUES { return; }
  let d = at.x / VALUES;
  let e = at.x % VALUES;
  let head = at.y;
  let piece = piece_at(params.piece0 + at.z);
  let place = select(d * VALUES + e, e * KEYS + d, VALUE_FIRST);
  let row = (piece.sequence * params.heads + head) * LEVELS;
  var sum = Level(0u, row * KEYS * VALUES + place, 0.0);
  if piece.first == piece.end { // what is given stays
    if !RESUMED { rise(&sum, LEVELS); }
    return;
  }

  let last = piece.place + piece.end - piece.first - 1u;
  let chunk = chunk_at(piece, piece.row + last / CHUNK - piece.place / CHUNK);
  var decay = 1.0;
  for (var j = chunk.count; j > 0u; j--) {
    let token = chunk.first + j - 1u;
    rise(&sum, min(bits(last ^ (chunk.place + j - 1u)), LEVELS - 1u));
    let k = element_k(row_k(token, head), d);
    sum.sum = fma(decay * k, element_v(row_v(token, head), e), sum.sum);
    decay *= gate_at(token, head);
  }
  var cursor = Cursor(chunk.number, 0u, 0u, decay);
  while next_block(&cursor, piece, head) {
    rise(&sum, min(max(cursor.level, bits(last ^ chunk.place)), LEVELS - 1u));
    sum.sum = fma(cursor.decay, blocks[cursor.at + d * V4 + e / 4u][e % 4u], sum.sum);
    cursor.decay *= blocks[cursor.at + SPAN].x;
  }
  rise(&sum, LEVELS);
}
`;
