import { constants, declare, type Program } from "../../gpu/program.ts";
import { writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { chunkSizeOf, type LogLinearTileConfig, stateSizes } from "./config.ts";
import { handedRow, handedRows } from "./exchange.ts";
import { inputParts, partsOf, storage } from "./inputs.ts";
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
import { scoreColumns } from "./scores.ts";

/**
 * The outputs: o_i = Σ_j score_ij v_j inside the chunk, plus λ_i[l] (decay to i) q_i S^(l) for each block
 * before it that holds a level.
 *
 * A workgroup has a chunk, an output head and columns; an invocation owns tokens and sums all products of
 * rows with matrices in registers, four rows of a matrix at a time.
 */
export function logLinearOutputs(config: LogLinearTileConfig): Program {
  const { exchange, lanes, rows, columns, inputs, valueDim, source } = config;
  const chunkSize = chunkSizeOf(config);
  const reads = inputParts(config, { rows: ["q", "v"], elements: ["lambda"], source });
  const out = writer({ name: "out", elem: inputs.q, width: valueDim });
  const stores = partsOf([out]);
  const bindings = [
    ...pieceBindings(config),
    ...reads.bindings,
    ...stores.bindings,
    storage("scores", "vec4f", "read"),
    blocks("read"),
  ];
  const params = { ...PIECE_PARAMS, ...BLOCK_PARAMS, ...reads.params, ...stores.params };
  const sizes = {
    ...stateSizes(config),
    ...chunkSizes({ ...config, chunkSize }),
    LANES: lanes,
    ROWS: rows,
    COLS: columns,
    COLUMNS: scoreColumns(chunkSize),
  };
  const code = [
    constants(sizes),
    declare(bindings, params),
    pieceCode(config),
    CHUNK_CODE,
    BLOCK_CODE,
    reads.code,
    stores.code,
    unroll(main(exchange), sizes),
  ].join("\n");
  const label = `logLinearAttention (outputs, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange === "subgroup" };
}

function main(exchange: LogLinearTileConfig["exchange"]): string {
  const values = handedRow(
    exchange,
    (c) => `load_v(row_v(j, head), min(first_col + ${c}, V4 - 1u))`,
  );
  const state = handedRows(
    exchange,
    (x, c) =>
      `blocks[cursor.at + min(4u * d + ${x}, KEYS - 1u) * V4 + min(first_col + ${c}, V4 - 1u)]`,
  );
  return /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = params.piece0 + tile.z;
  let piece = piece_at(row);
  let chunk = chunk_at(piece, row);
  if chunk.count == 0u { return; }
  let h = tile.y;
  let head = state_head(h);
  let first_col = tile.x * COLS;
  @registers var o: array<array<vec4f, COLS>, ROWS>;
  @registers var token: array<u32, ROWS>;
  @registers var scores_at: array<u32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    token[r] = token_in(chunk, r * LANES + lane);
    scores_at[r] = ((row * out_heads() + h) * CHUNK + r * LANES + lane) * COLUMNS;
  }

  // o_i += score_ij v_j inside the chunk
  for (var n = chunk.place % CHUNK; n < chunk.place % CHUNK + chunk.count; n++) {
    let j = token_in(chunk, n);
    ${values.load}
    @registers var a: array<f32, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) { a[r] = scores[scores_at[r] + n / 4u][n % 4u]; }
    @unroll for (var c = 0u; c < COLS; c++) {
      let v = ${values.handed};
      @unroll for (var r = 0u; r < ROWS; r++) { o[r][c] = fma(vec4f(a[r]), v, o[r][c]); }
    }
  }

  // o_i += λ_i[l] (decay to i) q_i S^(l) before it, level by level
  var cursor = Cursor(chunk.number, 0u, 0u, 1.0);
  while next_block(&cursor, piece, head) {
    @registers var weight: array<f32, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
      // low levels of a state that was left inside this chunk merge as its tokens go on
      let merged = bits((chunk.number * CHUNK + r * LANES + lane) ^ chunk.place);
      let level = min(max(cursor.level, merged), LEVELS - 1u);
      let since = scores[scores_at[r] + CHUNK / 4u].x;
      weight[r] = cursor.decay * since * element_lambda(row_v(token[r], head), level);
    }
    for (var d = 0u; d < D4; d++) {
      @registers var q: array<vec4f, ROWS>;
      @unroll for (var r = 0u; r < ROWS; r++) { q[r] = weight[r] * load_q(row_q(token[r], h), d); }
      ${state.load}
      @unroll for (var x = 0u; x < 4; x++) {
        @unroll for (var c = 0u; c < COLS; c++) {
          let s = ${state.handed};
          @unroll for (var r = 0u; r < ROWS; r++) { o[r][c] = fma(vec4f(q[r][x]), s, o[r][c]); }
        }
      }
    }
    cursor.decay *= blocks[cursor.at + SPAN].x;
  }

  // a loop over the columns and a select for each register: a fraction of the text of all stores
  for (var i = 0u; i < min(COLS, V4 - first_col); i++) {
    @unroll for (var r = 0u; r < ROWS; r++) {
      var x = vec4f();
      @unroll for (var c = 0u; c < COLS; c++) { x = select(x, o[r][c], c == i); }
      if is_in(chunk, r * LANES + lane) {
        store_out(token[r] * out_heads() + h, first_col + i, x);
      }
    }
  }
}
`;
}
