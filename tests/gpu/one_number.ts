import type { Program } from "../../gpu/program.ts";

/** A program of one invocation, with a buffer `out` of u32 and a parameter `value`. */
export function program(label: string, code: string): Program {
  return {
    label,
    code: `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
struct Params { value: u32 }
@group(0) @binding(1) var<uniform> params: Params;
@compute @workgroup_size(1) fn main() { ${code} }`,
    bindings: [{ name: "out", access: "read_write", type: "array<u32>" }],
    params: { value: "u32" },
    subgroups: false,
  };
}
