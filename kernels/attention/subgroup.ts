import type { Program } from "../../gpu/program.ts";
import { assemble } from "./assemble.ts";
import type { AttentionConfig } from "./config.ts";
import { textOf, type WeightTexts } from "./weights.ts";

/** Shape of the subgroup schedule. */
export interface SubgroupTile {
  /** Lanes of a subgroup; one subgroup is a workgroup. */
  readonly lanes: number;
  /** Queries of a lane. */
  readonly rows: number;
  /** How keys are handed round: `subgroupBroadcast` in unrolled text, or `subgroupShuffle` in a loop. */
  readonly exchange: "broadcast" | "shuffle";
}

/** The description of the mathematics plus the shape of a tile. */
export interface SubgroupConfig extends AttentionConfig, SubgroupTile {}

/**
 * FlashAttention-2 forward (Dao 2023, algorithm 1) with a subgroup per query tile.
 *
 * The grid is the loop over query tiles, heads and batch (times parts of the keys); the loop over
 * key tiles remains. A lane owns `rows` queries: q, acc, m and l stay in its registers. Each lane
 * loads one key row (then one value row) of the tile and the subgroup hands it round, so a
 * loaded vector is used lanes x rows times and no workgroup memory is touched.
 */
export function subgroupAttention(config: SubgroupConfig): Program {
  const { lanes, rows, exchange, headDim, valueDim } = config;
  const sizes = {
    LANES: lanes,
    ROWS: rows,
    GROUP: rows % 2 === 0 ? 2 : rows,
    D4: Math.ceil(headDim / 4),
    V4: Math.ceil(valueDim / 4),
  };
  return assemble(config, {
    name: "subgroup",
    tiles: { queries: lanes * rows, keys: lanes },
    sizes,
    main: main(
      exchange === "shuffle" ? SCORES_BY_SHUFFLE : SCORES_BY_BROADCAST,
      textOf(WEIGHTS, config.weight),
    ),
    subgroups: true,
  });
}

/** Keys one after the other in text: every lane index is a literal. */
const SCORES_BY_BROADCAST = /* wgsl */ `
    // s_ij = q_i . k_j
    @unroll for (var d = 0u; d < D4; d++) {
      let k_own = load_key(row, d);
      @unroll for (var j = 0u; j < LANES; j++) {
        let k_j = subgroupBroadcast(k_own, j);
        @unroll for (var r = 0u; r < ROWS; r++) { s[r][j] += dot(q[r][d], k_j); }
      }
    }
    @unroll for (var r = 0u; r < ROWS; r++) {
      @unroll for (var j = 0u; j < LANES; j++) {
        s[r][j] = score(s[r][j], masked, b, h, query[r], key_tile, j);
      }
    }`;

/** Keys in a loop: an eighth of the text, but it needs a shuffle that is as fast as a broadcast. */
const SCORES_BY_SHUFFLE = /* wgsl */ `
    // s_ij = q_i . k_j
    @registers var k_own: array<vec4f, D4>;
    @unroll for (var d = 0u; d < D4; d++) { k_own[d] = load_key(row, d); }
    for (var j = 0u; j < LANES; j++) {
      @registers var x: array<f32, ROWS>;
      @unroll for (var d = 0u; d < D4; d++) {
        let k_j = subgroupShuffle(k_own[d], j);
        @unroll for (var r = 0u; r < ROWS; r++) { x[r] += dot(q[r][d], k_j); }
      }
      @unroll for (var r = 0u; r < ROWS; r++) {
        x[r] = score(x[r], masked, b, h, query[r], key_tile, j);
        @unroll for (var i = 0u; i < LANES; i++) { s[r][i] = select(s[r][i], x[r], i == j); }
      }
    }`;

const WEIGHTS: WeightTexts = {
  softmax: /* wgsl */ `
    // p_ij = exp(s_ij - m_i); alpha rescales what is summed so far
    @unroll for (var r = 0u; r < ROWS; r++) {
      var m_new = m[r];
      @unroll for (var j = 0u; j < LANES; j++) { m_new = max(m_new, s[r][j]); }
      let alpha = exp2(m[r] - m_new);
      m[r] = m_new;
      l[r] *= alpha;
      @unroll for (var j = 0u; j < LANES; j++) { s[r][j] = exp2(s[r][j] - m_new); l[r] += s[r][j]; }
      @unroll for (var d = 0u; d < V4; d++) { acc[r][d] *= alpha; }
    }`,
  direct: /* wgsl */ `
    // p_ij = w(s_ij)
    @unroll for (var r = 0u; r < ROWS; r++) {
      @unroll for (var j = 0u; j < LANES; j++) { s[r][j] = weight(s[r][j]); l[r] += s[r][j]; }
    }`,
  stick: /* wgsl */ `
    // p_ij of what later keys have left of the stick
    @unroll for (var r = 0u; r < ROWS; r++) {
      @unroll for (var n = 0u; n < LANES; n++) {
        let piece = broken(s[r][LANES - 1 - n], l[r]);
        s[r][LANES - 1 - n] = piece.x;
        l[r] = piece.y;
      }
    }`,
};

const main = (scores: string, weights: string): string => /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = batch_of(tile.z);
  let part = part_of(tile.z);
  let h = params.h0 + tile.y;
  let kv_head = h / params.group;
  let queries = queries_of(tile.x);
  if is_empty(queries) { return; }

  @registers var query: array<Query, ROWS>;
  @registers var q: array<array<vec4f, D4>, ROWS>;
  @registers var acc: array<array<vec4f, V4>, ROWS>;
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    query[r] = query_at(queries, r * LANES + lane);
    let row = q_row(b, query[r].token, h);
    @unroll for (var d = 0u; d < D4; d++) { q[r][d] = params.q_scale * load_q(row, d); }
    m[r] = FLOOR;
  }

  let keys = keys_of(queries, part, b, h);
  var key_tile = first_tile(keys);
  let tiles = walked(keys, queries, b, h);
  for (var n = 0u; n < tiles; n++) {
    let row = key_row(key_tile, lane, b, kv_head);
    let masked = needs_mask(queries, key_tile);
    @registers var s: array<array<f32, LANES>, ROWS>;
    ${scores.trim()}

    ${weights.trim()}

    // acc_i += p_ij v_j, for as many rows at a time as a CPU has registers for
    @unroll for (var d = 0u; d < V4; d++) {
      let v_own = load_value(row, d);
      @unroll for (var first = 0u; first < ROWS; first += GROUP) {
        @unroll for (var j = 0u; j < LANES; j++) {
          let v_j = subgroupBroadcast(v_own, j);
          @unroll for (var r = first; r < first + GROUP; r++) {
            acc[r][d] = fma(vec4f(s[r][j]), v_j, acc[r][d]);
          }
        }
      }
    }
    key_tile = next_tile(keys, key_tile);
  }

  @unroll for (var r = 0u; r < ROWS; r++) {
    if has_query(queries, r * LANES + lane) {
      let row = out_row(part, b, query[r].token, h);
      let end = gated(finish(m[r], l[r], h, part), part, b, query[r].token, h);
      @unroll for (var d = 0u; d < V4; d++) { store_out(row, d, end.x * acc[r][d]); }
      store_lse(row, end.y);
    }
  }
}
`;
