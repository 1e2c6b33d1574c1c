import { type Binding, constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";
import { QUERIES_IN_A_ROW, RUNS_PARAMS, runsCode, type RunsConfig } from "./runs.ts";

/** Keys of a cache, as many of each batch entry as are there. */
export interface CacheConfig extends RunsConfig {
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
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  ...RUNS_PARAMS, // bands count from the last query and the last key
  allParts: "u32", // parts that the keys of a batch entry are divided into
  partKeys: "u32", // places of a part, where parts are those of the cache rather than of what is there
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
export function cachePattern(config: CacheConfig, sizes: TileSizes): PatternCode {
  const { layout, pageSize, lengths } = config;
  const table: Binding = { name: "table", access: "read", type: "array<u32>" }; // [B, H, capacity]
  const counts: Binding = { name: "lengths", access: "read", type: "array<u32>" }; // [B, H]
  const code = [
    runsCode(config, sizes),
    constants({ PAGE: pageSize }),
    QUERIES_IN_A_ROW,
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
fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let count = length_of(b, h);
  let shift = i32(count) - i32(params.q_len);
  let even = (count + params.all_parts - 1u) / params.all_parts;
  let share = select(even, params.part_keys, params.part_keys > 0u);
  let first = min(part * share, count);
  return run_of(queries, first, min(first + share, count), shift, list_of(b, h));
}
fn key_token(tile: KeyTile, j: u32) -> u32 { return token_of(tile, tile.first + j); }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return row_of(tile, min(tile.first + j, tile.end - 1u), b, kv_head);
}
`;
