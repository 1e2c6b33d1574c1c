import { constants, declare, type Program } from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";
import { chunkSizeOf, type LogLinearTileConfig, stateSizes } from "./config.ts";
import { handedRow } from "./exchange.ts";
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
 * What each chunk adds to the state at its end, and its decay: Σ_j (k_j decayed to the end)ᵀ v_j.
 *
 * A workgroup has a chunk, a state head and a tile of its state; an invocation owns four key channels and
 * `columns` vec4 of values. Tokens go from the last to the first, so that decays are products of e^g: no
 * exponent is a sum.
 */
export function logLinearStates(config: LogLinearTileConfig): Program {
  const { exchange, lanes, columns, source } = config;
  const chunkSize = chunkSizeOf(config);
  const reads = inputParts(config, { rows: ["k", "v"], elements: ["g"], source });
  const bindings = [...pieceBindings(config), ...reads.bindings, blocks("read_write")];
  const params = { ...PIECE_PARAMS, ...BLOCK_PARAMS, ...reads.params };
  const sizes = {
    ...stateSizes(config),
    ...chunkSizes({ ...config, chunkSize }),
    LANES: lanes,
    COLS: columns,
    KEY_TILES: Math.ceil(config.keyDim / (4 * lanes)),
  };
  const code = [
    constants(sizes),
    declare(bindings, params),
    pieceCode(config),
    CHUNK_CODE,
    BLOCK_CODE,
    reads.code,
    unroll(main(exchange), sizes),
  ].join("\n");
  const label = `logLinearAttention (chunk states, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange === "subgroup" };
}

function main(exchange: LogLinearTileConfig["exchange"]): string {
  const v = handedRow(exchange, (c) => `load_v(row, min(first_col + ${c}, V4 - 1u))`);
  return /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.piece0 + tile.z; // a row of the table for each chunk
  let piece = piece_at(i);
  let chunk = chunk_at(piece, i);
  if chunk.count == 0u { return; }
  let head = tile.y;
  let d = tile.x % KEY_TILES * LANES + lane;
  let first_col = tile.x / KEY_TILES * COLS;

  @registers var s: array<array<vec4f, COLS>, 4>;
  var end = 1.0; // the decay from a token to the end
  for (var j = chunk.count; j > 0u; j--) {
    let token = chunk.first + j - 1u;
    let k = end * load_k(row_k(token, head), min(d, D4 - 1u));
    end *= gate_at(token, head);
    let row = row_v(token, head);
    ${v.load}
    @unroll for (var c = 0u; c < COLS; c++) {
      let v = ${v.handed};
      @unroll for (var x = 0u; x < 4; x++) { s[x][c] = fma(vec4f(k[x]), v, s[x][c]); }
    }
  }

  let block = chunk_block(piece, chunk.number, head);
  @unroll for (var x = 0u; x < 4; x++) {
    @unroll for (var c = 0u; c < COLS; c++) {
      if 4u * d + x < KEYS && first_col + c < V4 {
        blocks[block + (4u * d + x) * V4 + first_col + c] = s[x][c];
      }
    }
  }
  if tile.x == 0u && lane == 0u { blocks[block + DECAY] = vec4f(end); }
}
`;
}
