import type { Elem, InputSource } from "../shared/rows.ts";

/** The tensors that a selective scan reads, but its states. */
export type SelectiveInput =
  | "u"
  | "delta"
  | "rates" // a
  | "writes" // b
  | "reads" // c
  | "skip" // d
  | "outGate" // z
  | "deltaBias";

/** What rows of an input are of, how wide they are, and whether only outputs need them. */
export interface SelectiveRows {
  readonly per: "token" | "channel" | "call";
  readonly width: "channels" | "states";
  readonly outputs: boolean;
}

/** How the inputs are laid out, in the order of their bindings. */
export const SELECTIVE_INPUTS: Readonly<Record<SelectiveInput, SelectiveRows>> = {
  u: { per: "token", width: "channels", outputs: false },
  delta: { per: "token", width: "channels", outputs: false },
  rates: { per: "channel", width: "states", outputs: false },
  writes: { per: "token", width: "states", outputs: false },
  reads: { per: "token", width: "states", outputs: true },
  skip: { per: "call", width: "channels", outputs: true },
  outGate: { per: "token", width: "channels", outputs: true },
  deltaBias: { per: "call", width: "channels", outputs: false },
};

/** Their names. */
export const SELECTIVE_NAMES = Object.keys(SELECTIVE_INPUTS) as readonly SelectiveInput[];

/** Most states of a channel: each is a register. */
export const MAX_STATES = 64;

/** What kernels of a selective scan must know when they are compiled. */
export interface SelectiveConfig {
  /** Storage of the inputs that are there. */
  readonly inputs: Readonly<Partial<Record<SelectiveInput, Elem>>>;
  /** C. */
  readonly channels: number;
  /** N, states of a channel. */
  readonly states: number;
  /** Whether step sizes go through softplus. */
  readonly softplus: boolean;
  /** Whether sequences run from their last token to their first. */
  readonly reverse: boolean;
}

/** What one pass does with its segments. */
export interface SelectivePass {
  /** Whether they start from stored states instead of 0. */
  readonly initial: boolean;
  /** Whether the states behind them are stored. */
  readonly final: boolean;
  /** Whether outputs are written; else the sums of the step sizes are, of which decays are made. */
  readonly outputs: boolean;
}

/** How a workgroup is laid out. */
export interface SelectiveTile {
  /**
   * How b and c of a token reach the channels: through a subgroup, by `subgroupShuffle` in a loop or by
   * `subgroupBroadcast` in unrolled text, or through workgroup memory.
   */
  readonly exchange: "subgroup" | "broadcast" | "workgroup";
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** Channels that an invocation owns. */
  readonly own: 1 | 4;
  /** Tokens that are loaded at a time, at most one for each lane. */
  readonly tokens: number;
  /** Where rows of whole vec4s are read. */
  readonly source: InputSource;
}

/** Elements of a row of an input. */
export function selectiveWidth(
  name: SelectiveInput,
  sizes: Pick<SelectiveConfig, "channels" | "states">,
): number {
  return sizes[SELECTIVE_INPUTS[name].width];
}
