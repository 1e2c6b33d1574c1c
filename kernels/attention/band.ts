import type { ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";
import { QUERIES_IN_A_ROW, RUNS_PARAMS, runsCode, type RunsConfig } from "./runs.ts";

/** All keys, or a band of them around the diagonal (causal, window). */
export interface BandConfig extends RunsConfig {
  readonly kind: "band";
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  ...RUNS_PARAMS,
  partKeys: "u32", // keys of one part
};

/** Tokens in a row: a tile is a run of them. */
export function bandPattern(config: BandConfig, sizes: TileSizes): PatternCode {
  const code = [runsCode(config, sizes), QUERIES_IN_A_ROW, CODE].join("\n");
  return { masked: true, additional: false, bindings: [], params: PARAMS, code };
}

const CODE = /* wgsl */ `
fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let first = part * params.part_keys;
  return run_of(queries, first, min(first + params.part_keys, params.kv_len), 0, 0u);
}
fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.first + j; }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, min(tile.first + j, tile.end - 1u), kv_head);
}
`;
