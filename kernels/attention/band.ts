import { constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";

/** All keys, or a band of them around the diagonal (causal, window). */
export interface BandConfig {
  readonly kind: "band";
  /** Whether a query sees a band of keys only. */
  readonly banded: boolean;
  /** Whether tiles are walked from the last to the first. */
  readonly descending: boolean;
  /** Whether hooks hide keys too, wherever they are. */
  readonly hooked: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  t0: "u32", // first query of this launch
  t1: "u32", // one past the last
  partKeys: "u32", // keys of one part
  bandLo: "i32", // query i sees keys i + bandLo to i + bandHi
  bandHi: "i32",
};

/** Tokens in a row: a tile is a run of them. */
export function bandPattern(
  { banded, descending, hooked }: BandConfig,
  { queries, keys }: TileSizes,
): PatternCode {
  const flags = { BANDED: banded, DESCENDING: descending, HOOKED: hooked };
  const code = [constants({ QUERIES: queries, KEYS: keys, ...flags }), CODE].join("\n");
  return { masked: true, additional: false, bindings: [], params: PARAMS, code };
}

const CODE = /* wgsl */ `
struct Queries { first: u32, last: u32 } // both included
struct Query { token: u32 }
struct Keys { first: u32, end: u32, tiles: u32 }
struct KeyTile { first: u32, end: u32 }

fn queries_of(tile: u32) -> Queries {
  let first = params.t0 + tile * QUERIES;
  return Queries(first, min(first + QUERIES, params.t1) - 1u);
}
fn queries_of_rows(tile: u32, first: u32, last: u32) -> Queries { return Queries(first, last); }
fn rows_of(tile: u32) -> vec2u {
  let first = params.t0 * params.group + tile * QUERIES;
  return vec2u(first, min(first + QUERIES, params.t1 * params.group));
}
fn is_empty(queries: Queries) -> bool { return false; }
fn has_query(queries: Queries, i: u32) -> bool { return queries.first + i <= queries.last; }
fn query_at(queries: Queries, i: u32) -> Query {
  return Query(min(queries.first + i, queries.last));
}

fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  var first = i32(part * params.part_keys);
  var end = i32(min((part + 1u) * params.part_keys, params.kv_len));
  if BANDED {
    first = max(first, i32(queries.first) + params.band_lo);
    end = min(end, i32(queries.last) + params.band_hi + 1);
  }
  end = max(first, end);
  return Keys(u32(first), u32(end), (u32(end - first) + KEYS - 1u) / KEYS);
}
fn first_tile(keys: Keys) -> KeyTile {
  if DESCENDING && keys.tiles > 0u {
    return KeyTile(keys.first + (keys.tiles - 1u) * KEYS, keys.end);
  }
  return KeyTile(keys.first, keys.end);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  if DESCENDING { return KeyTile(max(tile.first, KEYS) - KEYS, tile.end); }
  return KeyTile(tile.first + KEYS, tile.end);
}

fn key_count(tile: KeyTile) -> u32 { return min(KEYS, tile.end - tile.first); }
fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.first + j; }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, min(tile.first + j, tile.end - 1u), kv_head);
}
fn needs_mask(queries: Queries, tile: KeyTile) -> bool {
  let inside = i32(tile.first) >= i32(queries.last) + params.band_lo &&
    i32(tile.first + KEYS) - 1 <= i32(queries.first) + params.band_hi;
  return HOOKED || tile.first + KEYS > tile.end || (BANDED && !inside);
}
fn visible(query: Query, tile: KeyTile, j: u32) -> bool {
  let offset = i32(tile.first + j) - i32(query.token);
  return tile.first + j < tile.end &&
    (!BANDED || (offset >= params.band_lo && offset <= params.band_hi));
}
`;
