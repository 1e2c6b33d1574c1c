import type { Program } from "../../gpu/program.ts";
import { assemble } from "./assemble.ts";
import type { AttentionConfig } from "./config.ts";
import { textOf, type WeightTexts } from "./weights.ts";

/** The description of the mathematics plus the shape of a tile. */
export interface SplitConfig extends AttentionConfig {
  /** Invocations of a workgroup; each walks every threads-th key of the part. */
  readonly threads: number;
  /** Query rows of a workgroup: queries and query heads that read one kv head. */
  readonly rows: number;
}

/** Columns of the output that are summed over the workgroup at a time. */
const REDUCED = 8;

/** Bytes of workgroup memory. */
export function splitBytes(threads: number): number {
  return threads * (16 * REDUCED + 4);
}

/**
 * Flash-Decoding (Dao et al. 2023) for few queries: keys are divided over parts (workgroups) and,
 * inside a part, over invocations; every invocation keeps a running softmax of its own keys.
 *
 * Rows are the queries of all the heads that share a kv head, so that a key is loaded once for all
 * of them. At the end the invocations of a workgroup merge through workgroup memory; parts merge in
 * a second pass (merge.ts).
 */
export function splitAttention(config: SplitConfig): Program {
  const { threads, rows, headDim, valueDim } = config;
  const sizes = {
    THREADS: threads,
    ROWS: rows,
    REDUCED,
    D4: Math.ceil(headDim / 4),
    V4: Math.ceil(valueDim / 4),
    V_PADDED: Math.ceil(valueDim / (4 * REDUCED)) * REDUCED,
  };
  return assemble(config, {
    name: "split",
    tiles: { queries: rows, keys: threads },
    sizes,
    main: main(textOf(WEIGHTS, config.weight)),
    subgroups: false,
  });
}

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

const main = (weights: string): string => /* wgsl */ `
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
}

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

  @registers var q: array<array<vec4f, D4>, ROWS>;
  @registers var acc: array<array<vec4f, V_PADDED>, ROWS>;
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    let x = min(x_first + r, x_last);
    let row = q_row(b, x / params.group, kv_head * params.group + x % params.group);
    @unroll for (var d = 0u; d < D4; d++) { q[r][d] = params.q_scale * load_q(row, d); }
    m[r] = FLOOR;
  }

  let keys = keys_of(queries, part, b, kv_head * params.group);
  var key_tile = first_tile(keys);
  for (var n = 0u; n < keys.tiles; n++) {
    let row = key_row(key_tile, thread, b, kv_head);
    @registers var s: array<f32, ROWS>;
    @unroll for (var d = 0u; d < D4; d++) {
      let k = load_key(row, d);
      @unroll for (var r = 0u; r < ROWS; r++) { s[r] += dot(q[r][d], k); }
    }
    @registers var p: array<f32, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
      let x = min(x_first + r, x_last);
      let query = Query(x / params.group);
      let h = kv_head * params.group + x % params.group;
      s[r] = score(s[r], true, b, h, query, key_tile, thread);
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
      workgroupBarrier();
      @unroll for (var d = first; d < first + REDUCED; d++) {
        columns[thread * REDUCED + d - first] = weight * acc[r][d];
      }
      workgroupBarrier();
      let d = first + thread;
      if own && thread < REDUCED && d < V4 {
        var sum = vec4f();
        for (var i = 0u; i < THREADS; i++) { sum += columns[i * REDUCED + thread]; }
        store_out(row, d, end.x * sum);
      }
    }
    if own && thread == 0u { store_lse(row, end.y); }
  }
}
`;
