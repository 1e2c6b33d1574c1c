import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";
import { keyReader } from "./keys.ts";
import { MASS } from "./share.ts";

/** What selecting by ranks must know when it is compiled. */
export interface SelectRanksConfig {
  readonly elem: Elem;
  /** Whether a share of a row's sum is selected; else what reaches a key. */
  readonly share: boolean;
}

/** Invocations of a workgroup. */
export const RANK_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  width: "u32", // elements of a row
  items: "u32", // invocations of a row: as many as it has elements, and indices; one at least
  least: "u32", // key that selected elements reach
  share: "f32", // of the sum of a row
  places: "u32", // indices of a row
  scoresFirst: "u32", // first element that is bound
  indicesFirst: "u32",
  countsFirst: "u32",
  start: "u32", // first invocation of this launch, counted over all rows
  end: "u32",
};

/**
 * Selects the largest of short rows, an invocation for each element: its place among the selected is how
 * many are before it. Of a share, it is selected where those before it have less: in units of the sum,
 * which add up to the same in any order.
 */
export function selectRanks({ elem, share }: SelectRanksConfig): Program {
  const keys = keyReader(elem);
  const bindings: Binding[] = [
    keys.binding,
    { name: "indices", access: "read_write", type: "array<i32>" }, // [rows, places]
    { name: "counts", access: "read_write", type: "array<i32>" }, // [rows]
    { name: "found", access: "read_write", type: "array<i32>" },
  ];
  const code = [
    constants({ THREADS: RANK_THREADS, SHARE: share }),
    declare(bindings, PARAMS),
    keys.code,
    MASS,
    MAIN,
  ].join("\n");
  const label = `selection by ranks${share ? " of a share" : ""}`;
  return { label, code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
const ALL = 1u << 30u; // units of the sum of a row
const LARGEST = 3.4028234e38;

/// How much of the sum of a row a key has; of an infinite sum, infinities have all.
fn units_of(key: u32, total: f32) -> u32 {
  let x = mass_of(key);
  if total > LARGEST { return select(0u, ALL, x > LARGEST); }
  return u32(min(x / total, 1.0) * f32(ALL));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if params.start + id.x >= params.end { return; }
  let row = (params.start + id.x) / params.items;
  let own = (params.start + id.x) % params.items;
  let first = row * params.width - params.scores_first;
  var key = 0u;
  if own < params.width { key = selectable(key_of(first + own)); }

  var total = 0.0;
  if SHARE {
    for (var i = 0u; i < params.width; i++) { total += mass_of(selectable(key_of(first + i))); }
  }
  var reached = 0u; // elements that reach the least key
  var before = 0u; // those before the own one, and what they have
  var units = 0u;
  for (var i = 0u; i < params.width; i++) {
    let other = selectable(key_of(first + i));
    reached += u32(other >= params.least);
    if other > key || (other == key && i < own) {
      before++;
      if SHARE { units = min(units + units_of(other, total), ALL); }
    }
  }

  let goal = params.share * SLACK * f32(ALL);
  let selected = key >= params.least && (!SHARE || f32(units) < goal);
  let indices_of = row * params.places - params.indices_first;
  if own < params.width && before < params.places {
    indices[indices_of + before] = select(-1, i32(own), selected);
  }
  if own >= params.width && own < params.places { indices[indices_of + own] = -1; }

  var count = reached;
  var tells = own == 0u;
  if SHARE { // the last that is selected knows how many there are
    let last = before + 1u == reached || f32(units + units_of(key, total)) >= goal;
    count = select(0u, before + 1u, selected);
    tells = select(own == 0u && (reached == 0u || goal <= 0.0), last, selected);
  }
  if tells {
    counts[row - params.counts_first] = i32(min(count, params.places));
    found[row - params.counts_first] = i32(count);
  }
}
`;
