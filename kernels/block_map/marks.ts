import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { BLOCK_STATES, MAP_THREADS } from "./states.ts";

/** What marking given blocks must know when it is compiled. */
export interface BlockMarksConfig {
  /** Whether all states are cleared, or those of given blocks are set. */
  readonly pass: "clear" | "mark";
  /** Whether rows name blocks; else they have an element for each. */
  readonly indices: boolean;
  /** Whether masks hide keys of the blocks. */
  readonly partial: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch
  end: "u32",
  columns: "u32", // of a row of what is given
  keyBlocks: "u32",
};

/** Marks the blocks that a matrix or lists of numbers name, an invocation for each element. */
export function blockMarks({ pass, indices, partial }: BlockMarksConfig): Program {
  const states: Binding = { name: "states", access: "read_write", type: "array<atomic<u32>>" };
  const given: Binding = { name: "given", access: "read", type: "array<i32>" }; // [rows, columns]
  const bindings = pass === "clear" ? [states] : [given, states];
  const code = [
    constants({ THREADS: MAP_THREADS, ...BLOCK_STATES }),
    `const MARK = ${partial ? "SOME" : "FULL"};`,
    declare(bindings, PARAMS),
    MAIN.replace("BODY", pass === "clear" ? CLEAR : indices ? MARK_INDEX : MARK_ELEMENT),
  ].join("\n");
  return { label: `block map (${pass})`, code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  BODY
}
`;

const CLEAR = "atomicStore(&states[id], EMPTY);";

const MARK_INDEX = `let block = given[id];
  if block < 0 || u32(block) >= params.key_blocks { return; }
  atomicStore(&states[id / params.columns * params.key_blocks + u32(block)], MARK);`;

const MARK_ELEMENT = "if given[id] != 0 { atomicStore(&states[id], MARK); }";
