import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { GATHER_THREADS } from "./gather.ts";

/** What inverting must know when it is compiled. */
export interface InvertConfig {
  /** Whether all places are cleared, or those that indices name are set. */
  readonly pass: "clear" | "set";
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch
  end: "u32",
  inner: "u32", // heads that have indices of their own, or 1
  places: "u32", // indices of a line
  length: "u32", // tokens that they may name
  before: "u32", // indices that are bound before the first
};

/**
 * Inverts lines of indices: for each token the place of the index that names it, the last one if there
 * are several, or -1; an invocation for each token, then for each index.
 */
export function invertIndices({ pass }: InvertConfig): Program {
  const indices: Binding = { name: "indices", access: "read", type: "array<i32>" };
  const inverse: Binding = { name: "inverse", access: "read_write", type: "array<atomic<i32>>" };
  const bindings = pass === "clear" ? [inverse] : [indices, inverse];
  const code = [
    constants({ THREADS: GATHER_THREADS }),
    declare(bindings, PARAMS),
    MAIN.replace("BODY", pass === "clear" ? "atomicStore(&inverse[id], -1);" : SET),
  ].join("\n");
  return { label: `inverting (${pass})`, code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  BODY
}
`;

const SET = `let index = indices[id + params.before];
  if index < 0 || u32(index) >= params.length { return; }
  let line = id / params.inner / params.places * params.length + u32(index);
  let place = id / params.inner % params.places;
  atomicMax(&inverse[line * params.inner + id % params.inner], i32(place));`;
