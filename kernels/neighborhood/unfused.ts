import { constants, declare, type ParamType, type Program } from "../../gpu/program.ts";
import { ROW_NUMBERS } from "../attention/description.ts";
import {
  type Accessor,
  type Elem,
  elementReader,
  elementWriter,
  type InputSource,
  reader,
  writer,
} from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { type NeighborhoodConfig, neighborhoodPattern, volumeOf } from "./pattern.ts";

/** How a tile of keys (or values) reaches the queries of a workgroup, one or more for each lane. */
export interface UnfusedTile {
  /** Through the registers of a subgroup, or through workgroup memory. */
  readonly exchange: "subgroup" | "workgroup";
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** Queries of an invocation. */
  readonly rows: number;
}

/** What an unfused kernel must know when it is compiled. */
export interface UnfusedConfig extends UnfusedTile {
  /** Storage of q and k, or of v and out. */
  readonly elem: Elem;
  /** Storage of scores or weights. */
  readonly weightElem: Elem;
  /** D, or Dv. */
  readonly dim: number;
  readonly pattern: NeighborhoodConfig;
  readonly source: InputSource;
}

/** Invocations of a workgroup that hides slots. */
export const HIDE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  qLen: "u32", // T
  kvLen: "u32", // T
  heads: "u32", // Hq
  kvHeads: "u32", // Hkv
  group: "u32", // Hq / Hkv
  b0: "u32", // first batch entry, head and part of this launch
  h0: "u32",
  part0: "u32",
  parts: "u32",
  partRows: "u32",
  row0: "u32", // first row of q of this launch
  qScale: "f32",
  qFirst: "u32", // first row of each bound range
  kFirst: "u32",
  vFirst: "u32",
  outFirst: "u32",
  scoresFirst: "u32", // first element
  weightsFirst: "u32",
};

/**
 * Scores of every query with the keys of its window: scores[q, slot] = scale · q·k.
 *
 * A workgroup walks the tiles of the fused kernel; what a lane's queries see is scattered to slots,
 * which count the keys of a window from its first, the last axis fastest.
 */
export function scoresProgram(config: UnfusedConfig): Program {
  const { elem, weightElem, dim, source } = config;
  return assembleUnfused("scores", config, SCORES, [
    reader({ name: "q", elem, width: dim }, source),
    reader({ name: "k", elem, width: dim }, source),
    elementWriter({ name: "scores", elem: weightElem, width: 1 }),
  ]);
}

/** The weighted sum of the values of every window: out[q] = Σ weights[q, slot] v. */
export function valuesProgram(config: UnfusedConfig): Program {
  const { elem, weightElem, dim, source } = config;
  return assembleUnfused("values", config, VALUES, [
    reader({ name: "v", elem, width: dim }, source),
    elementReader({ name: "weights", elem: weightElem, width: 1 }),
    writer({ name: "out", elem, width: dim }),
  ]);
}

/** Writes -inf to the slots of keys behind a query on a causal axis, one thread per slot. */
export function hideProgram({ weightElem, pattern }: UnfusedConfig): Program {
  const scores = elementWriter({ name: "scores", elem: weightElem, width: 1 });
  const { params, code } = neighborhoodPattern(pattern);
  const all = { ...PARAMS, ...params };
  return {
    label: "neighborhood scores (hidden slots)",
    code: [
      constants({ THREADS: HIDE_THREADS }),
      declare([scores.binding], all),
      ROW_NUMBERS,
      code,
      scores.code,
      HIDE,
    ].join("\n"),
    bindings: [scores.binding],
    params: all,
    subgroups: false,
  };
}

function assembleUnfused(
  name: string,
  config: UnfusedConfig,
  main: string,
  accessors: readonly Accessor[],
): Program {
  const { pattern, exchange, lanes, rows, dim } = config;
  const sizes = {
    LANES: lanes,
    ROWS: rows,
    D4: Math.ceil(dim / 4),
    TILE: volumeOf(pattern.keyTile),
  };
  const { params, masked, code } = neighborhoodPattern(pattern);
  const bindings = accessors.map(({ binding }) => binding);
  const all = { ...PARAMS, ...params };
  const { stage, vector, memory } = EXCHANGES[exchange];
  const input = name === "scores" ? "k" : "v";
  const text = main.replace("STAGE", stage.replaceAll("INPUT", input)).replace("VECTOR", vector);
  return {
    label: `neighborhood ${name} (${exchange})`,
    code: [
      constants({ ...sizes, MASKS: masked }),
      declare(bindings, all),
      ...accessors.map((accessor) => accessor.code),
      ROW_NUMBERS,
      code,
      SLOT,
      memory,
      unroll(text, sizes),
    ].join("\n"),
    bindings,
    params: all,
    subgroups: exchange === "subgroup",
  };
}

/** How a lane reads the j-th row of a tile, `VECTOR`, once the tile was loaded, `STAGE`. */
const EXCHANGES = {
  subgroup: {
    memory: "",
    stage: /* wgsl */ `
    let own_row = key_row(key_tile, lane, b, kv_head);
    @registers var own: array<vec4f, D4>;
    @unroll for (var d = 0u; d < D4; d++) { own[d] = load_INPUT(own_row, d); }`,
    vector: "subgroupShuffle(own[d], j)",
  },
  workgroup: {
    memory: "var<workgroup> staged: array<vec4f, TILE * D4>;",
    stage: /* wgsl */ `
    workgroupBarrier();
    for (var i = lane; i < TILE * D4; i += LANES) {
      staged[i] = load_INPUT(key_row(key_tile, i / D4, b, kv_head), i % D4);
    }
    workgroupBarrier();`,
    vector: "staged[j * D4 + d]",
  },
};

const SLOT = /* wgsl */ `
/// The element of a row's scores for the j-th key of a tile, which the query sees.
fn element_of(row: u32, query: Query, tile: KeyTile, j: u32) -> u32 {
  let at = place_at(tile, j) - query.first;
  let k = window_size();
  return row * (k.x * k.y * k.z) + (at.x * k.y + at.y) * k.z + at.z;
}
`;

const HEAD = /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = batch_of(tile.z);
  let part = part_of(tile.z);
  let h = params.h0 + tile.y;
  let kv_head = h / params.group;
  let queries = queries_of(tile.x);
  if is_empty(queries) { return; }
  @registers var query: array<Query, ROWS>;
  @registers var row: array<u32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    query[r] = query_at(queries, r * LANES + lane);
    row[r] = q_row(b, query[r].token, h);
  }
`;

const SCORES = /* wgsl */ `${HEAD}
  @registers var q: array<array<vec4f, D4>, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    @unroll for (var d = 0u; d < D4; d++) { q[r][d] = params.q_scale * load_q(row[r], d); }
  }

  let keys = keys_of(queries, part, b, h);
  var key_tile = first_tile(keys);
  for (var n = 0u; n < keys.tiles; n++) {
    STAGE
    for (var j = 0u; j < TILE; j++) {
      @registers var s: array<f32, ROWS>;
      @unroll for (var d = 0u; d < D4; d++) {
        let k = VECTOR;
        @unroll for (var r = 0u; r < ROWS; r++) { s[r] += dot(q[r][d], k); }
      }
      @unroll for (var r = 0u; r < ROWS; r++) {
        if has_query(queries, r * LANES + lane) && (!MASKS || visible(query[r], key_tile, j)) {
          put_scores(element_of(row[r], query[r], key_tile, j), 0u, s[r]);
        }
      }
    }
    key_tile = next_tile(keys, key_tile);
  }
}
`;

const VALUES = /* wgsl */ `${HEAD}
  @registers var acc: array<array<vec4f, D4>, ROWS>;

  let keys = keys_of(queries, part, b, h);
  var key_tile = first_tile(keys);
  for (var n = 0u; n < keys.tiles; n++) {
    STAGE
    for (var j = 0u; j < TILE; j++) {
      @registers var p: array<f32, ROWS>;
      @unroll for (var r = 0u; r < ROWS; r++) {
        if !MASKS || visible(query[r], key_tile, j) {
          p[r] = element_weights(element_of(row[r], query[r], key_tile, j), 0u);
        }
      }
      @unroll for (var d = 0u; d < D4; d++) {
        let v = VECTOR;
        @unroll for (var r = 0u; r < ROWS; r++) { acc[r][d] = fma(vec4f(p[r]), v, acc[r][d]); }
      }
    }
    key_tile = next_tile(keys, key_tile);
  }

  @unroll for (var r = 0u; r < ROWS; r++) {
    if has_query(queries, r * LANES + lane) {
      @unroll for (var d = 0u; d < D4; d++) { store_out(row[r], d, acc[r][d]); }
    }
  }
}
`;

const HIDE = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let k = window_size();
  let slot = at.x;
  if slot >= k.x * k.y * k.z { return; }
  let row = params.row0 + at.y;
  let token = cell(row / params.heads % params.q_len, lengths());
  let place = token / dilation();
  let first = window_first(place, places_of(token % dilation()));
  if all(first + cell(slot, k) <= window_last(place, first)) { return; }
  var bits = 0xff800000u;
  put_scores(row * (k.x * k.y * k.z) + slot, 0u, bitcast<f32>(bits));
}
`;
