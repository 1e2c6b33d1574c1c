import type { Float64Tensor, ReferenceTensor } from "./tensor.ts";

/** Options for {@linkcode rope}; B batch, T tokens, D channels, A axes of positions. */
export interface RopeOptions {
  /**
   * Pair i of a section of d channels turns by base^(-2i / d) radians a position.
   *
   * @default {10000}
   */
  base?: number;
  /**
   * How many channels rotate, the first of each head.
   *
   * @default {D}
   */
  dims?: number;
  /**
   * Whether neighbours are pairs; else the halves of a section are paired in order.
   *
   * @default {false}
   */
  interleaved?: boolean;
  /**
   * The positions of the tokens, `[T]` or `[B, T]`, of several axes `[T, A]` or `[B, T, A]`; by default
   * tokens count from 0 on each token axis.
   *
   * @default {undefined}
   */
  positions?: ReferenceTensor;
  /**
   * Added to the positions, on all axes or on each.
   *
   * @default {0}
   */
  offset?: number | readonly number[];
  /**
   * How many positions a token has, by default one for each token axis.
   *
   * @default {"1d"}
   */
  axes?: "1d" | "2d" | "3d";
  /**
   * How many channels rotate with each axis; equal shares by default.
   *
   * @default {undefined}
   */
  sections?: readonly number[];
  /**
   * What positions are divided by.
   *
   * @default {1}
   */
  scaling?: number;
  /**
   * Radians a position of all pairs, section by section, `[dims / 2]`, in place of `base`.
   *
   * @default {undefined}
   */
  frequencies?: ReferenceTensor;
}

/**
 * Rotary positions: pairs of channels turn by position times frequency, (a, b) becomes (a cos θ - b sin θ,
 * b cos θ + a sin θ). With several axes a section of the channels turns with each.
 *
 * @param x The queries or keys, `[B, T, H, D]`, `[B, X, Y, H, D]` or `[B, X, Y, Z, H, D]`.
 * @param options Frequencies, pairs and positions.
 * @returns What x has become, of its shape.
 *
 * @example A quarter turn for each position
 * ```ts
 * import { rope } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const x = { data: [2, 0, 2, 0], shape: [1, 2, 1, 2] };
 *
 * const { data } = rope(x, { frequencies: { data: [Math.PI / 2], shape: [1] } });
 *
 * assertAlmostEquals(data[0], 2); // position 0
 * assertAlmostEquals(data[2], 0, 1e-15); // position 1
 * assertAlmostEquals(data[3], 2);
 * ```
 */
export function rope(x: ReferenceTensor, options: RopeOptions = {}): Float64Tensor {
  const [heads, headDim] = x.shape.slice(-2);
  const [batch, ...grid] = x.shape.slice(0, -2);
  const length = grid.reduce((product, size) => product * size, 1);
  const { dims = headDim, base = 10000, interleaved = false, scaling = 1 } = options;
  const axes = options.axes === undefined ? grid.length : Number(options.axes[0]);
  const sections = options.sections ?? Array.from({ length: axes }, () => dims / axes);
  const out = Float64Array.from(x.data);

  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < length; t++) {
      let [first, pair] = [0, 0];
      for (let axis = 0; axis < axes; axis++) {
        const size = sections[axis];
        const position = positionOf({ b, t, axis }, { ...options, axes, grid, length }) / scaling;
        for (let i = 0; i < size / 2; i++, pair++) {
          const angle = position * (options.frequencies?.data[pair] ?? base ** (-2 * i / size));
          const low = first + (interleaved ? 2 * i : i);
          const high = low + (interleaved ? 1 : size / 2);
          for (let h = 0; h < heads; h++) {
            const row = ((b * length + t) * heads + h) * headDim;
            const [p, q] = [x.data[row + low], x.data[row + high]];
            out[row + low] = p * Math.cos(angle) - q * Math.sin(angle);
            out[row + high] = q * Math.cos(angle) + p * Math.sin(angle);
          }
        }
        first += size;
      }
    }
  }
  return { data: out, shape: x.shape };
}

/** The position of a token on an axis, offset included. */
function positionOf(
  { b, t, axis }: { b: number; t: number; axis: number },
  { positions, offset = 0, axes, grid, length }: Pick<RopeOptions, "positions" | "offset"> & {
    axes: number;
    grid: readonly number[];
    length: number;
  },
): number {
  const start = typeof offset === "number" ? offset : offset[axis];
  if (positions) {
    const shared = positions.data.length === length * axes;
    return positions.data[((shared ? 0 : b * length) + t) * axes + axis] + start;
  }
  if (axes === 1) return t + start;
  const inner = grid.slice(axis + 1).reduce((product, size) => product * size, 1);
  return Math.floor(t / inner) % grid[axis] + start;
}
