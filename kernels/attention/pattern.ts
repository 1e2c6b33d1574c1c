import type { Binding, ParamType } from "../../gpu/program.ts";
import { type NeighborhoodConfig, neighborhoodPattern } from "../neighborhood/pattern.ts";
import { type BandConfig, bandPattern } from "./band.ts";
import { type BlocksConfig, blocksPattern } from "./blocks.ts";
import { type CacheConfig, cachePattern } from "./cache.ts";
import { type SegmentsConfig, segmentsPattern } from "./segments.ts";

/** Which keys a query sees, as far as it is compiled. */
export type PatternConfig =
  | BandConfig
  | BlocksConfig
  | SegmentsConfig
  | CacheConfig
  | NeighborhoodConfig;

/** Tokens of the tiles that a kernel walks. */
export interface TileSizes {
  /** Queries of a workgroup. */
  readonly queries: number;
  /** Keys that it takes at a time. */
  readonly keys: number;
}

/**
 * Which keys a query sees, as the WGSL that every tiled kernel calls.
 *
 * Structures `Queries` (those of a workgroup), `Query`, `Keys` (what some of the queries see, in one
 * part of the keys; `tiles` counts it in tiles) and `KeyTile`; functions
 *
 * - `queries_of(tile) -> Queries`, `is_empty(queries)`, and of the i-th query, a neighbour where
 *   there is none: `has_query(queries, i)`, `query_at(queries, i) -> Query`, with its `token`;
 * - where rows are the queries of all heads that share a kv head: `rows_of(tile)`, the first and one
 *   past the last, and `queries_of_rows(tile, first, last) -> Queries`;
 * - `keys_of(queries, part, b, h) -> Keys`, `first_tile(keys) -> KeyTile`, `next_tile(keys, tile)`;
 * - `key_count(tile)`: how many keys of the tile must be looked at, from its first on;
 * - of the j-th key of a tile: `key_row(tile, j, b, kv_head)`, the row to load, a neighbour where
 *   there is none, `key_token(tile, j)`, and `visible(query, tile, j)`;
 * - `needs_mask(queries, tile)`: whether some query does not see some key of the tile.
 */
export interface PatternCode {
  /** Whether tiles need masks at all. */
  readonly masked: boolean;
  /** Whether rows of additional keys and values occur too. */
  readonly additional: boolean;
  /** Resources of its own. */
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, ParamType>>;
  readonly code: string;
}

/** Makes the WGSL of a pattern for the tiles of a kernel. */
export function patternCode(config: PatternConfig, sizes: TileSizes): PatternCode {
  switch (config.kind) {
    case "band":
      return bandPattern(config, sizes);
    case "blocks":
      return blocksPattern(config, sizes);
    case "cache":
      return cachePattern(config, sizes);
    case "segments":
      return segmentsPattern(config, sizes);
    case "neighborhood":
      return neighborhoodPattern(config);
  }
}
