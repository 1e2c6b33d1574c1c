import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { keyReader, type Sortable } from "./keys.ts";
import { EXCHANGE, EXCHANGE_SHARED, SORT_TILE } from "./order.ts";

/** Invocations of a workgroup that sorts. */
export const SORT_THREADS = 256;

const PAIRS: Binding = { name: "pairs", access: "read_write", type: "array<vec2u>" };

/** What making pairs must know when it is compiled. */
export interface SortPairsConfig {
  readonly elem: Sortable;
  readonly descending: boolean;
}

/** Makes the pairs of elements and their places along an axis, NaN last; an invocation for each. */
export function sortPairs({ elem, descending }: SortPairsConfig): Program {
  const keys = keyReader(elem);
  const bindings = [keys.binding, PAIRS];
  const code = [
    constants({ THREADS: SORT_THREADS, DESCENDING: descending }),
    constants({ NANS: elem === "f32" || elem === "f16" }),
    declare(bindings, AXIS),
    keys.code,
    PLACE,
    MAKE,
  ].join("\n");
  return { label: "sort (pairs)", code, bindings, params: AXIS, subgroups: false };
}

/** Rows of pairs are the lines along an axis of a tensor [outer, length, inner]. */
const AXIS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch: rows and places, counted together
  end: "u32",
  inner: "u32",
  width: "u32", // pairs of a row
  length: "u32", // elements of a line, of which the first are those of the row
  before: "u32", // elements of a binding before the first line
};

const PLACE = /* wgsl */ `
/// Where element i of a line is.
fn place_of(row: u32, i: u32) -> u32 {
  return (row / params.inner * params.length + i) * params.inner + row % params.inner
    + params.before;
}`;

const MAKE = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let i = id % params.width;
  let key = key_of(place_of(id / params.width, i));
  let last = NANS && key == NAN;
  pairs[id] = vec2u(select(key, ~key, DESCENDING && !last), i);
}
`;

/** Writes the places of sorted pairs; -1 where a line is longer than a row. */
export function sortedPlaces(): Program {
  const bindings: Binding[] = [
    { ...PAIRS, access: "read" },
    { name: "indices", access: "read_write", type: "array<i32>" },
  ];
  const code = [
    constants({ THREADS: SORT_THREADS }),
    declare(bindings, AXIS),
    PLACE,
    WRITE,
  ].join("\n");
  return { label: "sort (places)", code, bindings, params: AXIS, subgroups: false };
}

const WRITE = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let i = id % params.length;
  let row = id / params.length;
  var found = -1;
  if i < params.width { found = i32(pairs[row * params.width + i].y); }
  indices[place_of(row, i)] = found;
}
`;

/** Sorts rows of up to a tile of pairs, a workgroup each. */
export function sortTile(): Program {
  const params: Readonly<Record<string, ParamType>> = { width: "u32" };
  const binding = { ...PAIRS, name: "list" };
  const code = [
    constants({ THREADS: SORT_THREADS, TILE: SORT_TILE }),
    declare([binding], params),
    "var<workgroup> pairs: array<vec2u, TILE>;",
    EXCHANGE,
    EXCHANGE_SHARED,
    INSIDE,
  ].join("\n");
  return { label: "sort (tile)", code, bindings: [binding], params, subgroups: false };
}

const INSIDE = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let count = params.width;
  let first = at.y * params.width;
  for (var i = thread; i < count; i += THREADS) { pairs[i] = list[first + i]; }
  workgroupBarrier();
  sort_pairs(thread, count, TILE);
  for (var i = thread; i < count; i += THREADS) { list[first + i] = pairs[i]; }
}
`;
