import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";
import { keyReader } from "./keys.ts";

/** What selecting by ranks must know when it is compiled. */
export interface SelectRanksConfig {
  readonly elem: Elem;
}

/** Invocations of a workgroup. */
export const RANK_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  width: "u32", // elements of a row
  items: "u32", // invocations of a row: as many as it has elements, and indices; one at least
  least: "u32", // key that selected elements reach
  places: "u32", // indices of a row
  scoresFirst: "u32", // first element that is bound
  indicesFirst: "u32",
  countsFirst: "u32",
  start: "u32", // first invocation of this launch, counted over all rows
  end: "u32",
};

/**
 * Selects the largest of short rows, an invocation for each element: its place among the selected is how
 * many are before it.
 */
export function selectRanks({ elem }: SelectRanksConfig): Program {
  const keys = keyReader(elem);
  const bindings: Binding[] = [
    keys.binding,
    { name: "indices", access: "read_write", type: "array<i32>" }, // [rows, places]
    { name: "counts", access: "read_write", type: "array<i32>" }, // [rows]
    { name: "found", access: "read_write", type: "array<i32>" },
  ];
  const code = [
    constants({ THREADS: RANK_THREADS }),
    declare(bindings, PARAMS),
    keys.code,
    MAIN,
  ].join("\n");
  return { label: "selection by ranks", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if params.start + id.x >= params.end { return; }
  let row = (params.start + id.x) / params.items;
  let own = (params.start + id.x) % params.items;
  let first = row * params.width - params.scores_first;
  var key = 0u;
  if own < params.width { key = selectable(key_of(first + own)); }
  var reached = 0u;
  var before = 0u;
  for (var i = 0u; i < params.width; i++) {
    let other = selectable(key_of(first + i));
    reached += u32(other >= params.least);
    before += u32(other > key || (other == key && i < own));
  }
  let indices_of = row * params.places - params.indices_first;
  if key >= params.least && before < params.places { indices[indices_of + before] = i32(own); }
  if own < params.places && own >= reached { indices[indices_of + own] = -1; }
  if own == 0u {
    counts[row - params.counts_first] = i32(min(reached, params.places));
    found[row - params.counts_first] = i32(reached);
  }
}
`;
