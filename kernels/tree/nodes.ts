import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";

/** Invocations of a workgroup. */
export const NODE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  keep: "u32",
  branches: "u32",
  first: "u32", // first elements that are bound
  start: "u32", // first node of this launch, counted over all blocks of queries
  end: "u32",
};

const BINDINGS: readonly Binding[] = [
  { name: "kept", access: "read", type: "array<i32>" }, // [rows, keep], nodes of the level before
  { name: "chosen", access: "read", type: "array<i32>" }, // [rows, keep], of their children
  { name: "nodes", access: "read_write", type: "array<i32>" }, // [rows, keep]
];

/** The numbers in their level of the children that were chosen, −1 where none was. */
export function treeNodes(): Program {
  const code = [constants({ THREADS: NODE_THREADS }), declare(BINDINGS, PARAMS), MAIN].join("\n");
  return { label: "tree (nodes)", code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if params.start + id.x >= params.end { return; }
  let n = params.start + id.x - params.first;
  let child = chosen[n];
  var node = -1;
  if child >= 0 {
    let parent = kept[n - (params.start + id.x) % params.keep + u32(child) / params.branches];
    node = parent * i32(params.branches) + child % i32(params.branches);
  }
  nodes[n] = node;
}
`;
