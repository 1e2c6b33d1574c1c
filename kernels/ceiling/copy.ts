import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";

const BINDINGS: readonly Binding[] = [
  { name: "source", access: "read", type: "array<vec4f>" },
  { name: "copied", access: "read_write", type: "array<vec4f>" },
];
const PARAMS = { count: "u32", stride: "u32" } as const;
/** Invocations of a workgroup. */
export const COPY_THREADS = 256;

/** A large copy, one vec4 per invocation and round: the bandwidth that kernels can reach at best. */
export function copyCeiling(): Program {
  const code = [constants({ THREADS: COPY_THREADS }), declare(BINDINGS, PARAMS), MAIN].join("\n");
  return { label: "copy ceiling", code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  for (var i = at.x; i < params.count; i += params.stride) { copied[i] = source[i]; }
}
`;
