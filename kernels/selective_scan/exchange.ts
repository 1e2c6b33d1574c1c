/** How an invocation reads b and c of the j-th token once they are loaded. */
export const SELECTIVE_EXCHANGES = {
  subgroup: {
    memory: "",
    declare: `
    @registers var own_b: array<vec4f, N4>;
    @registers var own_c: array<vec4f, N4>;`,
    before: "",
    after: "",
    own: { b: "own_b[i]", c: "own_c[i]" },
    shared: { b: "subgroupShuffle(own_b[i], j)", c: "subgroupShuffle(own_c[i], j)" },
  },
  workgroup: {
    memory: `
var<workgroup> staged_b: array<vec4f, TOKENS * N4>;
var<workgroup> staged_c: array<vec4f, select(1u, TOKENS * N4, OUTPUTS)>;`,
    declare: "",
    before: "workgroupBarrier();\n    if lane < TOKENS {",
    after: "}\n    workgroupBarrier();",
    own: { b: "staged_b[lane * N4 + i]", c: "staged_c[lane * N4 + i]" },
    shared: { b: "staged_b[j * N4 + i]", c: "staged_c[j * N4 + i]" },
  },
} as const;
