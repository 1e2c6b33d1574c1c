import type { ParamType } from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";

/** How weights learn from tokens: TTT-Linear, or the memory of Titans. */
export type Rule = "ttt" | "titans";

/** The tensors that weights learn from, but their states. */
export type FastInput =
  | ("q" | "k" | "v")
  | ("normWeights" | "normBias") // of the layer norm of TTT
  | ("theta" | "eta" | "alpha");

/** What rows of an input are of, and how wide they are. */
export interface FastRows {
  readonly per: "token" | "head";
  readonly heads: "qHeads" | "kHeads" | "heads";
  readonly width: "key" | "value" | "one";
}

/** How the inputs are laid out, in the order of their bindings. */
export const FAST_INPUTS: Readonly<Record<FastInput, FastRows>> = {
  q: { per: "token", heads: "qHeads", width: "key" },
  k: { per: "token", heads: "kHeads", width: "key" },
  v: { per: "token", heads: "heads", width: "value" },
  normWeights: { per: "head", heads: "heads", width: "value" },
  normBias: { per: "head", heads: "heads", width: "value" },
  theta: { per: "token", heads: "heads", width: "one" },
  eta: { per: "token", heads: "heads", width: "one" },
  alpha: { per: "token", heads: "heads", width: "one" },
};

/** Their names. */
export const FAST_NAMES = Object.keys(FAST_INPUTS) as readonly FastInput[];

/** What kernels of fast weights must know when they are compiled. */
export interface FastConfig {
  readonly rule: Rule;
  /** Storage of the inputs that are there. */
  readonly inputs: Readonly<Partial<Record<FastInput, Elem>>>;
  /** Storage of the output. */
  readonly elem: Elem;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Outputs that read one state. */
  readonly group: number;
  /** Whether matrices are stored with V before K. */
  readonly valueFirst: boolean;
  /** Whether segments start from stored states instead of 0. */
  readonly initial: boolean;
  /** Whether the states behind them are stored. */
  readonly final: boolean;
  /** Whether a segment may begin or end within a mini-batch, and finds and leaves what that has. */
  readonly parted: boolean;
}

/** How a workgroup is laid out. */
export interface FastTile {
  /** vec4 columns of the state that a workgroup has. */
  readonly columns: number;
  /** Invocations that share the rows of a column. */
  readonly slices: number;
  /** Tokens of a block. */
  readonly tokens: number;
}

/** Run-time parameters. */
export const FAST_PARAMS: Readonly<Record<string, ParamType>> = {
  segment0: "u32", // first segment of this launch
  qHeads: "u32",
  kHeads: "u32",
  heads: "u32", // HV
  miniBatch: "u32",
  scale: "f32",
  eps: "f32",
};

/** Elements of a row of an input. */
export function fastWidth(
  name: FastInput,
  { keyDim, valueDim }: Pick<FastConfig, "keyDim" | "valueDim">,
): number {
  return { key: keyDim, value: valueDim, one: 1 }[FAST_INPUTS[name].width];
}

/** `row_q(token, head, r)`, `row_k(token, head)` and `row_v(token, head)`, and what a segment says. */
export const ROW_CODE: string = /* wgsl */ `
/// The r-th of the queries that read a state.
fn row_q(token: u32, head: u32, r: u32) -> u32 {
  return token * params.q_heads + (head * GROUP + r) * params.q_heads / (params.heads * GROUP);
}
fn row_k(token: u32, head: u32) -> u32 {
  return token * params.k_heads + head * params.k_heads / params.heads;
}
/// The row of values and rates.
fn row_v(token: u32, head: u32) -> u32 { return token * params.heads + head; }

/// How many tokens of its mini-batch went before a segment.
fn met_before(segment: vec4u) -> u32 { return segment.w & 0x7fffffffu; }

/// Whether the mini-batch goes on behind the segment.
fn goes_on(segment: vec4u) -> bool { return segment.w >> 31u == 1u; }
`;
