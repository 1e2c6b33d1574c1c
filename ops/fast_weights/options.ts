import type { Tensor } from "../../gpu/tensor.ts";
import type { SequenceOptions } from "../recurrence/options.ts";

/** Options that all fast weights share. */
export type FastWeightsOptions =
  & Pick<SequenceOptions, "scale" | "finalState" | "stateLayout" | "cuSeqlens" | "schedule">
  & {
    /** Tokens of a mini-batch, whose last one of a sequence may have fewer; part of the model. */
    miniBatch?: number;
  };

/** The state of {@linkcode tttLinear}: the linear model that it trains. */
export interface TttLinearState {
  /** The weights W, f32 `[N, HV, D, D]`, or with both axes swapped where the layout is `"vk"`. */
  w: Tensor<"f32">;
  /** The bias c, f32 `[N, HV, D]`. */
  b: Tensor<"f32">;
}

/** Options of {@linkcode tttLinear}; D head dim. */
export interface TttLinearOptions extends FastWeightsOptions {
  /**
   * Tokens of a mini-batch; the last one of a sequence may have fewer. It is part of the model: another
   * size gives other outputs.
   *
   * @default {16}
   */
  miniBatch?: number;
  /**
   * Added to the variance in the layer norm.
   *
   * @default {1e-6}
   */
  eps?: number;
  /** The state that the first token of each sequence finds; 0 by default. */
  initialState?: TttLinearState;
}

/** Options of {@linkcode tttLinearStep}. */
export type TttLinearStepOptions = Pick<
  TttLinearOptions,
  "eps" | "scale" | "stateLayout" | "schedule"
>;

/** The state of {@linkcode titansMemory}. */
export interface TitansMemoryState {
  /** The memory M, f32 `[N, HV, K, V]`, or `[N, HV, V, K]` where the layout is `"vk"`. */
  m: Tensor<"f32">;
  /** The momentum S, of the same shape. */
  s: Tensor<"f32">;
}

/** How the memory of Titans learns. */
export interface TitansRates {
  /** The learning rates θ, f32 or f16 `[B, T, HV]`. */
  theta: Tensor;
  /** How much of the momentum stays, in [0, 1], f32 or f16 `[B, T, HV]`; without it 0, no momentum. */
  eta?: Tensor;
  /** How much of the memory is forgotten, in [0, 1], f32 or f16 `[B, T, HV]`; without it 0. */
  alpha?: Tensor;
}

/** Options of {@linkcode titansMemory}; K and V head dims. */
export interface TitansMemoryOptions extends FastWeightsOptions, TitansRates {
  /**
   * Tokens whose gradients are taken from the same memory, the one that the first of them finds; the
   * last ones of a sequence may be fewer. It is part of the model: another number gives other outputs.
   *
   * @default {1}
   */
  miniBatch?: number;
  /** The state that the first token of each sequence finds; 0 by default. */
  initialState?: TitansMemoryState;
}

/** Options of {@linkcode titansMemoryStep}. */
export type TitansMemoryStepOptions =
  & TitansRates
  & Pick<TitansMemoryOptions, "scale" | "stateLayout" | "schedule">;
