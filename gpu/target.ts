import type { Pipeline } from "./pipeline.ts";

/** Where commands go: the recorder's own encoder, or one that the caller submits. */
export interface Target {
  /** Takes them. */
  readonly encoder: GPUCommandEncoder;
  /** The pass that is open. */
  pass: GPUComputePassEncoder | null;
  /** The caller submits it, at a time that the recorder does not learn. */
  readonly foreign: boolean;
  /** What was launched here: a caller may never submit it. */
  readonly launched: WeakSet<Pipeline>;
}

/** A target without commands; `launched` is what earlier ones launched, or null where it is foreign. */
export function newTarget(encoder: GPUCommandEncoder, launched: Target["launched"] | null): Target {
  return { encoder, pass: null, foreign: launched === null, launched: launched ?? new WeakSet() };
}
