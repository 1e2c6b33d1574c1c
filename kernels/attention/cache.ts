import { type Binding, constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";

/** Keys of a cache, as many of each batch entry as are there. */
export interface CacheConfig {
  readonly kind: "cache";
  /**
   * Where the n-th key is: row n of its batch entry, row n of the pages that a table names one after
   * another, or the row of its batch entry that a table names.
   */
  readonly layout: "rows" | "pages" | "tokens";
  /** Tokens of a page. */
  readonly pageSize: number;
  /** Whether there are lengths; else all keys are there. */
  readonly lengths: boolean;
  /** Whether a query sees a band of keys only, counted from the last query and the last key. */
  readonly banded: boolean;
  /** Whether tiles are walked from the last to the first. */
  readonly descending: boolean;
  /** Whether hooks hide keys too, wherever they are. */
  readonly hooked: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  t0: "u32", // first query of this launch
  t1: "u32", // one past the last
  allParts: "u32", // parts that the keys of a batch entry are divided into
  bandLo: "i32", // query T - 1 - n sees the keys from n - bandLo before the last one to n - bandHi
  bandHi: "i32",
  capacity: "u32", // keys that there can be
  lengthHeads: "u32", // lengths of a batch entry, and query heads of each
  lengthGroup: "u32",
  tableHeads: "u32", // rows of a batch entry in the table, and query heads of each
  tableGroup: "u32",
  pages: "u32", // of all
};

/**
 * A cache of keys and values (PagedAttention: Kwon et al., "Efficient Memory Management for Large
 * Language Model Serving with PagedAttention", 2023). What a table names beyond the cache is read as
 * the last page or token there is.
 */
export function cachePattern(
  { layout, pageSize, lengths, banded, descending, hooked }: CacheConfig,
  { queries, keys }: TileSizes,
): PatternCode {
  const table: Binding = { name: "table", access: "read", type: "array<u32>" }; // [B, H, capacity]
  const counts: Binding = { name: "lengths", access: "read", type: "array<u32>" }; // [B, H]
  const code = [
    constants({ QUERIES: queries, KEYS: keys, PAGE: pageSize }),
    constants({ BANDED: banded, DESCENDING: descending, HOOKED: hooked }),
    CODE,
    lengths ? LENGTHS : "fn length_of(b: u32, h: u32) -> u32 { return params.capacity; }",
    LAYOUTS[layout],
  ].join("\n");
  return {
    ...{ masked: true, additional: false, params: PARAMS, code },
    bindings: [...(layout === "rows" ? [] : [table]), ...(lengths ? [counts] : [])],
  };
}

const LENGTHS = /* wgsl */ `
fn length_of(b: u32, h: u32) -> u32 {
  return min(lengths[b * params.length_heads + h / params.length_group], params.capacity);
}`;

const LAYOUTS: Readonly<Record<CacheConfig["layout"], string>> = {
  rows: /* wgsl */ `
fn list_of(b: u32, h: u32) -> u32 { return 0u; }
fn token_of(tile: KeyTile, n: u32) -> u32 { return n; }
fn row_of(tile: KeyTile, n: u32, b: u32, kv_head: u32) -> u32 { return kv_row(b, n, kv_head); }`,
  pages: /* wgsl */ `
fn list_of(b: u32, h: u32) -> u32 {
  return (b * params.table_heads + h / params.table_group) * (params.capacity / PAGE);
}
fn token_of(tile: KeyTile, n: u32) -> u32 { return n; }
fn row_of(tile: KeyTile, n: u32, b: u32, kv_head: u32) -> u32 {
  let page = min(table[tile.list + n / PAGE], params.pages - 1u);
  return (page * PAGE + n % PAGE) * params.kv_heads + kv_head;
}`,
  tokens: /* wgsl */ `
fn list_of(b: u32, h: u32) -> u32 {
  return (b * params.table_heads + h / params.table_group) * params.capacity;
}
fn token_of(tile: KeyTile, n: u32) -> u32 {
  return min(table[tile.list + min(n, params.capacity - 1u)], params.kv_len - 1u);
}
fn row_of(tile: KeyTile, n: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, token_of(tile, n), kv_head);
}`,
};

const CODE = /* wgsl */ `
struct Queries { first: u32, last: u32 } // both included
struct Query { token: u32 }
struct Keys { first: u32, end: u32, tiles: u32, shift: i32, list: u32 }
struct KeyTile { first: u32, end: u32, shift: i32, list: u32 } // n - shift is in the column of a query

fn queries_of(tile: u32) -> Queries {
  let first = params.t0 + tile * QUERIES;
  return Queries(first, min(first + QUERIES, params.t1) - 1u);
}
fn rows_of(tile: u32) -> vec2u {
  let first = params.t0 * params.group + tile * QUERIES;
  return vec2u(first, min(first + QUERIES, params.t1 * params.group));
}
fn queries_of_rows(tile: u32, first: u32, last: u32) -> Queries { return Queries(first, last); }
fn is_empty(queries: Queries) -> bool { return false; }
fn has_query(queries: Queries, i: u32) -> bool { return queries.first + i <= queries.last; }
fn query_at(queries: Queries, i: u32) -> Query {
  return Query(min(queries.first + i, queries.last));
}

fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let count = length_of(b, h);
  let shift = i32(count) - i32(params.q_len);
  let share = (count + params.all_parts - 1u) / params.all_parts;
  var first = i32(min(part * share, count));
  var end = i32(min((part + 1u) * share, count));
  if BANDED {
    first = max(first, i32(queries.first) + shift + params.band_lo);
    end = min(end, i32(queries.last) + shift + params.band_hi + 1);
  }
  end = max(first, end);
  let tiles = (u32(end - first) + KEYS - 1u) / KEYS;
  return Keys(u32(first), u32(end), tiles, shift, list_of(b, h));
}
fn first_tile(keys: Keys) -> KeyTile {
  let last = keys.first + (max(keys.tiles, 1u) - 1u) * KEYS;
  return KeyTile(select(keys.first, last, DESCENDING), keys.end, keys.shift, keys.list);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  var next = tile;
  if DESCENDING { next.first = max(tile.first, KEYS) - KEYS; } else { next.first += KEYS; }
  return next;
}

fn key_count(tile: KeyTile) -> u32 { return min(KEYS, tile.end - tile.first); }
fn key_token(tile: KeyTile, j: u32) -> u32 { return token_of(tile, tile.first + j); }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return row_of(tile, min(tile.first + j, tile.end - 1u), b, kv_head);
}
fn offset_of(tile: KeyTile, n: u32, query: u32) -> i32 { return i32(n) - tile.shift - i32(query); }
fn needs_mask(queries: Queries, tile: KeyTile) -> bool {
  let inside = offset_of(tile, tile.first, queries.last) >= params.band_lo &&
    offset_of(tile, tile.first + KEYS - 1u, queries.first) <= params.band_hi;
  return HOOKED || tile.first + KEYS > tile.end || (BANDED && !inside);
}
fn visible(query: Query, tile: KeyTile, j: u32) -> bool {
  let offset = offset_of(tile, tile.first + j, query.token);
  return tile.first + j < tile.end &&
    (!BANDED || (offset >= params.band_lo && offset <= params.band_hi));
}
`;
