import { constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";

/** The keys that a block map lists. */
export interface BlocksConfig {
  readonly kind: "blocks";
  /** Tokens of a block of queries. */
  readonly queryBlock: number;
  /** Tokens of a block of keys. */
  readonly keyBlock: number;
  /** Whether tiles are walked from the last to the first. */
  readonly descending: boolean;
}

/** The bit of a listed block of which hooks hide some keys from some queries. */
export const PARTIAL: number = 2 ** 31;

const PARAMS: Readonly<Record<string, ParamType>> = {
  t0: "u32", // first query of this launch, the first of a block
  t1: "u32", // one past the last
  allParts: "u32", // parts that the listed blocks of a row are divided into
  mapB: "u32", // rows of the map between batch entries, 0 where it has one for all
  mapH: "u32", // and between heads, each of which is for mapGroup query heads
  mapGroup: "u32",
  mapBlocks: "u32", // blocks of keys: entries of a row of the list
};

/**
 * Tokens in blocks (FlexAttention's block mask: Dong et al., "Flex Attention", 2024): a query sees the
 * keys of the blocks that its block's row of the map lists, tile by tile; of partial blocks those that
 * hooks leave.
 */
export function blocksPattern(
  { queryBlock, keyBlock, descending }: BlocksConfig,
  { queries, keys }: TileSizes,
): PatternCode {
  const code = [
    constants({
      QUERY_BLOCK: queryBlock,
      KEY_BLOCK: keyBlock,
      QUERIES: queries,
      KEYS: keys,
      QUERY_TILES: Math.ceil(queryBlock / queries), // of a block
      KEY_TILES: Math.ceil(keyBlock / keys),
      PARTIAL,
      DESCENDING: descending,
    }),
    CODE,
  ].join("\n");
  return {
    ...{ masked: true, additional: false, params: PARAMS, code },
    bindings: [
      { name: "mapCounts", access: "read", type: "array<u32>" }, // [B|1, Hq|1, blocks of queries]
      { name: "mapList", access: "read", type: "array<u32>" }, // and blocks of keys
    ],
  };
}

const CODE = /* wgsl */ `
struct Queries { first: u32, end: u32, block: u32 }
struct Query { token: u32 }
struct Keys { first: u32, tiles: u32 } // of the list
struct KeyTile { n: u32, first: u32, end: u32, partial: bool }

fn queries_of(tile: u32) -> Queries {
  let block = params.t0 / QUERY_BLOCK + tile / QUERY_TILES;
  let first = block * QUERY_BLOCK + tile % QUERY_TILES * QUERIES;
  let end = min(params.t1, (block + 1u) * QUERY_BLOCK);
  return Queries(first, min(first + QUERIES, end), block);
}
fn queries_of_rows(tile: u32, first: u32, last: u32) -> Queries {
  return Queries(first, last + 1u, first / QUERY_BLOCK);
}
fn rows_of(tile: u32) -> vec2u {
  let rows = QUERY_BLOCK * params.group; // of a block
  let tiles = (rows + QUERIES - 1u) / QUERIES;
  let block = params.t0 / QUERY_BLOCK + tile / tiles;
  let first = block * rows + tile % tiles * QUERIES;
  return vec2u(first, min(first + QUERIES, min(params.t1 * params.group, (block + 1u) * rows)));
}
fn is_empty(queries: Queries) -> bool { return queries.first >= queries.end; }
fn has_query(queries: Queries, i: u32) -> bool { return queries.first + i < queries.end; }
fn query_at(queries: Queries, i: u32) -> Query {
  return Query(min(queries.first + i, queries.end - 1u));
}

fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let row = b * params.map_b + h / params.map_group * params.map_h + queries.block;
  let count = map_counts[row];
  let share = (count + params.all_parts - 1u) / params.all_parts;
  let first = min(part * share, count);
  let end = min(first + share, count);
  return Keys(row * params.map_blocks + first, (end - first) * KEY_TILES);
}
fn tile_at(keys: Keys, n: u32) -> KeyTile {
  let at = select(n, keys.tiles - 1u - n, DESCENDING);
  let entry = map_list[keys.first + at / KEY_TILES];
  let block = entry & (PARTIAL - 1u);
  let first = block * KEY_BLOCK + at % KEY_TILES * KEYS;
  return KeyTile(n, first, min(params.kv_len, (block + 1u) * KEY_BLOCK), entry >= PARTIAL);
}
fn first_tile(keys: Keys) -> KeyTile {
  if keys.tiles == 0u { return KeyTile(); }
  return tile_at(keys, 0u);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  if tile.n + 1u >= keys.tiles { return tile; }
  return tile_at(keys, tile.n + 1u);
}

fn key_count(tile: KeyTile) -> u32 { return min(KEYS, max(tile.end, tile.first) - tile.first); }
fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.first + j; }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, min(tile.first + j, tile.end - 1u), kv_head);
}
fn needs_mask(queries: Queries, tile: KeyTile) -> bool {
  return tile.partial || tile.first + KEYS > tile.end;
}
fn visible(query: Query, tile: KeyTile, j: u32) -> bool { return tile.first + j < tile.end; }
`;
