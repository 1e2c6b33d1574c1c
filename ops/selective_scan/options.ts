import type { Tensor } from "../../gpu/tensor.ts";
import type { SequenceOptions } from "../recurrence/options.ts";

/** What {@linkcode selectiveScan} does to its steps and its output; C channels. */
export interface SelectiveScanForm {
  /** The skip connection: d · u is added to the output, `[C]`, f32 or f16. */
  d?: Tensor;
  /** The output gate: the output, skip connection included, is multiplied by silu(z), `[B, T, C]`. */
  z?: Tensor;
  /** Added to delta, `[C]`, f32 or f16. */
  deltaBias?: Tensor;
  /**
   * Whether delta, bias included, goes through softplus.
   *
   * @default {false}
   */
  deltaSoftplus?: boolean;
}

/** Options of {@linkcode selectiveScan}; C channels of N states. */
export interface SelectiveScanOptions
  extends SelectiveScanForm, Omit<SequenceOptions, "scale" | "stateLayout" | "chunkSize"> {
  /** The states that the first token of each sequence finds, f32, `[C, N]` for each; 0 by default. */
  initialState?: Tensor<"f32">;
  /**
   * Tokens of a chunk.
   *
   * @default {64}
   */
  chunkSize?: 16 | 32 | 64 | 128 | 256;
}

/** Options of {@linkcode selectiveScanStep}. */
export type SelectiveScanStepOptions = SelectiveScanForm & Pick<SelectiveScanOptions, "schedule">;

/** The options of a step, by name. */
export const STEP_OPTIONS: readonly (keyof SelectiveScanStepOptions)[] = [
  ...["d", "z", "deltaBias", "deltaSoftplus", "schedule"] as const,
];

/** The options of a scan, by name. */
export const SCAN_OPTIONS: readonly (keyof SelectiveScanOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"] as const,
];
