import { constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode } from "../attention/pattern.ts";
import { WINDOW_PARAMS, windowCode, type WindowConfig } from "./window.ts";

/** Sizes along the axes x, y and z; an axis that a problem lacks has one token. */
export type Box = readonly [x: number, y: number, z: number];

/** Windows of queries on one to three token axes, walked in tiles that are boxes. */
export interface NeighborhoodConfig extends WindowConfig {
  readonly kind: "neighborhood";
  /** Queries of a workgroup along each axis. */
  readonly queryTile: Box;
  /** Keys of a tile along each axis. */
  readonly keyTile: Box;
  /** On which axes a tile may hold keys that some query does not see. */
  readonly masked: readonly [x: boolean, y: boolean, z: boolean];
  /** Whether the keys are divided into parts, along x. */
  readonly parted: boolean;
  /** Whether there are additional keys, which every query sees. */
  readonly additional: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  ...WINDOW_PARAMS,
  tile0: "u32", // first query tile of this launch
  bandsY: "u32", // query tiles of all residues along y and z
  bandsZ: "u32",
  partPlaces: "u32", // places along x of one part of the keys
  additionalLen: "u32", // E
  partAdditional: "u32", // additional keys of one part
};

/**
 * Neighborhoods (math/neighborhood.md 1.2, section 2): a query tile is a box of places of one
 * dilation group, and its keys are the box from the first window's start to the last window's end,
 * taken in boxes that start there (tiles need no grid).
 *
 * Windows factor by axis and both their ends grow with the place, so the ends of the first and the
 * last query bound what some query sees, and what all see.
 */
export function neighborhoodPattern(config: NeighborhoodConfig): PatternCode {
  const { queryTile, keyTile, masked, parted, additional } = config;
  const tests = (["x", "y", "z"] as const).filter((_, axis) => masked[axis]);
  const code = [
    constants({ KEYS: volumeOf(keyTile), PARTED: parted, WITH_ADDITIONAL: additional }),
    `const QUERY_TILE = vec3u(${queryTile});`,
    `const KEY_TILE = vec3u(${keyTile});`,
    windowCode(config),
    QUERIES,
    `fn in_window(query: Query, place: vec3u) -> bool { return ${
      every(tests, (x) => `place.${x} >= query.first.${x} && place.${x} <= query.last.${x}`)
    }; }`,
    `fn in_every_window(queries: Queries, first: vec3u, last: vec3u) -> bool { return ${
      every(tests, (x) =>
        `first.${x} >= queries.common_first.${x} && last.${x} <= queries.common_last.${x}`)
    }; }`,
    KEYS,
  ].join("\n");
  const masks = tests.length > 0 || parted || additional;
  return { masked: masks, additional, bindings: [], params: PARAMS, code };
}

/** Tokens of a box. */
export function volumeOf([x, y, z]: Box): number {
  return x * y * z;
}

function every<T>(items: readonly T[], condition: (item: T) => string): string {
  return items.length === 0 ? "true" : items.map(condition).join(" && ");
}

const QUERIES = /* wgsl */ `
/// A box of places of one dilation group, both ends included, and the keys that all of them see.
struct Queries {
  residue: vec3u,
  first: vec3u,
  last: vec3u,
  window_first: vec3u, // the box of keys that some query sees
  window_last: vec3u,
  common_first: vec3u, // the box of keys that all see
  common_last: vec3u,
}
struct Query { token: u32, first: vec3u, last: vec3u } // its window, both ends included

fn queries_of(tile: u32) -> Queries {
  let band = cell(params.tile0 + tile, vec3u(1u, params.bands_y, params.bands_z));
  let residue = band % dilation();
  let places = places_of(residue);
  let first = band / dilation() * QUERY_TILE;
  let last = min(first + QUERY_TILE, places) - 1u;
  let lo = window_first(first, places);
  let lo_of_last = window_first(last, places);
  return Queries(residue, first, last, lo, window_last(last, lo_of_last),
    lo_of_last, window_last(first, lo));
}
fn is_empty(queries: Queries) -> bool { return any(queries.first > queries.last); }
fn has_query(queries: Queries, i: u32) -> bool {
  return all(queries.first + cell(i, QUERY_TILE) <= queries.last);
}
fn query_at(queries: Queries, i: u32) -> Query {
  let place = min(queries.first + cell(i, QUERY_TILE), queries.last);
  let first = window_first(place, places_of(queries.residue));
  return Query(token_of(place, queries.residue), first, window_last(place, first));
}
`;

const KEYS = /* wgsl */ `
/// What some query sees in a part: the places from first to end, then additional keys.
struct Keys {
  residue: vec3u,
  first: vec3u,
  end: vec3u,
  additional_first: u32,
  additional_end: u32,
  tiles: u32,
}
/// A box of places from first, or additional keys from first.x; those from end on are not there.
struct KeyTile { residue: vec3u, first: vec3u, end: vec3u, additional: bool }

fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  var first = queries.window_first;
  var end = queries.window_last + 1u;
  if PARTED {
    first.x = max(first.x, part * params.part_places);
    end.x = max(first.x, min(end.x, (part + 1u) * params.part_places));
  }
  let boxes = (end - first + KEY_TILE - 1u) / KEY_TILE;
  let additional_first = min(part * params.part_additional, params.additional_len);
  let additional_end = min(additional_first + params.part_additional, params.additional_len);
  var tiles = boxes.x * boxes.y * boxes.z;
  if WITH_ADDITIONAL { tiles += (additional_end - additional_first + KEYS - 1u) / KEYS; }
  return Keys(queries.residue, first, end, additional_first, additional_end, tiles);
}
fn first_tile(keys: Keys) -> KeyTile {
  if WITH_ADDITIONAL && keys.first.x == keys.end.x { return first_additional(keys); }
  return KeyTile(keys.residue, keys.first, keys.end, false);
}
fn first_additional(keys: Keys) -> KeyTile {
  let first = vec3u(keys.additional_first, 0u, 0u);
  return KeyTile(keys.residue, first, vec3u(keys.additional_end, 0u, 0u), true);
}
fn next_tile(keys: Keys, tile: KeyTile) -> KeyTile {
  var next = tile;
  if WITH_ADDITIONAL && tile.additional {
    next.first.x += KEYS;
    return next;
  }
  next.first.z += KEY_TILE.z;
  if next.first.z >= keys.end.z {
    next.first.z = keys.first.z;
    next.first.y += KEY_TILE.y;
  }
  if next.first.y >= keys.end.y {
    next.first.y = keys.first.y;
    next.first.x += KEY_TILE.x;
  }
  if WITH_ADDITIONAL && next.first.x >= keys.end.x { return first_additional(keys); }
  return next;
}

fn place_at(tile: KeyTile, j: u32) -> vec3u { return tile.first + cell(j, KEY_TILE); }
fn key_count(tile: KeyTile) -> u32 {
  if WITH_ADDITIONAL && tile.additional { return min(KEYS, tile.end.x - tile.first.x); }
  return KEYS;
}
fn key_token(tile: KeyTile, j: u32) -> u32 { return token_of(place_at(tile, j), tile.residue); }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  if WITH_ADDITIONAL && tile.additional {
    let e = min(tile.first.x + j, tile.end.x - 1u);
    return ADDITIONAL | ((b * params.additional_len + e) * params.kv_heads + kv_head);
  }
  return kv_row(b, token_of(min(place_at(tile, j), tile.end - 1u), tile.residue), kv_head);
}
fn needs_mask(queries: Queries, tile: KeyTile) -> bool {
  if WITH_ADDITIONAL && tile.additional { return tile.first.x + KEYS > tile.end.x; }
  let last = tile.first + KEY_TILE - 1u;
  return !in_every_window(queries, tile.first, last) || (PARTED && last.x >= tile.end.x);
}
fn visible(query: Query, tile: KeyTile, j: u32) -> bool {
  if WITH_ADDITIONAL && tile.additional { return tile.first.x + j < tile.end.x; }
  let place = place_at(tile, j);
  return in_window(query, place) && (!PARTED || place.x < tile.end.x);
}
`;
