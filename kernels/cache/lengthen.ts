import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { CACHE_THREADS } from "./append.ts";

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch
  end: "u32",
  tokens: "u32",
};

const BINDINGS: readonly Binding[] = [
  { name: "lengths", access: "read_write", type: "array<i32>" },
];

/** Adds tokens to lengths, an invocation for each. */
export function lengthen(): Program {
  const code = [constants({ THREADS: CACHE_THREADS }), declare(BINDINGS, PARAMS), MAIN].join("\n");
  return {
    label: "lengths of a cache",
    code,
    bindings: BINDINGS,
    params: PARAMS,
    subgroups: false,
  };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id < params.end { lengths[id] += i32(params.tokens); }
}
`;
