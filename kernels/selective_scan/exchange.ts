import { IN_TEXT, ONE_BY_ONE, type TokenWalk } from "../shared/token_walk.ts";

/** A way to hand b and c of tokens round. */
interface SelectiveExchange extends TokenWalk {
  /** Variables of the module, and of a tile of tokens. */
  readonly memory: string;
  readonly declare: string;
  /** Around the loads of the own rows. */
  readonly before: string;
  readonly after: string;
  /** What is loaded of the own token, and read of token j. */
  readonly own: Readonly<Record<"b" | "c", string>>;
  readonly shared: Readonly<Record<"b" | "c", string>>;
}

/** Through the registers of lanes. */
function lanes(
  hand: "subgroupShuffle" | "subgroupBroadcast",
): Omit<SelectiveExchange, keyof TokenWalk> {
  return {
    memory: "",
    declare: `
    @registers var own_b: array<vec4f, N4>;
    @registers var own_c: array<vec4f, N4>;`,
    before: "",
    after: "",
    own: { b: "own_b[i]", c: "own_c[i]" },
    shared: { b: `${hand}(own_b[i], j)`, c: `${hand}(own_c[i], j)` },
  };
}

/** How an invocation reads b and c of the j-th token once they are loaded. */
export const SELECTIVE_EXCHANGES: Readonly<
  Record<"subgroup" | "broadcast" | "workgroup", SelectiveExchange>
> = {
  subgroup: { ...lanes("subgroupShuffle"), ...ONE_BY_ONE },
  broadcast: { ...lanes("subgroupBroadcast"), ...IN_TEXT },
  workgroup: {
    ...ONE_BY_ONE,
    memory: `
var<workgroup> staged_b: array<vec4f, TOKENS * N4>;
var<workgroup> staged_c: array<vec4f, select(1u, TOKENS * N4, OUTPUTS)>;`,
    declare: "",
    before: "workgroupBarrier();\n    if lane < TOKENS {",
    after: "}\n    workgroupBarrier();",
    own: { b: "staged_b[lane * N4 + i]", c: "staged_c[lane * N4 + i]" },
    shared: { b: "staged_b[j * N4 + i]", c: "staged_c[j * N4 + i]" },
  },
};
