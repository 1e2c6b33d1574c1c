import type { Tensor } from "../../gpu/tensor.ts";
import type { SequenceOptions } from "../recurrence/options.ts";

/** The state of {@linkcode logLinearAttention}. */
export interface LogLinearState {
  /** The state of each level, f32 `[N, HV, L, K, V]` or `[N, HV, L, V, K]`. */
  s: Tensor<"f32">;
  /** How many tokens each sequence has had, i32 `[N]`: they decide which levels hold something. */
  t: Tensor<"i32">;
}

/** Options of {@linkcode logLinearAttentionStep}. */
export interface LogLinearStepOptions extends Pick<SequenceOptions, "stateLayout" | "schedule"> {
  /**
   * Multiplies what a query reads.
   *
   * @default {1}
   */
  scale?: number;
}

/** Options of {@linkcode logLinearAttention}. */
export interface LogLinearAttentionOptions
  extends LogLinearStepOptions, Pick<SequenceOptions, "finalState" | "cuSeqlens"> {
  /** The state that the first token of each sequence finds; that of no token by default. */
  initialState?: LogLinearState;
}

/** The options of a step, by name. */
export const STEP_OPTIONS: readonly (keyof LogLinearStepOptions)[] = [
  ...["scale", "stateLayout", "schedule"] as const,
];

/** The options of sequences, by name. */
export const OPTIONS: readonly (keyof LogLinearAttentionOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens"] as const,
];
