import type { Tensor } from "../../gpu/tensor.ts";

/** The state of a recurrence with a running sum of the keys. */
export interface RecurrenceState {
  /** S, `[N, HV, K, V]` or `[N, HV, V, K]`, f32. */
  s: Tensor<"f32">;
  /** The running sum of the keys, `[N, HV, K]`, f32. */
  z: Tensor<"f32">;
}

/** Options that all recurrences over sequences share. */
export interface SequenceOptions {
  /**
   * Multiplies what a query reads.
   *
   * @default {K^-1/2}
   */
  scale?: number;
  /**
   * Whether the state behind the last token of each sequence is returned.
   *
   * @default {false}
   */
  finalState?: boolean;
  /**
   * The order of the axes of states: `[N, HV, K, V]` or `[N, HV, V, K]`.
   *
   * @default {"kv"}
   */
  stateLayout?: "kv" | "vk";
  /**
   * i32 `[N + 1]`, made from data: cuts the tokens of a batch of 1 into N sequences, which may be empty.
   */
  cuSeqlens?: Tensor<"i32">;
  /**
   * Runs each sequence from its last token to its first; tensors stay in the order of the tokens.
   *
   * @default {false}
   */
  reverse?: boolean;
  /**
   * How the tokens are walked: one after the other, or chunks in parallel with a pass between them.
   *
   * @default {"auto"}
   */
  mode?: "auto" | "chunk" | "loop";
  /**
   * Tokens of a chunk.
   *
   * @default {64}
   */
  chunkSize?: 16 | 32 | 64;
  /** Overrides the kernel: the name of a valid schedule. */
  schedule?: string;
}

/** Options of {@linkcode recurrence}; B batch, T tokens, HV state heads, K and V head dims. */
export interface RecurrenceOptions extends SequenceOptions {
  /** Log decay, f32 or f16: `[HV]`, `[B, T, HV]` or `[B, T, HV, K]`; 0 keeps, −∞ clears the state. */
  g?: Tensor;
  /** Log decay of the value channels, f32 or f16: `[B, T, HV, V]`. */
  gv?: Tensor;
  /** Step of the delta rule, f32 or f16 `[B, T, HV]`: a token writes beta (v − p diag(e^g) S) for v. */
  beta?: Tensor;
  /** What the delta rule reads, f32 or f16 `[B, T, HK, K]` or `[B, T, HV, K]`; k by default. */
  p?: Tensor;
  /** With b: adds bᵀ(a S), S before the decay; f32 or f16 `[B, T, HK, K]` or `[B, T, HV, K]`. */
  a?: Tensor;
  /** Where what a reads is written, of either shape. */
  b?: Tensor;
  /** Bonus of a token's own key, f32 or f16: `[H, K]`; a token then reads the state before its write. */
  u?: Tensor;
  /**
   * Whether outputs are divided by what the query reads from the running sum of the keys, plus `eps`.
   *
   * @default {false}
   */
  normalize?: boolean;
  /**
   * Added to the divisor.
   *
   * @default {1e-10}
   */
  eps?: number;
  /** The state that the first token of each sequence finds, f32; a record with `normalize`; 0 by default. */
  initialState?: Tensor<"f32"> | RecurrenceState;
}
