/** How an invocation reads the j-th token's rows once they are loaded. */
export const EXCHANGES = {
  subgroup: {
    memory: "",
    declare: `
    @registers var own_k: array<vec4f, D4>;
    @registers var own_e: array<vec4f, D4>;
    @registers var own_q: array<array<vec4f, D4>, GROUP>;
    @registers var own_bonus: array<f32, GROUP>;`,
    before: "",
    after: "",
    own: { k: "own_k[d]", e: "own_e[d]", q: "own_q[r][d]", bonus: "own_bonus[r]" },
    shared: {
      k: "subgroupShuffle(own_k[d], j)",
      e: "subgroupShuffle(own_e[d], j)",
      q: "subgroupShuffle(own_q[r][d], j)",
      bonus: "subgroupShuffle(own_bonus[r], j)",
      gate: "subgroupShuffle(own_gate, j)",
    },
  },
  workgroup: {
    memory: `
var<workgroup> staged_k: array<vec4f, TOKENS * D4>;
var<workgroup> staged_e: array<vec4f, select(1u, TOKENS * D4, CHANNEL_GATE)>;
var<workgroup> staged_q: array<vec4f, select(1u, GROUP * TOKENS * D4, OUTPUTS)>;
var<workgroup> staged_bonus: array<f32, select(1u, GROUP * TOKENS, BONUS)>;
var<workgroup> staged_gate: array<f32, TOKENS>;`,
    declare: "",
    before: "workgroupBarrier();\n    if lane < TOKENS {",
    after: "staged_gate[lane] = own_gate;\n    }\n    workgroupBarrier();",
    own: {
      k: "staged_k[lane * D4 + d]",
      e: "staged_e[lane * D4 + d]",
      q: "staged_q[(r * TOKENS + lane) * D4 + d]",
      bonus: "staged_bonus[r * TOKENS + lane]",
    },
    shared: {
      k: "staged_k[j * D4 + d]",
      e: "staged_e[j * D4 + d]",
      q: "staged_q[(r * TOKENS + j) * D4 + d]",
      bonus: "staged_bonus[r * TOKENS + j]",
      gate: "staged_gate[j]",
    },
  },
};
