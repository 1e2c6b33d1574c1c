import type { ParamType } from "../../gpu/program.ts";
import type { Elem, InputSource } from "../shared/rows.ts";

/** What a token's gate multiplies before its key is written. */
export type GateShape =
  | "none"
  | "head" // one decay for all tokens of a head
  | "token" // one for each token of a head
  | "channel"; // one for each key channel of a token

/** What a recurrence kernel must know when it is compiled: the description of the mathematics. */
export interface RecurrenceConfig {
  /** Storage of q, k, v and out. */
  readonly elem: Elem;
  /** K. */
  readonly keyDim: number;
  /** V. */
  readonly valueDim: number;
  /** Outputs that read one state. */
  readonly group: number;
  readonly gate: GateShape;
  /** Storage of the gates. */
  readonly gateElem: Elem;
  /** Storage of the gates of value channels, or null without them. */
  readonly valueGate: Elem | null;
  /** Storage of the bonus, with which a token reads the state before its write, or null without. */
  readonly bonus: Elem | null;
  /** Whether outputs are divided by what the query reads from the running sum of the keys. */
  readonly normalize: boolean;
  /** Whether sequences run from their last token to their first. */
  readonly reverse: boolean;
  /** Whether the state is stored with V before K. */
  readonly valueFirst: boolean;
  /** Where tokens are read. */
  readonly source: InputSource;
}

/** Run-time parameters that all passes share. */
export const RECURRENCE_PARAMS: Readonly<Record<string, ParamType>> = {
  segment0: "u32", // first segment of this launch
  qHeads: "u32", // HQ
  kHeads: "u32", // HK
  heads: "u32", // HV
  bonusHeads: "u32",
  scale: "f32",
  eps: "f32",
};

/** Words of a row of the table of segments. */
export const SEGMENT_WORDS = 4;
