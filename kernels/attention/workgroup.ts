import type { Program } from "../../gpu/program.ts";
import { assemble } from "./assemble.ts";
import type { AttentionConfig } from "./config.ts";
import { textOf } from "./weights.ts";
import { WORKGROUP_WEIGHTS } from "./workgroup_weights.ts";

/** Tile shape of the workgroup schedule; all sizes are multiples of 4. */
export interface WorkgroupTile {
  /** Queries of a workgroup. */
  readonly blockQ: number;
  /** Keys of a tile. */
  readonly blockKv: number;
  /** Score rows of a thread. */
  readonly rows: number;
  /** Score columns of a thread. */
  readonly cols: number;
  /** Channels of q and k that are staged at a time. */
  readonly depth: number;
}

/** The description of the mathematics plus the shape of a tile. */
export interface WorkgroupConfig extends AttentionConfig, WorkgroupTile {}

/** Threads of a workgroup. */
export function workgroupThreads({ blockQ, blockKv, rows, cols }: WorkgroupTile): number {
  return (blockQ / rows) * (blockKv / cols);
}

/** Bytes of workgroup memory. */
export function workgroupBytes(tile: WorkgroupTile, valueDim: number): number {
  const { stage, weights, maxima } = memory(tile, valueDim);
  return 16 * (stage + weights + maxima);
}

/** Loop iterations of a thread per key tile, the one that ends a loop included. */
export function workgroupIterations(
  tile: WorkgroupTile,
  headDim: number,
  valueDim: number,
): number {
  const { blockQ, blockKv, rows, cols, depth } = tile;
  const threads = workgroupThreads(tile);
  const [d4, v4] = [Math.ceil(headDim / 4), Math.ceil(valueDim / 4)];
  const slices = Math.ceil(4 * d4 / depth);
  const valueSlices = Math.ceil(blockKv * v4 / memory(tile, valueDim).stage);
  const scores = 4 * d4 + slices * (3 + depth * (blockQ + blockKv) / (16 * threads));
  const maxima = (blockKv / cols + 1) * (rows / 4);
  const values = blockKv + valueSlices * 2 + blockKv * v4 / threads;
  return 3 + scores + maxima + values;
}

/** Sizes of the three arrays in workgroup memory, in vec4. */
function memory({ blockQ, blockKv, cols, depth }: WorkgroupTile, valueDim: number) {
  return {
    stage: Math.max(depth * (blockQ + blockKv) / 4, Math.ceil(valueDim / 4)),
    weights: blockKv * blockQ / 4,
    maxima: (blockKv / cols) * blockQ / 4,
  };
}

/**
 * FlashAttention-2 forward (Dao 2023, algorithm 1) with a workgroup per query tile.
 *
 * The grid is the loop over query tiles, heads and batch (times parts of the keys); the loop over
 * key tiles remains. Threads form a grid of (blockQ / rows) x (blockKv / cols); each owns a
 * rows x cols register tile of the scores, and of the output every TX-th vec4 column. q and k pass
 * through `stage` in slices of `depth` channels, transposed so that a row of outer products reads
 * whole vec4s; the weights go through `weights`; then values take over `stage`. The sum l is kept
 * per thread and added up once, at the end.
 */
export function workgroupAttention(config: WorkgroupConfig): Program {
  const { blockQ, blockKv, rows, cols, depth, headDim, valueDim } = config;
  const { stage, weights, maxima } = memory(config, valueDim);
  const v4 = Math.ceil(valueDim / 4);
  const tx = blockKv / cols;
  const sizes = {
    BLOCK_Q: blockQ,
    BLOCK_KV: blockKv,
    ROWS: rows,
    COLS: cols,
    TX: tx, // threads along the keys
    TY: blockQ / rows, // threads along the queries
    Q4: blockQ / 4,
    K4: blockKv / 4,
    D4: Math.ceil(headDim / 4),
    V4: v4,
    VCOLS: Math.ceil(v4 / tx), // vec4 columns of the output of a thread
    DEPTH4: depth / 4,
    VALUE_KEYS: Math.min(blockKv, Math.floor(stage / v4)), // keys whose values are staged at a time
    STAGE: stage,
    WEIGHTS: weights,
    MAXIMA: maxima,
  };
  return assemble(config, {
    name: "workgroup",
    tiles: { queries: blockQ, keys: blockKv },
    sizes,
    main: main(textOf(WORKGROUP_WEIGHTS, config.weight)),
    subgroups: false,
  });
}

const main = (weights: string): string => /* wgsl */ `
const THREADS = TX * TY;

var<workgroup> stage: array<vec4f, STAGE>; // q [DEPTH, Q4] and k [DEPTH, K4], or v [VALUE_KEYS, V4]
var<workgroup> weights: array<vec4f, WEIGHTS>; // p transposed [BLOCK_KV, Q4]
var<workgroup> maxima: array<vec4f, MAXIMA>; // [TX, Q4]

/// Four rows of q at four channels, transposed into stage.
fn stage_q(i: u32, b: u32, h: u32, queries: Queries, d_first: u32) {
  let d = i / Q4;
  let t4 = i % Q4;
  let t = 4u * t4;
  let c = d_first + d;
  let x0 = params.q_scale * load_q(q_row(b, query_at(queries, t).token, h), c);
  let x1 = params.q_scale * load_q(q_row(b, query_at(queries, t + 1u).token, h), c);
  let x2 = params.q_scale * load_q(q_row(b, query_at(queries, t + 2u).token, h), c);
  let x3 = params.q_scale * load_q(q_row(b, query_at(queries, t + 3u).token, h), c);
  let at = 4u * d * Q4 + t4;
  stage[at] = vec4f(x0.x, x1.x, x2.x, x3.x);
  stage[at + Q4] = vec4f(x0.y, x1.y, x2.y, x3.y);
  stage[at + 2u * Q4] = vec4f(x0.z, x1.z, x2.z, x3.z);
  stage[at + 3u * Q4] = vec4f(x0.w, x1.w, x2.w, x3.w);
}

/// Four rows of k at four channels, transposed into stage behind q.
fn stage_k(i: u32, b: u32, kv_head: u32, tile: KeyTile, d_first: u32) {
  let d = i / K4;
  let j4 = i % K4;
  let j = 4u * j4;
  let c = d_first + d;
  let x0 = load_key(key_row(tile, j, b, kv_head), c);
  let x1 = load_key(key_row(tile, j + 1u, b, kv_head), c);
  let x2 = load_key(key_row(tile, j + 2u, b, kv_head), c);
  let x3 = load_key(key_row(tile, j + 3u, b, kv_head), c);
  let at = 4u * DEPTH4 * Q4 + 4u * d * K4 + j4;
  stage[at] = vec4f(x0.x, x1.x, x2.x, x3.x);
  stage[at + K4] = vec4f(x0.y, x1.y, x2.y, x3.y);
  stage[at + 2u * K4] = vec4f(x0.z, x1.z, x2.z, x3.z);
  stage[at + 3u * K4] = vec4f(x0.w, x1.w, x2.w, x3.w);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) thread: u32) {
  let b = batch_of(tile.z);
  let part = part_of(tile.z);
  let h = params.h0 + tile.y;
  let kv_head = h / params.group;
  let queries = queries_of(tile.x);
  if is_empty(queries) { return; }
  let tx = thread % TX;
  let ty = thread / TX;
  let own = ty * ROWS;

  @registers var acc: array<array<vec4f, VCOLS>, ROWS>;
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) { m[r] = FLOOR; }

  let keys = keys_of(queries, part, b, h);
  var key_tile = first_tile(keys);
  let tiles = walked(keys, queries, b, h);
  for (var n = 0u; n < tiles; n++) {
    // s_ij = q_i . k_j, DEPTH channels at a time; a thread's keys are 4 (c TX + tx) + x
    @registers var s: array<array<vec4f, COLS / 4>, ROWS>;
    for (var d_first = 0u; d_first < D4; d_first += DEPTH4) {
      let depth = min(DEPTH4, D4 - d_first);
      workgroupBarrier();
      for (var i = thread; i < depth * Q4; i += THREADS) { stage_q(i, b, h, queries, d_first); }
      for (var i = thread; i < depth * K4; i += THREADS) { stage_k(i, b, kv_head, key_tile, d_first); }
      workgroupBarrier();
      for (var d = 0u; d < 4u * depth; d++) {
        let q_at = d * Q4 + ty * (ROWS / 4u);
        let k_at = 4u * DEPTH4 * Q4 + d * K4 + tx;
        @registers var q: array<vec4f, ROWS / 4>;
        @unroll for (var r = 0u; r < ROWS / 4; r++) { q[r] = stage[q_at + r]; }
        @unroll for (var c = 0u; c < COLS / 4; c++) {
          let k = stage[k_at + c * TX];
          @unroll for (var r = 0u; r < ROWS; r++) {
            s[r][c] = fma(vec4f(q[r / 4][r % 4]), k, s[r][c]);
          }
        }
      }
    }
    let masked = needs_mask(queries, key_tile);
    @unroll for (var r = 0u; r < ROWS; r++) {
      let query = query_at(queries, own + r);
      @unroll for (var c = 0u; c < COLS / 4; c++) {
        @unroll for (var x = 0u; x < 4; x++) {
          s[r][c][x] = score(s[r][c][x], masked, b, h, query, key_tile, 4u * (c * TX + tx) + x);
        }
      }
    }

    ${weights.trim()}

    // acc_i += p_ij v_j, VALUE_KEYS keys at a time
    let count = key_count(key_tile);
    for (var j_first = 0u; j_first < count; j_first += VALUE_KEYS) {
      let j_count = min(VALUE_KEYS, count - j_first);
      workgroupBarrier();
      for (var i = thread; i < j_count * V4; i += THREADS) {
        stage[i] = load_value(key_row(key_tile, j_first + i / V4, b, kv_head), i % V4);
      }
      workgroupBarrier();
      for (var j = 0u; j < j_count; j++) {
        let p_at = (j_first + j) * Q4 + ty * (ROWS / 4u);
        @registers var p: array<vec4f, ROWS / 4>;
        @unroll for (var r = 0u; r < ROWS / 4; r++) { p[r] = weights[p_at + r]; }
        @unroll for (var n = 0u; n < VCOLS; n++) {
          let v = stage[min(j * V4 + n * TX + tx, STAGE - 1u)];
          @unroll for (var r = 0u; r < ROWS; r++) {
            acc[r][n] = fma(vec4f(p[r / 4][r % 4]), v, acc[r][n]);
          }
        }
      }
    }
    key_tile = next_tile(keys, key_tile);
  }

  // l_i over the TX threads that share a row
  @unroll for (var r = 0u; r < ROWS; r += 4u) {
    maxima[tx * Q4 + ty * (ROWS / 4u) + r / 4u] = vec4f(l[r], l[r + 1], l[r + 2], l[r + 3]);
  }
  workgroupBarrier();
  @unroll for (var r = 0u; r < ROWS; r++) {
    if has_query(queries, own + r) {
      var sum = 0.0;
      for (var i = 0u; i < TX; i++) { sum += maxima[i * Q4 + ty * (ROWS / 4u) + r / 4u][r % 4u]; }
      let row = out_row(part, b, query_at(queries, own + r).token, h);
      let end = gated(finish(m[r], sum, h, part), part, b, query_at(queries, own + r).token, h);
      @unroll for (var n = 0u; n < VCOLS; n++) {
        if n * TX + tx < V4 { store_out(row, n * TX + tx, end.x * acc[r][n]); }
      }
      if tx == 0u { store_lse(row, end.y); }
    }
  }
}
`;
