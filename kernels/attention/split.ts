import type { Program } from "../../gpu/program.ts";
import { aligned, type Rows, texelReader, texelsOf } from "../shared/rows.ts";
import { assemble } from "./assemble.ts";
import { type AttentionConfig, attentionRows } from "./config.ts";
import { textOf, type WeightTexts } from "./weights.ts";

/** Shape of the split schedule. */
export interface SplitTile {
  /** Invocations of a workgroup; each walks every threads-th key of the part. */
  readonly threads: number;
  /** Query rows of a workgroup: queries and query heads that read one kv head. */
  readonly rows: number;
  /** How invocations share queries and sums: as the lanes of one subgroup, or in workgroup memory. */
  readonly exchange: "lanes" | "memory";
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
 * inside a part, over invocations, each of which computes the scores of its own keys.
 *
 * Rows are the queries of all the heads that share a kv head, so that a key is loaded once for all
 * of them. Parts merge in a second pass (merge.ts). In workgroup memory, every invocation keeps a
 * running softmax and output of its own keys, which merge at the end. Lanes of a subgroup hold a
 * share of the queries each and broadcast it; they share a maximum, broadcast their weights, and own
 * columns of the output: a fraction of the registers, and nothing to merge.
 */
export function splitAttention(config: SplitConfig): Program {
  const { threads, rows, exchange, headDim, valueDim } = config;
  const [D4, V4] = [headDim, valueDim].map((dim) => Math.ceil(dim / 4));
  const lanes = exchange === "lanes";
  const { v } = attentionRows(config);
  const each = texelColumns(config, v);
  const sizes = {
    ...{ THREADS: threads, ROWS: rows, REDUCED, D4, V4 },
    Q4: lanes ? Math.ceil(D4 / threads) : D4, // columns of q that an invocation holds
    AT_ONCE: each, // columns of a value that are loaded together
    // columns of the output, of an invocation
    COLUMNS: lanes ? each * Math.ceil(V4 / each / threads) : Math.ceil(V4 / REDUCED) * REDUCED,
  };
  const texts = lanes ? byLanes(threads, each === 2 ? texelReader(v) + TEXEL : VALUE) : BY_MEMORY;
  return assemble(config, {
    name: "split",
    tiles: { queries: rows, keys: threads },
    sizes,
    main: main(texts, textOf(texts.weights, config.weight)),
    subgroups: lanes,
  });
}

/** Columns of a value that are loaded at once: those of a texel, where there are texels. */
function texelColumns({ source }: SplitConfig, { elem, width }: Rows): 1 | 2 {
  const texels = source === "texture" && aligned(width);
  return texels && texelsOf(elem, width).elements === 8 ? 2 : 1;
}

const VALUE = /* wgsl */ `
fn load_values(row: u32, t: u32) -> array<vec4f, 1> { return array<vec4f, 1>(load_value(row, t)); }
`;

const TEXEL = /* wgsl */ `
fn load_values(row: u32, t: u32) -> array<vec4f, 2> { return texel_v(row - params.v_first, t); }
`;

/** What depends on the exchange. */
interface ExchangeTexts {
  readonly functions: string;
  /** The column of q that is q[r][d] of an invocation, and how it reads column d. */
  readonly column: string;
  readonly query: string;
  /** From the score s[r] of an invocation's key to its weight p[r]. */
  readonly weights: WeightTexts;
  /** Adds the values of a tile of keys to the outputs acc. */
  readonly values: string;
  /** From row r of all invocations to its output: `end` is the factor, then what is stored of sums. */
  readonly end: string;
}

/** The weights that need nothing of other invocations; no stick is planned, whose keys follow each other. */
const DIRECT = {
  direct: /* wgsl */ `
      p[r] = weight(s[r]);
      l[r] += p[r];`,
  stick: "",
};

/** The weight of a score, once the greatest of those that share sums is known. */
const softmax = (greatest: string): string => /* wgsl */ `
      let m_new = max(m[r], ${greatest});
      let alpha = exp2(m[r] - m_new);
      p[r] = exp2(s[r] - m_new);
      m[r] = m_new;
      l[r] = fma(l[r], alpha, p[r]);
      @unroll for (var d = 0u; d < COLUMNS; d++) { acc[r][d] *= alpha; }`;

const byLanes = (threads: number, functions: string): ExchangeTexts => ({
  functions,
  column: "min(d * THREADS + thread, D4 - 1u)",
  query: "subgroupBroadcast(q[r][d / THREADS], d % THREADS)",
  weights: {
    ...DIRECT,
    softmax: softmax(greatest(0, threads)),
  },
  values: /* wgsl */ `
    // all loads come first: those that miss the caches overlap
    @registers var v: array<array<vec4f, COLUMNS>, THREADS>;
    @unroll for (var j = 0u; j < THREADS; j++) {
      let row_j = subgroupBroadcast(row, j);
      @unroll for (var d = 0u; d < COLUMNS; d += AT_ONCE) {
        let values = load_values(row_j, min(thread + d / AT_ONCE * THREADS, V4 / AT_ONCE - 1u));
        @unroll for (var n = 0u; n < AT_ONCE; n++) { v[j][d + n] = values[n]; }
      }
    }
    @unroll for (var j = 0u; j < THREADS; j++) {
      @unroll for (var r = 0u; r < ROWS; r++) {
        let p_j = subgroupBroadcast(p[r], j);
        @unroll for (var d = 0u; d < COLUMNS; d++) { acc[r][d] = fma(vec4f(p_j), v[j][d], acc[r][d]); }
      }
    }`,
  end: /* wgsl */ `
    let ends = finish(m[r], subgroupAdd(l[r]), h, part);
    let end = gated(ends, part, b, min(x, x_last) / params.group, h);
    @unroll for (var d = 0u; d < COLUMNS; d++) {
      let column = AT_ONCE * (thread + d / AT_ONCE * THREADS) + d % AT_ONCE;
      if own && column < V4 { store_out(row, column, end.x * acc[r][d]); }
    }`,
});

/** The greatest score of so many lanes from one on, by a tree: a chain of maxima would wait for each. */
function greatest(from: number, count: number): string {
  if (count === 1) return `subgroupBroadcast(s[r], ${from}u)`;
  const half = Math.ceil(count / 2);
  return `max(${greatest(from, half)}, ${greatest(from + half, count - half)})`;
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
  weights: {
    ...DIRECT,
    softmax: softmax("s[r]"),
  },
  values: /* wgsl */ `
    @unroll for (var d = 0u; d < V4; d++) {
      let v = load_value(row, d);
      @unroll for (var r = 0u; r < ROWS; r++) { acc[r][d] = fma(vec4f(p[r]), v, acc[r][d]); }
    }`,
  end: /* wgsl */ `
    let m_all = workgroup_max(thread, m[r]);
    let weight = exp2(m[r] - m_all);
    let ends = finish(m_all, workgroup_sum(thread, l[r] * weight), h, part);
    let end = gated(ends, part, b, min(x, x_last) / params.group, h);
    @unroll for (var first = 0u; first < V4; first += REDUCED) {
      workgroupBarrier();
      @unroll for (var d = first; d < first + REDUCED; d++) {
        columns[thread * REDUCED + d - first] = weight * acc[r][d];
      }
      workgroupBarrier();
      var sum = vec4f();
      for (var i = 0u; i < THREADS; i++) { sum += columns[i * REDUCED + thread % REDUCED]; }
      if own && thread < REDUCED && first + thread < V4 {
        store_out(row, first + thread, end.x * sum);
      }
    }`,
};

const main = (texts: ExchangeTexts, weights: string): string => /* wgsl */ `
${texts.functions}

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
  @registers var acc: array<array<vec4f, COLUMNS>, ROWS>;
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    let x = min(x_first + r, x_last);
    let row = q_row(b, x / params.group, kv_head * params.group + x % params.group);
    @unroll for (var d = 0u; d < Q4; d++) {
      q[r][d] = params.q_scale * load_q(row, ${texts.column});
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
      @unroll for (var r = 0u; r < ROWS; r++) { qk[r] = fma(${texts.query}, k, qk[r]); }
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
    ${texts.values.trim()}
    key_tile = next_tile(keys, key_tile);
  }

  @unroll for (var r = 0u; r < ROWS; r++) {
    let x = x_first + r;
    let h = kv_head * params.group + min(x, x_last) % params.group;
    let row = out_row(part, b, min(x, x_last) / params.group, h);
    let own = x <= x_last;
    ${texts.end.trim()}
    if own && thread == 0u { store_lse(row, end.y); }
  }
}
`;
