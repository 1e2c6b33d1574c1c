import type { Accessor, Elem } from "../shared/rows.ts";
import { GATED, LINEAR } from "./linear.ts";
import { LOG_SUM } from "./log_sum.ts";
import { SOFTMAX } from "./softmax.ts";

/** What is scanned along time, by the name of its operator. */
export type ScanKind = "scan" | "hgrn" | "logCumsumExp" | "softmaxScan";

/** What a walk over tokens must know of its inputs when it is compiled. */
export interface ScanInputs {
  /** Storage of b, x or v, and of out. */
  readonly elem: Elem;
  /** Storage of the decays a, of the gates g, or of the scores s. */
  readonly weightElem: Elem;
  /** Channels of a row. */
  readonly width: number;
}

/** WGSL and the bindings that it needs. */
export interface ElementPart {
  readonly accessors: readonly Accessor[];
  readonly code: string;
}

/**
 * What tokens do to what came before them, four channels of it, as an element of a monoid.
 *
 * Runs of tokens have one as well as single tokens do, and so has what a sequence starts from: that
 * is all that walks, the pass between chunks, and states know of a scan.
 */
export interface ScanElement {
  /** `Element` of 32 bytes, `identity()`, `combined(one, other)` and `output(element)`. */
  readonly code: string;
  /** `token(row, c)`: the element of a token. */
  token(inputs: ScanInputs): ElementPart;
  /** `given(row, c)`: the element of a state. */
  given(width: number): ElementPart;
  /** `leave(row, c, element)`: stores the state of an element. */
  left(width: number): ElementPart;
}

/** Bytes of an `Element`. */
export const ELEMENT_BYTES = 32;

/** Invocations of a workgroup, in all kernels of scans. */
export const SCAN_THREADS = 64;

/** The element of each scan. */
export const ELEMENTS: Readonly<Record<ScanKind, ScanElement>> = {
  scan: LINEAR,
  hgrn: GATED,
  logCumsumExp: LOG_SUM,
  softmaxScan: SOFTMAX,
};
