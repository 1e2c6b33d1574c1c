import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";
import type { SelectConfig } from "./config.ts";
import { keyReader } from "./keys.ts";
import { EXCHANGE, EXCHANGE_SHARED } from "./order.ts";
import { RADIX } from "./radix.ts";
import { SHARE } from "./share.ts";

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // first row of this launch
  width: "u32", // elements of a row
  least: "u32", // key that selected elements reach
  share: "f32", // of the sum of a row
  limit: "u32", // most that are selected of a row
  places: "u32", // indices of a row, or pairs
  sortSize: "u32", // a power of two, and not less than what is selected
  indexDigits: "u32", // bytes in which indices differ
  indexPrefix: "u32", // the bits of ~index before them
  scoresFirst: "u32", // first element that is bound
  indicesFirst: "u32",
  countsFirst: "u32",
};

/**
 * Selects the largest of each row, a workgroup for each row.
 *
 * A radix select finds the last key and the last index that are in; those before it are gathered in
 * any order and sorted in the memory of the workgroup, or left as pairs of a key and an index.
 */
export function selectRows(config: SelectConfig): Program {
  const { elem, share, sorted, threads, tile } = config;
  const keys = keyReader(elem);
  const bindings: Binding[] = [
    keys.binding,
    sorted
      ? { name: "indices", access: "read_write", type: "array<i32>" } // [rows, places]
      : { name: "list", access: "read_write", type: "array<vec2u>" },
    { name: "counts", access: "read_write", type: "array<i32>" }, // [rows]
    { name: "found", access: "read_write", type: "array<i32>" },
  ];
  const code = [
    constants({ THREADS: threads, TILE: tile }),
    declare(bindings, PARAMS),
    "var<workgroup> pairs: array<vec2u, TILE>;",
    "var<workgroup> taken: atomic<u32>;",
    keys.code,
    CANDIDATE,
    RADIX,
    share ? SHARE : "",
    sorted ? `${EXCHANGE}\n${EXCHANGE_SHARED}` : "",
    MAIN.replace("KEEP", sorted ? KEEP : KEEP_LISTED)
      .replace("WRITE", sorted ? WRITE_SORTED : WRITE_LISTED)
      .replace("LIMIT", share ? SHARE_LIMIT : LIMIT)
      .replace("ALL", share ? "wanted" : "last.found"),
  ].join("\n");
  return {
    label: `selection${share ? " of a share" : ""}`,
    code: unroll(code, {}),
    bindings,
    params: PARAMS,
    subgroups: false,
  };
}

const CANDIDATE = /* wgsl */ `
fn candidate(row: u32, i: u32) -> u32 {
  return selectable(key_of(row * params.width - params.scores_first + i));
}`;

const LIMIT = "let limit = params.limit;";
const SHARE_LIMIT = `let wanted = count_share(row, thread);
  workgroupBarrier();
  let limit = min(params.limit, wanted);`;
const KEEP = "pairs[slot] = vec2u(~key, i);";
const KEEP_LISTED = "list[at.x * params.places + slot] = vec2u(~key, i);";

const WRITE_SORTED = `sort_pairs(thread, count, params.sort_size);
  for (var i = thread; i < params.places; i += THREADS) {
    var index = -1;
    if i < count { index = i32(pairs[i].y); }
    indices[row * params.places - params.indices_first + i] = index;
  }`;

const WRITE_LISTED = `for (var i = count + thread; i < params.places; i += THREADS) {
    list[at.x * params.places + i] = vec2u(0xffffffffu);
  }`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = params.row0 + at.x;
  LIMIT
  let last = find_key(row, thread, params.least, limit);
  let last_index = find_index(row, thread, last);
  let count = min(limit, last.found);
  if count > 0u {
    for (var i = thread; i < params.width; i += THREADS) {
      let key = candidate(row, i);
      if key > last.prefix || (key == last.prefix && i <= last_index) {
        let slot = atomicAdd(&taken, 1u);
        KEEP
      }
    }
  }
  workgroupBarrier();
  WRITE
  if thread == 0u {
    counts[row - params.counts_first] = i32(count);
    found[row - params.counts_first] = i32(ALL);
  }
}
`;
