import type { ParamType } from "../../gpu/program.ts";
import type { AttentionConfig } from "../attention/config.ts";
import type { PairBand } from "./band.ts";

/** Shape of the tiles of pairs. */
export interface PairTile {
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Tokens that an invocation holds in its registers. */
  readonly rows: number;
  /** Tokens of the other side that are handed round at a time. */
  readonly columns: number;
  /**
   * How they are handed round: a workgroup is one subgroup, by `subgroupShuffle` in a loop or by
   * `subgroupBroadcast` in unrolled text; or they pass through workgroup memory.
   */
  readonly exchange: "shuffle" | "broadcast" | "stage";
}

/** What every kernel of statistics must know when it is compiled: how pairs are scored and tiled. */
export interface StatisticsConfig
  extends Pick<AttentionConfig, "elem" | "headDim" | "softcap" | "bias" | "hooks" | "source"> {
  /** Which pairs have scores. */
  readonly band: PairBand;
  readonly tile: PairTile;
}

/** Tokens that a workgroup holds. */
export function heldTokens({ threads, rows }: PairTile): number {
  return threads * rows;
}

/** Run-time parameters of all kernels of statistics. */
export const STATISTICS_PARAMS: Readonly<Record<string, ParamType>> = {
  qLen: "u32", // T
  kvLen: "u32", // S
  heads: "u32", // Hq
  kvHeads: "u32", // Hkv
  group: "u32", // Hq / Hkv
  b0: "u32", // first batch entry and head of this launch
  h0: "u32",
  t0: "u32", // first query and key
  t1: "u32", // one past the last
  j0: "u32",
  j1: "u32",
  bandLo: "i32", // query i sees keys i + bandLo to i + bandHi
  bandHi: "i32",
  qScale: "f32", // folded into what is held: scale, or scale / softcap
  cap: "f32", // softcap
  biasB: "u32", // strides of the bias in elements, 0 where it broadcasts
  biasH: "u32",
  biasT: "u32",
  biasFirst: "u32", // first element or row of each bound range
  qFirst: "u32",
  kFirst: "u32",
  lseFirst: "u32", // of lse, entropy and argMax
  outFirst: "u32", // of the sums of columns
  part0: "u32", // parts, which row numbers know: there is one
  parts: "u32",
  partRows: "u32",
};
