import { constants, type ParamType } from "../../gpu/program.ts";
import type { PatternCode, TileSizes } from "./pattern.ts";
import { RUNS_PARAMS, runsCode, type RunsConfig } from "./runs.ts";

/** Packed sequences: a query sees the keys of its own, all or a band of them. */
export interface SegmentsConfig extends RunsConfig {
  readonly kind: "segments";
  /** Whether the band follows the last query and key of a sequence rather than the first. */
  readonly bottomRight: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  ...RUNS_PARAMS,
  task0: "u32", // first task of this launch
  partKeys: "u32", // keys of one part of a sequence
};

/** Sequences one after another; a task is a tile of the queries of one. */
export function segmentsPattern(config: SegmentsConfig, sizes: TileSizes): PatternCode {
  const own = constants({ BOTTOM_RIGHT: config.bottomRight });
  const code = [runsCode(config, sizes), own, CODE].join("\n");
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
fn keys_of(queries: Queries, part: u32, b: u32, h: u32) -> Keys {
  let sequence = queries.sequence;
  let shift = select(i32(sequence.z) - i32(sequence.x), i32(sequence.w) - i32(sequence.y), BOTTOM_RIGHT);
  let first = min(sequence.z + part * params.part_keys, sequence.w);
  return run_of(queries, first, min(first + params.part_keys, sequence.w), shift, 0u);
}
fn key_token(tile: KeyTile, j: u32) -> u32 { return tile.first + j; }
fn key_row(tile: KeyTile, j: u32, b: u32, kv_head: u32) -> u32 {
  return kv_row(b, min(tile.first + j, tile.end - 1u), kv_head);
}
`;
