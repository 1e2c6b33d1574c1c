import { IN_TEXT, ONE_BY_ONE, type TokenWalk } from "../shared/token_walk.ts";

/** What is handed round of a token, at channels 4 d to 4 d + 3, by the name of its variable. */
const ROWS = ["k", "e", "p", "b"] as const;

/** Text about what a token has, by the name of its variable. */
type Texts<Name extends string> = Readonly<Record<Name, string>>;

/** A way to hand rows round. */
interface Exchange extends TokenWalk {
  /** Variables of the module, and of a tile of tokens. */
  readonly memory: string;
  readonly declare: string;
  /** Around the loads of the own rows. */
  readonly before: string;
  readonly after: string;
  /** Behind the loads: what lanes have whose tokens are not there. */
  readonly absent: string;
  /** What is loaded of the own token, and read of token j. */
  readonly own: Texts<"k" | "e" | "p" | "b" | "q" | "bonus">;
  readonly shared: Texts<"k" | "e" | "p" | "b" | "q" | "bonus" | "gate" | "beta">;
}

/** What is not there adds nothing and keeps everything. */
const ABSENT = /* wgsl */ `
    if first + lane >= count {
      own_gate = 1.0;
      @unroll for (var d = 0u; d < D4; d++) {
        own_k[d] = vec4f();
        own_e[d] = vec4f(1.0);
        own_b[d] = vec4f();
      }
    }`;

/** Through the registers of lanes. */
function lanes(
  hand: "subgroupShuffle" | "subgroupBroadcast",
): Omit<Exchange, "absent" | keyof TokenWalk> {
  const handed = (name: string): string => `${hand}(own_${name}, j)`;
  return {
    memory: "",
    declare: `
    ${ROWS.map((row) => `@registers var own_${row}: array<vec4f, D4>;`).join("\n    ")}
    @registers var own_q: array<array<vec4f, D4>, GROUP>;
    @registers var own_bonus: array<f32, GROUP>;`,
    before: "",
    after: "",
    own: {
      ...{ k: "own_k[d]", e: "own_e[d]", p: "own_p[d]", b: "own_b[d]" },
      ...{ q: "own_q[r][d]", bonus: "own_bonus[r]" },
    },
    shared: {
      ...{ k: handed("k[d]"), e: handed("e[d]"), p: handed("p[d]"), b: handed("b[d]") },
      ...{ q: handed("q[r][d]"), bonus: handed("bonus[r]") },
      ...{ gate: handed("gate"), beta: handed("beta") },
    },
  };
}

/** How an invocation reads the rows of the j-th token once each is loaded by one invocation. */
export const EXCHANGES: Readonly<Record<"subgroup" | "broadcast" | "workgroup", Exchange>> = {
  subgroup: { ...lanes("subgroupShuffle"), ...ONE_BY_ONE, absent: "" },
  broadcast: { ...lanes("subgroupBroadcast"), ...IN_TEXT, absent: ABSENT },
  workgroup: {
    ...ONE_BY_ONE,
    absent: "",
    memory: `
var<workgroup> staged_k: array<vec4f, TOKENS * D4>;
var<workgroup> staged_e: array<vec4f, select(1u, TOKENS * D4, CHANNEL_GATE)>;
var<workgroup> staged_p: array<vec4f, select(1u, TOKENS * D4, ERASE_ROWS)>;
var<workgroup> staged_b: array<vec4f, select(1u, TOKENS * D4, PAIR)>;
var<workgroup> staged_q: array<vec4f, select(1u, GROUP * TOKENS * D4, OUTPUTS)>;
var<workgroup> staged_bonus: array<f32, select(1u, GROUP * TOKENS, BONUS)>;
var<workgroup> staged_gate: array<f32, TOKENS>;
var<workgroup> staged_beta: array<f32, TOKENS>;`,
    declare: "",
    before: "workgroupBarrier();\n    if lane < TOKENS {",
    after: `staged_gate[lane] = own_gate;
    staged_beta[lane] = own_beta;
    }
    workgroupBarrier();`,
    own: {
      ...{ k: "staged_k[lane * D4 + d]", e: "staged_e[lane * D4 + d]" },
      ...{ p: "staged_p[lane * D4 + d]", b: "staged_b[lane * D4 + d]" },
      ...{ q: "staged_q[(r * TOKENS + lane) * D4 + d]", bonus: "staged_bonus[r * TOKENS + lane]" },
    },
    shared: {
      ...{ k: "staged_k[j * D4 + d]", e: "staged_e[j * D4 + d]" },
      ...{ p: "staged_p[j * D4 + d]", b: "staged_b[j * D4 + d]" },
      ...{ q: "staged_q[(r * TOKENS + j) * D4 + d]", bonus: "staged_bonus[r * TOKENS + j]" },
      ...{ gate: "staged_gate[j]", beta: "staged_beta[j]" },
    },
  },
};
