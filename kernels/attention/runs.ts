import { constants, type ParamType } from "../../gpu/program.ts";
import type { TileSizes } from "./pattern.ts";

/** What patterns have in common whose keys are a run of numbers, seen whole or as a band. */
export interface RunsConfig {
  /** Whether a query sees a band of keys only. */
  readonly banded: boolean;
  /** Whether tiles are walked from the last to the first. */
  readonly descending: boolean;
  /** Whether hooks hide keys too, wherever they are. */
  readonly hooked: boolean;
}

/** Run-time parameters that they share. */
export const RUNS_PARAMS: Readonly<Record<string, ParamType>> = {
  t0: "u32", // first query of this launch
  t1: "u32", // one past the last
  bandLo: "i32", // query i sees keys i + shift + bandLo to i + shift + bandHi
  bandHi: "i32",
};

/**
 * The WGSL that they share: a tile is a run of keys, from `first` to before `end`; key j is in the column
 * of query j - `shift`; `list` is where the table of a pattern names its keys. The pattern brings
 * `Queries` with `first` and `end`, `queries_of` and the like, `keys_of` (by `run_of`), `key_token` and
 * `key_row`.
 */
export function runsCode(
  { banded, descending, hooked }: RunsConfig,
  { queries, keys }: TileSizes,
): string {
  const flags = { BANDED: banded, DESCENDING: descending, HOOKED: hooked };
  return [constants({ QUERIES: queries, KEYS: keys, ...flags }), CODE].join("\n");
}

const CODE = /* wgsl */ `
struct Query { token: u32 }
struct Keys { first: u32, end: u32, tiles: u32, shift: i32, list: u32 }
struct KeyTile { first: u32, end: u32, shift: i32, list: u32 }

fn is_empty(queries: Queries) -> bool { return queries.first >= queries.end; }
fn has_query(queries: Queries, i: u32) -> bool { return queries.first + i < queries.end; }
fn query_at(queries: Queries, i: u32) -> Query {
  return Query(min(queries.first + i, queries.end - 1u));
}

/// The keys from first to before end that some of the queries see.
fn run_of(queries: Queries, first: u32, end: u32, shift: i32, list: u32) -> Keys {
  var lo = i32(first);
  var hi = i32(end);
  if BANDED {
    lo = max(lo, i32(queries.first) + shift + params.band_lo);
    hi = min(hi, i32(queries.end) + shift + params.band_hi);
  }
  hi = max(lo, hi);
  return Keys(u32(lo), u32(hi), (u32(hi - lo) + KEYS - 1u) / KEYS, shift, list);
}
fn first_tile(keys: Keys) -> KeyTile {
  var first = keys.first;
  if DESCENDING { first += (max(keys.tiles, 1u) - 1u) * KEYS; }
  return KeyTile(first, keys.end, keys.shift, keys.list);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  var next = tile;
  if DESCENDING { next.first = max(tile.first, KEYS) - KEYS; } else { next.first += KEYS; }
  return next;
}

fn key_count(tile: KeyTile) -> u32 { return min(KEYS, tile.end - tile.first); }
fn offset_of(tile: KeyTile, key: u32, query: u32) -> i32 {
  return i32(key) - tile.shift - i32(query);
}
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

/** Queries in a row, and rows of them for each kv head. */
export const QUERIES_IN_A_ROW = /* wgsl */ `
struct Queries { first: u32, end: u32 }

/// Tiles from both ends in turn: of a causal mask the long ones are spread over the grid.
fn queries_of(tile: u32) -> Queries {
  let tiles = (params.t1 - params.t0 + QUERIES - 1u) / QUERIES;
  let own = select(tile / 2u, tiles - 1u - tile / 2u, tile % 2u == 1u);
  let first = params.t0 + select(tile, own, BANDED) * QUERIES;
  return Queries(first, min(first + QUERIES, params.t1));
}
fn queries_of_rows(tile: u32, first: u32, last: u32) -> Queries { return Queries(first, last + 1u); }
fn rows_of(tile: u32) -> vec2u {
  let first = params.t0 * params.group + tile * QUERIES;
  return vec2u(first, min(first + QUERIES, params.t1 * params.group));
}
`;
