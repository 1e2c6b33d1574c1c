import type { RecurrenceConfig } from "./config.ts";

/** What one pass does with its segments. */
export interface LoopPass {
  /** Whether they start from a stored state instead of 0. */
  readonly initial: boolean;
  /** Whether they start from the unit matrix, and so leave what they make of any state. */
  readonly identity: boolean;
  /** Whether the state behind them is stored. */
  readonly final: boolean;
  /** Whether outputs are written. */
  readonly outputs: boolean;
  /** Whether tokens write to the state; else they only read it. */
  readonly writes: boolean;
  /** Whether tokens meet by the Taylor series of their scores, and read the state at the entry. */
  readonly series: boolean;
  /** Whether the weights of a query are shifted to a mean of 1 / keys. */
  readonly center: boolean;
  /** Whether the products of their decays are stored. */
  readonly decays: boolean;
}

/** What reaches the tensors of a pass. */
export interface PassConfig extends RecurrenceConfig, LoopPass {}
