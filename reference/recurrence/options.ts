import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";

/** The state of a recurrence that is two tensors. */
export interface RecurrenceStateRecord {
  /** The state S, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  s: ReferenceTensor;
  /**
   * What else is carried: the running sum of the keys, `[N, HV, K]`; of `lightNet` the logarithm of
   * the running sum of their exponentials, `[N, HK, K]`.
   */
  z: ReferenceTensor;
}

/** The state of a recurrence that is two tensors, as the oracles return it. */
export interface Float64StateRecord extends RecurrenceStateRecord {
  /** The state S, `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  s: Float64Tensor;
  /**
   * What else is carried: the running sum of the keys, `[N, HV, K]`; of `lightNet` the logarithm of
   * the running sum of their exponentials, `[N, HK, K]`.
   */
  z: Float64Tensor;
}

/** Options of all recurrences over packed sequences: where they begin, end, and in which order. */
export interface SequenceOptions {
  /**
   * Whether the result has the state behind the last token of each sequence.
   *
   * @default {false}
   */
  finalState?: boolean;
  /**
   * Cuts the tokens of a batch of 1 into N sequences, `[N + 1]`, integers: sequence n is the tokens
   * cuSeqlens[n] <= t < cuSeqlens[n + 1]; it may be empty. Without it N is B.
   *
   * @default {undefined}
   */
  cuSeqlens?: ReferenceTensor;
  /**
   * Runs each sequence from its last token to its first: read t + 1 for t - 1 in the definition. The
   * initial state is what the last token finds, the final state what the first one leaves; all tensors
   * stay in the order of the tokens.
   *
   * @default {false}
   */
  reverse?: boolean;
}

/** Options that the named recurrences share. */
export interface StateOptions extends SequenceOptions {
  /**
   * The factor of the read-out.
   *
   * @default {K ** -0.5}
   */
  scale?: number;
  /**
   * The state that the first token of each sequence finds, `[N, HV, K, V]`; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: ReferenceTensor;
  /**
   * The order of the axes of initial and final states: `[N, HV, K, V]` or `[N, HV, V, K]`.
   *
   * @default {"kv"}
   */
  stateLayout?: "kv" | "vk";
}

/** What the named recurrences return. */
export interface StateResult {
  /** The output, `[B, T, HO, V]`. */
  out: Float64Tensor;
  /** The state behind the last token, `[N, HV, K, V]` or `[N, HV, V, K]`, where it is asked for. */
  finalState?: Float64Tensor;
}

/** What the recurrences with a state of two tensors return. */
export interface StateRecordResult {
  /** The output, `[B, T, HO, V]`. */
  out: Float64Tensor;
  /** The state behind the last token, where it is asked for. */
  finalState?: Float64StateRecord;
}

/** Options that the recurrences with a state of two tensors share. */
export interface StateRecordOptions extends Omit<StateOptions, "initialState"> {
  /**
   * The state that the first token of each sequence finds; that of no token by default.
   *
   * @default {undefined}
   */
  initialState?: RecurrenceStateRecord;
}
