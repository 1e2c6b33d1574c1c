import type { Accessor, Elem, InputSource } from "../shared/rows.ts";
import { GATED, LINEAR } from "./linear.ts";
import { LOG_SUM } from "./log_sum.ts";
import { MLSTM_EXP, MLSTM_SIGMOID } from "./mlstm.ts";
import { SOFTMAX } from "./softmax.ts";

/** Scans along time that are operators, by their names. */
export type ScanOperator = "scan" | "hgrn" | "logCumsumExp" | "softmaxScan";

/** What is scanned along time: those, and the gates of the mLSTM with either input gate. */
export type ScanKind = ScanOperator | "mlstmExp" | "mlstmSigmoid";

/** What a walk over tokens must know of its inputs when it is compiled. */
export interface ScanInputs {
  /** Storage of b, x, v or i, and of out. */
  readonly elem: Elem;
  /** Storage of the decays a, of the gates g or f, or of the scores s. */
  readonly weightElem: Elem;
  /** Channels of a row. */
  readonly width: number;
  /** Where rows of vec4s are read. */
  readonly source: InputSource;
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
  /**
   * Whether a walk combines what it found with what its own tokens did, ANCHOR_TOKENS at a time, instead
   * of token after token: what chunks of no more tokens leave then is, to the bit, what the pass between
   * them finds, and where tokens are alike rounding does not take the same from each.
   */
  readonly anchored?: boolean;
  /** `token(row, c)`: the element of a token. */
  token(inputs: ScanInputs): ElementPart;
  /** `given(row, c)`: the element of a state. */
  given(width: number): ElementPart;
  /** `leave(row, c, element)`: stores the state of an element. */
  left(width: number): ElementPart;
}

/** Tokens of which a walk adds up what they do before it joins what came before them. */
export const ANCHOR_TOKENS = 64;

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
  mlstmExp: MLSTM_EXP,
  mlstmSigmoid: MLSTM_SIGMOID,
};
