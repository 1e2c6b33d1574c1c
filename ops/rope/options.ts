import type { Tensor } from "../../gpu/tensor.ts";

/** Options of {@linkcode rope}; B batch, T tokens, D channels, A axes of positions. */
export interface RopeOptions {
  /**
   * Pair i of a section of d channels turns by base^(−2i / d) radians a position.
   *
   * @default {10000}
   */
  base?: number;
  /**
   * Channels that rotate, the first of each head; the others are copied.
   *
   * @default {D}
   */
  dims?: number;
  /**
   * Whether channels 2i and 2i + 1 are a pair, as in RoFormer and GPT-J; else i and i + d / 2 of a
   * section of d channels are, as in LLaMA and GPT-NeoX.
   *
   * @default {false}
   */
  interleaved?: boolean;
  /**
   * Positions of tokens, i32 or f32: `[T]` or `[B, T]`; where there are several axes `[T, A]` or
   * `[B, T, A]`. By default tokens count from 0 on each token axis of x.
   */
  positions?: Tensor;
  /**
   * Added to positions, on all axes or on each; an integer.
   *
   * @default {0}
   */
  offset?: number | readonly number[];
  /**
   * How many positions a token has, by default one for each token axis of x.
   *
   * @default {"1d"}
   */
  axes?: "1d" | "2d" | "3d";
  /** Channels that rotate with each axis, in order, even, dims together; equal shares by default. */
  sections?: readonly number[];
  /**
   * Positions are divided by it, from 1e-4 to 1e6.
   *
   * @default {1}
   */
  scaling?: number;
  /** Radians a position of all pairs, section by section, f32 `[dims / 2]`, below 2^24; in place of base. */
  frequencies?: Tensor<"f32">;
}
