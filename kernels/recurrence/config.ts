import type { ParamType } from "../../gpu/program.ts";
import type { Elem, InputSource } from "../shared/rows.ts";

/** What a token's gate multiplies before its key is written. */
export type GateShape =
  | "none"
  | "head" // one decay for all tokens of a head
  | "token" // one for each token of a head
  | "channel" // one for each key channel of a token
  | "forget"; // the same, and the keys, from one tensor of forget gates before their sigmoid (HGRN2)

/** What is applied to each channel of queries and keys when they are loaded. */
export type FeatureMap = "identity" | "elu1" | "relu" | "exp";

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
  readonly featureMap: FeatureMap;
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
  lowerBound: "f32", // of forget gates
};

/** Words of a row of the table of segments. */
export const SEGMENT_WORDS = 4;

/** `feature(x)` of one channel, and the sigmoid, as WGSL. */
export function featureCode(featureMap: FeatureMap): string {
  const features = {
    identity: "x",
    elu1: "select(exp2(LOG2E * min(x, 0.0)), x + 1.0, x > 0.0)",
    relu: "max(x, 0.0)",
    exp: "exp2(LOG2E * x)",
  };
  return /* wgsl */ `
const LOG2E = 1.4426950408889634;

fn feature(x: f32) -> f32 { return ${features[featureMap]}; }

/// Saturates before its exponential overflows.
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp2(-LOG2E * clamp(x, -88.0, 88.0))); }
`;
}
