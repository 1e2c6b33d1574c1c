import type { Ceilings } from "../ceilings.ts";
import type { Growth } from "./growth.ts";
import type { Roofline } from "./roofline.ts";

/** The dispatches or copies of one label, timed together. */
export interface Pass {
  readonly label: string;
  /** Dispatches or copies of a call. */
  readonly count: number;
  readonly minMs: number;
  readonly medianMs: number;
  /** Of the medians of all passes. */
  readonly share: number;
}

/** What `profile --json` prints for one problem. */
export interface Profile {
  readonly operator: string;
  /** One line that tells the problem from its neighbours. */
  readonly name: string;
  readonly problem: object;
  readonly adapter: string;
  readonly schedule: string;
  readonly minMs: number;
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly runs: number;
  readonly timer: "timestamps" | "wall clock";
  readonly flops: number;
  readonly bytes: number;
  readonly gflops: number;
  readonly gbps: number;
  readonly ceilingGflops: number;
  readonly ceilingGbps: number;
  readonly fractionOfCeiling: number;
  readonly roofline: Roofline;
  /** In the order in which a call records them; absent without timestamps. */
  readonly passes?: readonly Pass[];
  readonly rmsErrorRatio: number;
  readonly peakBytes: number;
  readonly compileMs: number;
  readonly naiveMs?: number;
  readonly speedup?: number;
  readonly unfusedMs?: number;
  readonly denseMs?: number;
  readonly attentionMs?: number;
  readonly loopMs?: number;
  /** The same call without hooks. */
  readonly plainMs?: number;
  /** Compiling the block map. */
  readonly mapMs?: number;
  /** Share of visible pairs. */
  readonly density?: number;
  /** Share of visited tiles. */
  readonly tileDensity?: number;
  /** Against the own dense kernel on the same tokens. */
  readonly speedupOverDense?: number;
  /** What the tile model allows. */
  readonly workBound?: number;
  readonly ratioToBound?: number;
  /** Of operators whose time grows with the tokens alone. */
  readonly tokensPerSecond?: number;
  readonly bytesPerToken?: number;
}

/** What a call of `profile` measured. */
export interface ProfileRun {
  /** The command that does it again. */
  readonly command: string;
  /** When, in ISO 8601. */
  readonly date: string;
  readonly adapter: string;
  readonly ceilings: Ceilings;
  readonly profiles: readonly Profile[];
  /** Of a sweep of a length. */
  readonly growth: Growth | undefined;
  /** Problems of the built-in set that this adapter cannot run. */
  readonly leftOut: readonly LeftOut[];
}

/** A problem that was not measured, and why. */
export interface LeftOut {
  readonly operator: string;
  readonly name: string;
  readonly reason: string;
}
