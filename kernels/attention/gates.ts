import type { Binding } from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";
import { elementsOf } from "./description.ts";

/** What gains of queries and heads add to a kernel: `gated` ends of rows, and tiles to be `walked`. */
export interface GatesCode {
  readonly bindings: readonly Binding[];
  readonly code: string;
}

/** Makes the WGSL of gates `[B, T, Hq]`, or of none. */
export function gatesCode(elem: Elem | null): GatesCode {
  if (elem === null) return { bindings: [], code: UNGATED };
  const { binding, code } = elementsOf("gates", elem);
  return { bindings: [binding], code: code + GATED };
}

const UNGATED = /* wgsl */ `
fn gated(end: vec2f, part: u32, b: u32, t: u32, h: u32) -> vec2f { return end; }
fn walked(keys: Keys, queries: Queries, b: u32, h: u32) -> u32 { return keys.tiles; }`;

const GATED = /* wgsl */ `
/// The ends of a row, times its gain; a row whose gain is 0 sees nothing.
fn gated(end: vec2f, part: u32, b: u32, t: u32, h: u32) -> vec2f {
  let gain = gates_of(q_row(b, t, h));
  if gain == 0.0 { return vec2f(0.0, finish(FLOOR, 0.0, h, part).y); }
  return vec2f(gain * end.x, end.y);
}

/// Tiles of keys that a tile of queries walks: none where all gains are 0.
fn walked(keys: Keys, queries: Queries, b: u32, h: u32) -> u32 {
  var routed = false;
  for (var i = 0u; i < QUERIES_OF_TILE; i++) {
    routed |= has_query(queries, i) && gates_of(q_row(b, query_at(queries, i).token, h)) != 0.0;
  }
  return select(0u, keys.tiles, routed);
}`;
