import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { PARTIAL } from "../attention/blocks.ts";
import { BLOCK_STATES, MAP_THREADS } from "./states.ts";

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // first row of this launch: all axes but the key blocks, flattened
  keyBlocks: "u32",
};

const BINDINGS: readonly Binding[] = [
  { name: "states", access: "read", type: "array<u32>" }, // [rows, key blocks]
  { name: "counts", access: "read_write", type: "array<u32>" }, // [rows]
  { name: "list", access: "read_write", type: "array<u32>" }, // [rows, key blocks]
];

/** Lists the blocks of each row that are not empty, in order, a workgroup for each row. */
export function blockLists(): Program {
  const code = [
    constants({ THREADS: MAP_THREADS, PARTIAL, ...BLOCK_STATES }),
    declare(BINDINGS, PARAMS),
    MAIN,
  ].join("\n");
  return { label: "block map (lists)", code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
var<workgroup> found: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = params.row0 + at.x;
  let first = row * params.key_blocks;
  let span = (params.key_blocks + THREADS - 1u) / THREADS; // blocks of a thread
  let start = min(thread * span, params.key_blocks);
  let end = min(start + span, params.key_blocks);
  var own = 0u;
  for (var n = start; n < end; n++) { own += u32(states[first + n] != EMPTY); }
  found[thread] = own;
  workgroupBarrier();
  var place = 0u;
  for (var n = 0u; n < thread; n++) { place += found[n]; }
  for (var n = start; n < end; n++) {
    let state = states[first + n];
    if state == EMPTY { continue; }
    list[first + place] = n | select(0u, PARTIAL, state == SOME);
    place++;
  }
  if thread == THREADS - 1u { counts[row] = place; }
}
`;
