import { constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";

/** Packed sequences: a query sees the keys of its own, all or a band of them. */
export interface SegmentsConfig {
  readonly kind: "segments";
  /** Whether a query sees a band of keys only. */
  readonly banded: boolean;
  /** Whether the band follows the last query and key of a sequence rather than the first. */
  readonly bottomRight: boolean;
  /** Whether tiles are walked from the last to the first. */
  readonly descending: boolean;
  /** Whether hooks hide keys too, wherever they are. */
  readonly hooked: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  t0: "u32", // first query of this launch
  t1: "u32", // one past the last
  task0: "u32", // first task of this launch
  partKeys: "u32", // keys of one part of a sequence
  bandLo: "i32", // the n-th query sees keys n + bandLo to n + bandHi, both counted from one corner
  bandHi: "i32",
};

/** Sequences one after another; a task is a tile of the queries of one. */
export function segmentsPattern(
  { banded, bottomRight, descending, hooked }: SegmentsConfig,
  { queries, keys }: TileSizes,
): PatternCode {
  const flags = {
    ...{ BANDED: banded, BOTTOM_RIGHT: bottomRight },
    ...{ DESCENDING: descending, HOOKED: hooked },
  };
  const code = [constants({ QUERIES: queries, KEYS: keys, ...flags }), CODE].join("\n");
  return {
    ...{ masked: true, additional: false, params: PARAMS, code },
    bindings: [
      { name: "sequences", access: "read", type: "array<vec4u>" }, // first query, end, first key, end
      { name: "tasks", access: "read", type: "array<vec2u>" }, // its sequence, its tile in there
    ],
  };
}

const CODE = /* wgsl */ `
struct Queries { first: u32, end: u32, sequence: vec4u }
struct Query { token: u32 }
struct Keys { first: u32, end: u32, tiles: u32, shift: i32 }
struct KeyTile { first: u32, end: u32, shift: i32 } // key j - shift is in the column of query j

fn queries_of(tile: u32) -> Queries {
  let task = tasks[params.task0 + tile];
  let sequence = sequences[task.x];
  let first = sequence.x + task.y * QUERIES;
  let end = min(first + QUERIES, min(sequence.y, params.t1));
  return Queries(max(first, params.t0), end, sequence);
}
fn rows_of(tile: u32) -> vec2u {
  let task = tasks[params.task0 + tile];
  let sequence = sequences[task.x];
  let first = sequence.x * params.group + task.y * QUERIES;
  let end = min(first + QUERIES, min(sequence.y, params.t1) * params.group);
  return vec2u(max(first, params.t0 * params.group), end);
}
fn queries_of_rows(tile: u32, first: u32, last: u32) -> Queries {
  return Queries(first, last + 1u, sequences[tasks[params.task0 + tile].x]);
}
fn is_empty(queries: Queries) -> bool { return queries.first >= queries.end; }
fn has_query(queries: Queries, i: u32) -> bool { return queries.first + i < queries.end; }
fn query_at(queries: Queries, i: u32) -> Query {
  return Query(min(queries.first + i, queries.end - 1u));
}

fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let sequence = queries.sequence;
  let shift = select(i32(sequence.z) - i32(sequence.x), i32(sequence.w) - i32(sequence.y), BOTTOM_RIGHT);
  var first = i32(min(sequence.z + part * params.part_keys, sequence.w));
  var end = i32(min(sequence.z + (part + 1u) * params.part_keys, sequence.w));
  if BANDED {
    first = max(first, i32(queries.first) + shift + params.band_lo);
    end = min(end, i32(queries.end) + shift + params.band_hi);
  }
  end = max(first, end);
  return Keys(u32(first), u32(end), (u32(end - first) + KEYS - 1u) / KEYS, shift);
}
fn first_tile(keys: Keys) -> KeyTile {
  if DESCENDING && keys.tiles > 0u {
    return KeyTile(keys.first + (keys.tiles - 1u) * KEYS, keys.end, keys.shift);
  }
  return KeyTile(keys.first, keys.end, keys.shift);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  var next = tile;
  if DESCENDING { next.first = max(tile.first, KEYS) - KEYS; } else { next.first += KEYS; }
  return next;
}

fn key_count(tile: KeyTile) -> u32 { return min(KEYS, tile.end - tile.first); }
fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.first + j; }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, min(tile.first + j, tile.end - 1u), kv_head);
}
fn offset_of(tile: KeyTile, key: u32, query: u32) -> i32 { return i32(key) - tile.shift - i32(query); }
fn needs_mask(queries: Queries, tile: KeyTile) -> bool {
  let inside = offset_of(tile, tile.first, queries.end - 1u) >= params.band_lo &&
    offset_of(tile, tile.first + KEYS - 1u, queries.first) <= params.band_hi;
  return HOOKED || tile.first + KEYS > tile.end || (BANDED && !inside);
}
fn visible(query: Query, tile: KeyTile, j: u32) -> bool {
  let offset = offset_of(tile, tile.first + j, query.token);
  return tile.first + j < tile.end &&
    (!BANDED || (offset >= params.band_lo && offset <= params.band_hi));
}
`;
