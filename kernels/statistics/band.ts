import { constants } from "../../gpu/program.ts";

/** Which pairs have scores: all, or a band of them around the diagonal (causal, window). */
export interface PairBand {
  /** Whether a query sees a band of keys only. */
  readonly banded: boolean;
  /** Whether hooks hide keys too, wherever they are. */
  readonly hooked: boolean;
}

/**
 * The band in WGSL: what the description of scores asks of a pair (a key is a tile of its own), and the
 * ranges that a walk narrows itself to.
 */
export function bandCode({ banded, hooked }: PairBand): string {
  return [constants({ BANDED: banded, HOOKED: hooked, MASKS: banded || hooked }), CODE].join("\n");
}

const CODE = /* wgsl */ `
struct Query { token: u32 }
struct KeyTile { token: u32 }

fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.token; }
fn visible(query: Query, tile: KeyTile, j: u32) -> bool {
  let offset = i32(tile.token) - i32(query.token);
  return !BANDED || (offset >= params.band_lo && offset <= params.band_hi);
}

/// Whether some of the queries (first and last) do not see some of the keys.
fn hides(queries: vec2u, keys: vec2u) -> bool {
  let inside = i32(keys.x) >= i32(queries.y) + params.band_lo &&
    i32(keys.y) <= i32(queries.x) + params.band_hi;
  return HOOKED || (BANDED && !inside);
}

/// Tokens first <= n < end that are within a band around others.
fn narrowed(range: vec2u, others: vec2u, lo: i32, hi: i32) -> vec2u {
  if !BANDED { return range; }
  let first = max(i32(range.x), i32(others.x) + lo);
  let end = min(i32(range.y), i32(others.y) + hi + 1);
  return vec2u(u32(first), u32(max(first, end)));
}
fn keys_seen(range: vec2u, queries: vec2u) -> vec2u {
  return narrowed(range, queries, params.band_lo, params.band_hi);
}
fn queries_seeing(range: vec2u, keys: vec2u) -> vec2u {
  return narrowed(range, keys, -params.band_hi, -params.band_lo);
}
`;
