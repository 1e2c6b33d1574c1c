import type { Program } from "../../gpu/program.ts";
import { assemble } from "./assemble.ts";
import type { AttentionConfig } from "./config.ts";
import { textOf, type WeightTexts } from "./weights.ts";

/** Shape of the split schedule. */
export interface SplitTile {
  /** Invocations of a workgroup; each walks every threads-th key of the part. */
  readonly threads: number;
  /** Query rows of a workgroup: queries and query heads that read one kv head. */
  readonly rows: number;
  /** How invocations share queries and sums: as the lanes of one subgroup, or in workgroup memory. */
  readonly exchange: "shuffle" | "memory";
}

/** The description of the mathematics plus the shape of a tile. */
export interface SplitConfig extends AttentionConfig, SplitTile {}

/** Columns of the output that are summed over the workgroup's memory at a time. */
const REDUCED = 8;

/** Bytes of workgroup memory. */
export function splitBytes({ threads, exchange }: SplitTile): number {
  return exchange === "memory" ? threads * (16 * REDUCED + 4) : 0;
}

/**
 * Flash-Decoding (Dao et al. 2023) for few queries: keys are divided over parts (workgroups) and,
 * inside a part, over invocations; every invocation keeps a running softmax of its own keys.
 *
 * Rows are the queries of all the heads that share a kv head, so that a key is loaded once for all
 * of them. At the end the invocations of a workgroup merge, as lanes or through workgroup memory;
 * parts merge in a second pass (merge.ts). Lanes hold a share of the queries each and broadcast it:
 * a fraction of the registers and of the text.
 */
export function splitAttention(config: SplitConfig): Program {
  const { threads, rows, exchange, headDim, valueDim } = config;
  const [D4, V4] = [headDim, valueDim].map((dim) => Math.ceil(dim / 4));
  const lanes = exchange === "shuffle";
  const reduced = lanes ? threads : REDUCED;
  const sizes = {
    ...{ THREADS: threads, ROWS: rows, REDUCED: reduced, D4, V4 },
    Q4: lanes ? Math.ceil(D4 / threads) : D4, // columns of q that an invocation holds
    V_PADDED: Math.ceil(V4 / reduced) * reduced,
  };
  return assemble(config, {
    name: "split",
    tiles: { queries: rows, keys: threads },
    sizes,
    main: main(lanes ? byLanes(threads) : BY_MEMORY, textOf(WEIGHTS, config.weight)),
    subgroups: lanes,
  });
}

/** What depends on the exchange. */
interface ExchangeTexts {
  /** `workgroup_max` and `workgroup_sum` of a value. */
  readonly functions: string;
  /** The column of q that is q[r][d] of an invocation, and how it reads column d. */
  readonly column: string;
  readonly query: string;
  /** Sums REDUCED columns of a row over the workgroup; `sum` is column `first + thread`. */
  readonly sum: string;
}

const byLanes = (threads: number): ExchangeTexts => ({
  functions: /* wgsl */ `
fn workgroup_max(thread: u32, x: f32) -> f32 { return subgroupMax(x); }
fn workgroup_sum(thread: u32, x: f32) -> f32 { return subgroupAdd(x); }

/// Of two columns the one that a bit of the lane names, summed over the two lanes that differ in it.
fn fold(thread: u32, bit: u32, a: vec4f, b: vec4f) -> vec4f {
  let second = (thread & bit) != 0u;
  return select(a, b, second) + subgroupShuffleXor(select(b, a, second), bit);
}`,
  column: "min(d * THREADS + thread, D4 - 1u)",
  query: "subgroupBroadcast(q[r][d / THREADS], d % THREADS)",
  sum: `let sum = ${folded(0, threads)};`,
});

/** The sum over the lanes of as many columns from one on; each lane ends with its own. */
function folded(from: number, count: number): string {
  if (count === 1) return `weight * acc[r][first + ${from}u]`;
  const half = count / 2;
  return `fold(thread, ${half}u, ${folded(from, half)}, ${folded(from + half, half)})`;
}

const BY_MEMORY: ExchangeTexts = {
  functions: /* wgsl */ `
var<workgroup> scalars: array<f32, THREADS>;
var<workgroup> columns: array<vec4f, THREADS * REDUCED>;

/// Maximum of a value over the workgroup.
fn workgroup_max(thread: u32, x: f32) -> f32 {
  workgroupBarrier();
  scalars[thread] = x;
  workgroupBarrier();
  var top = x;
  for (var i = 0u; i < THREADS; i++) { top = max(top, scalars[i]); }
  return top;
}

/// Sum of a value over the workgroup.
fn workgroup_sum(thread: u32, x: f32) -> f32 {
  workgroupBarrier();
  scalars[thread] = x;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < THREADS; i++) { sum += scalars[i]; }
  return sum;
}`,
  column: "d",
  query: "q[r][d]",
  sum: /* wgsl */ `
      workgroupBarrier();
      @unroll for (var d = first; d < first + REDUCED; d++) {
        columns[thread * REDUCED + d - first] = weight * acc[r][d];
      }
      workgroupBarrier();
      var sum = vec4f();
      for (var i = 0u; i < THREADS; i++) { sum += columns[i * REDUCED + thread % REDUCED]; }`,
};

const WEIGHTS: WeightTexts = {
  softmax: /* wgsl */ `
      let m_new = max(m[r], s[r]);
      let alpha = exp2(m[r] - m_new);
      p[r] = exp2(s[r] - m_new);
      m[r] = m_new;
      l[r] = fma(l[r], alpha, p[r]);
      @unroll for (var d = 0u; d < V4; d++) { acc[r][d] *= alpha; }`,
  direct: /* wgsl */ `
      p[r] = weight(s[r]);
      l[r] += p[r];`,
  stick: "", // keys of a row would have to follow one another: no schedule of this kind is planned
};

const main = (exchange: ExchangeTexts, weights: string): string => /* wgsl */ `
${exchange.functions}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) thread: u32) {
  let b = batch_of(tile.z);
  let part = part_of(tile.z);
  let kv_head = params.h0 / params.group + tile.y;
  let rows = rows_of(tile.x);
  if rows.x >= rows.y { return; }
  let x_first = rows.x;
  let x_last = rows.y - 1u;
  let queries = queries_of_rows(tile.x, x_first / params.group, x_last / params.group);

  @registers var q: array<array<vec4f, Q4>, ROWS>;
  @registers var acc: array<array<vec4f, V_PADDED>, ROWS>;
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    let x = min(x_first + r, x_last);
    let row = q_row(b, x / params.group, kv_head * params.group + x % params.group);
    @unroll for (var d = 0u; d < Q4; d++) {
      q[r][d] = params.q_scale * load_q(row, ${exchange.column});
    }
    m[r] = FLOOR;
  }

  let keys = keys_of(queries, part, b, kv_head * params.group);
  var key_tile = first_tile(keys);
  for (var n = 0u; n < keys.tiles; n++) {
    let row = key_row(key_tile, thread, b, kv_head);
    @registers var qk: array<vec4f, ROWS>;
    @unroll for (var d = 0u; d < D4; d++) {
      let k = load_key(row, d);
      @unroll for (var r = 0u; r < ROWS; r++) { qk[r] = fma(${exchange.query}, k, qk[r]); }
    }
    @registers var s: array<f32, ROWS>;
    @registers var p: array<f32, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
      let x = min(x_first + r, x_last);
      let query = Query(x / params.group);
      let h = kv_head * params.group + x % params.group;
      s[r] = score(dot(qk[r], vec4f(1.0)), true, b, h, query, key_tile, thread);
      ${weights.trim()}
    }
    @unroll for (var d = 0u; d < V4; d++) {
      let v = load_value(row, d);
      @unroll for (var r = 0u; r < ROWS; r++) { acc[r][d] = fma(vec4f(p[r]), v, acc[r][d]); }
    }
    key_tile = next_tile(keys, key_tile);
  }

  @unroll for (var r = 0u; r < ROWS; r++) {
    let x = x_first + r;
    let h = kv_head * params.group + min(x, x_last) % params.group;
    let row = out_row(part, b, min(x, x_last) / params.group, h);
    let m_all = workgroup_max(thread, m[r]);
    let weight = exp2(m[r] - m_all);
    let ends = finish(m_all, workgroup_sum(thread, l[r] * weight), h, part);
    let end = gated(ends, part, b, min(x, x_last) / params.group, h);
    let own = x <= x_last;
    @unroll for (var first = 0u; first < V4; first += REDUCED) {
      ${exchange.sum.trim()}
      if own && thread < REDUCED && first + thread < V4 {
        store_out(row, first + thread, end.x * sum);
      }
    }
    if own && thread == 0u { store_lse(row, end.y); }
  }
}
`;
