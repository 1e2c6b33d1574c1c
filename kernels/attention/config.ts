import type { Elem, InputSource, Rows } from "../shared/rows.ts";
import type { ParamType } from "../../gpu/program.ts";
import type { HooksConfig } from "./hooks.ts";
import type { PatternConfig } from "./pattern.ts";
import type { WeightConfig } from "./weights.ts";

/**
 * What an attention kernel must know when it is compiled, whatever its schedule: the description
 * of the mathematics. Lengths, strides and scales are run-time parameters.
 */
export interface AttentionConfig {
  /** Storage of q, k and v. */
  readonly elem: Elem;
  /** Storage of the output: that of q, or f32 for a partial result. */
  readonly outElem: Elem;
  /** D. */
  readonly headDim: number;
  /** Dv. */
  readonly valueDim: number;
  /** Which keys a query sees. */
  readonly pattern: PatternConfig;
  /** Whether scores pass through cap · tanh(s / cap). */
  readonly softcap: boolean;
  /** Storage of the bias, or null without one. */
  readonly bias: Elem | null;
  /** Storage of the logit per head that joins the denominator, or null without one. */
  readonly sinks: Elem | null;
  /** Storage of the gain of each query and head, or null without one. */
  readonly gates: Elem | null;
  /** How scores become weights. */
  readonly weight: WeightConfig;
  /** What users wrote. */
  readonly hooks: HooksConfig;
  /** Whether lse, or what the weights have in its place, is written. */
  readonly lse: boolean;
  /** Where q, k and v are read. */
  readonly source: InputSource;
}

/** Run-time parameters that all kernels share; shaders spell them `params.q_len`. */
export const ATTENTION_PARAMS: Readonly<Record<string, ParamType>> = {
  qLen: "u32", // T
  kvLen: "u32", // S
  heads: "u32", // Hq
  kvHeads: "u32", // Hkv
  group: "u32", // Hq / Hkv
  b0: "u32", // first batch entry, head and part of this launch
  h0: "u32",
  part0: "u32",
  parts: "u32", // parts of the keys in this launch
  partRows: "u32", // rows of one part in the output: parts are stacked
  qScale: "f32", // folded into q: scale · log2 e (scale, where scores are natural), or scale / softcap
  cap: "f32", // softcap · log2 e, or softcap
  biasB: "u32", // strides of the bias in elements, 0 where it broadcasts
  biasH: "u32",
  biasT: "u32",
  biasFirst: "u32",
  qFirst: "u32", // first row of each bound range
  kFirst: "u32",
  vFirst: "u32",
  additionalKeysFirst: "u32",
  additionalValuesFirst: "u32",
  outFirst: "u32",
  lseFirst: "u32",
};

/** The tensors of a configuration as rows. */
export function attentionRows(
  config: AttentionConfig,
): Record<"q" | "k" | "v" | "additionalKeys" | "additionalValues" | "out", Rows> {
  const { elem, headDim, valueDim } = config;
  return {
    q: { name: "q", elem, width: headDim },
    k: { name: "k", elem, width: headDim },
    v: { name: "v", elem, width: valueDim },
    additionalKeys: { name: "additionalKeys", elem, width: headDim },
    additionalValues: { name: "additionalValues", elem, width: valueDim },
    out: { name: "out", elem: config.outElem, width: valueDim },
  };
}
