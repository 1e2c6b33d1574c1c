import { constants, declare, type Program } from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";
import { chunkSizeOf, type LogLinearTileConfig, stateSizes } from "./config.ts";
import { inputParts, storage } from "./inputs.ts";
import { CHUNK_CODE, chunkSizes, PIECE_PARAMS, pieceBindings, pieceCode } from "./pieces.ts";

/** vec4 of a row of scores: those with the tokens of the chunk, then what weighs states at its entry. */
export function scoreColumns(chunkSize: number): number {
  return chunkSize / 4 + 1;
}

/**
 * The scores inside chunks: scale λ_i[level(i, j)] (q_i · k_j decayed from j to i) for j <= i, and the
 * decay from the entry to i times the scale.
 *
 * A workgroup has a chunk and an output head; an invocation owns tokens i and all their scores. Decays are
 * products from i back: no exponent is a sum.
 */
export function logLinearScores(config: LogLinearTileConfig): Program {
  const { exchange, lanes, rows, source } = config;
  const chunkSize = chunkSizeOf(config);
  const reads = inputParts(config, { rows: ["q", "k"], elements: ["g", "lambda"], source });
  const bindings = [
    ...pieceBindings(config),
    ...reads.bindings,
    storage("scores", "vec4f", "read_write"),
  ];
  const params = { ...PIECE_PARAMS, ...reads.params, scale: "f32" } as const;
  const sizes = {
    ...stateSizes(config),
    ...chunkSizes({ ...config, chunkSize }),
    LANES: lanes,
    ROWS: rows,
    COLUMNS: scoreColumns(chunkSize),
  };
  const code = [
    constants(sizes),
    declare(bindings, params),
    pieceCode(config),
    CHUNK_CODE,
    reads.code,
    unroll(main(exchange), sizes),
  ].join("\n");
  const label = `logLinearAttention (scores, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange === "subgroup" };
}

const EXCHANGES = {
  subgroup: {
    load: /* wgsl */ `
    @registers var own: array<vec4f, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) { own[r] = load_k(row_k(token[r], head), d); }`,
    key: "subgroupBroadcast(own[j / LANES], j % LANES)",
  },
  direct: {
    load: "",
    key: "load_k(row_k(token_in(chunk, j), head), d)",
  },
} as const;

function main(exchange: LogLinearTileConfig["exchange"]): string {
  const { load, key } = EXCHANGES[exchange];
  return /* wgsl */ `
/// The weight of tokens that differ by so much in their places.
fn weight(token: u32, head: u32, difference: u32) -> f32 {
  return element_lambda(row_v(token, head), min(bits(difference), LEVELS - 1u));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = params.piece0 + tile.z;
  let piece = piece_at(row);
  let chunk = chunk_at(piece, row);
  if chunk.count == 0u { return; }
  let h = tile.y;
  let head = state_head(h);
  @registers var token: array<u32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) { token[r] = token_in(chunk, r * LANES + lane); }

  @registers var s: array<array<f32, CHUNK>, ROWS>;
  for (var d = 0u; d < D4; d++) {
    @registers var q: array<vec4f, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) { q[r] = load_q(row_q(token[r], h), d); }
    ${load}
    @unroll for (var j = 0u; j < CHUNK; j++) {
      let k = ${key};
      @unroll for (var r = 0u; r < ROWS; r++) { s[r][j] += dot(q[r], k); }
    }
  }

  @registers var first: array<u32, ROWS>; // of the own rows of scores
  @registers var since: array<f32, ROWS>; // the decay from behind j to i
  @unroll for (var r = 0u; r < ROWS; r++) {
    first[r] = ((row * out_heads() + h) * CHUNK + r * LANES + lane) * COLUMNS;
    since[r] = params.scale;
    @unroll for (var j = 0u; j < CHUNK / 4; j++) {
      scores[first[r] + j] = vec4f(s[r][4 * j], s[r][4 * j + 1], s[r][4 * j + 2], s[r][4 * j + 3]);
    }
  }
  // through memory: registers cannot be walked by a loop, and text for all j takes long to compile
  for (var j4 = CHUNK / 4u; j4 > 0u; j4--) {
    @registers var x: array<vec4f, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) { x[r] = scores[first[r] + j4 - 1u]; }
    @unroll for (var n = 1u; n < 5; n++) {
      let j = 4u * j4 - n;
      let there = is_in(chunk, j);
      let gate = gate_at(token_in(chunk, j), head);
      @unroll for (var r = 0u; r < ROWS; r++) {
        let i = r * LANES + lane;
        let sees = there && i >= j;
        let score = x[r][4 - n] * since[r] * weight(token[r], head, i ^ j);
        x[r][4 - n] = select(0.0, score, sees);
        since[r] = select(since[r], since[r] * gate, sees);
      }
    }
    @unroll for (var r = 0u; r < ROWS; r++) { scores[first[r] + j4 - 1u] = x[r]; }
  }
  @unroll for (var r = 0u; r < ROWS; r++) { scores[first[r] + CHUNK / 4u] = vec4f(since[r]); }
}
`;
}
