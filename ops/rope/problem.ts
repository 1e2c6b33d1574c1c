import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { RopePairing } from "../../kernels/rope/rope.ts";
import { checkFlags, oneOf } from "../options.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";
import type { RopeOptions } from "./options.ts";

/** What a rotary embedding is to compute, validated; no tensors and no GPU. */
export interface RopeProblem {
  readonly elem: "f32" | "f16";
  readonly batch: number;
  /** Token axes of x. */
  readonly grid: readonly number[];
  readonly heads: number;
  readonly headDim: number;
  readonly base: number;
  readonly interleaved: boolean;
  readonly pairing: RopePairing;
  /** Channels of each axis. */
  readonly sections: readonly number[];
  readonly scaling: number;
  readonly offset: readonly number[];
  readonly positions: "i32" | "f32" | null;
  /** Whether batch entries share positions. */
  readonly sharedPositions: boolean;
}

const ACTION = "compute rope";
const OPTIONS: readonly (keyof RopeOptions)[] = [
  ...["base", "dims", "interleaved", "positions", "offset", "axes", "sections"] as const,
  ...["scaling", "frequencies"] as const,
];
const AXES = ["1d", "2d", "3d"] as const;

/** Channels are numbers of 15 bits in a table. */
const MAX_HEAD_DIM = 2 ** 15;

/** Validates the arguments of a rotary embedding. */
export function ropeProblem(
  x: Tensor,
  options: RopeOptions,
): { problem: RopeProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const { positions, frequencies, interleaved = false, base = 10000, scaling = 1, offset = 0 } =
    options;
  const gpu = checkTensors(ACTION, {
    x,
    ...(positions !== undefined && { positions }),
    ...(frequencies !== undefined && { frequencies }),
  });
  const elem = checkDType(ACTION, "x", x, ["f32", "f16"]);
  const sizes = checkX(x);
  checkFlags(ACTION, { interleaved });
  checkRange("base", base, [Number.MIN_VALUE, Number.MAX_VALUE]);
  checkRange("scaling", scaling, [1e-4, 1e6]);
  const { grid, batch, headDim } = sizes;
  const axes = axesOf(options, grid);
  const sections = sectionsOf(options, { axes, headDim });
  if (frequencies !== undefined) {
    checkDType(ACTION, "frequencies", frequencies, ["f32"]);
    checkShape(ACTION, "frequencies", frequencies, [sum(sections) / 2]);
  }
  const problem: RopeProblem = {
    ...{ ...sizes, elem, base, scaling, interleaved, sections },
    pairing: pairingOf(sections, interleaved),
    offset: offsetOf(offset, axes),
    ...positionsOf(positions, { grid, batch, axes }),
  };
  return { problem, gpu };
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}

/** Checks the shape of x. */
function checkX({ shape }: Tensor): Pick<RopeProblem, "batch" | "grid" | "heads" | "headDim"> {
  if (shape.length < 4 || shape.length > 6) {
    throw new TypeError(
      `Cannot ${ACTION} as x must be [B, T, H, D], with up to two more token axes behind T: x is [${shape}]`,
    );
  }
  const [heads, headDim] = shape.slice(-2);
  if (headDim < 2 || headDim > MAX_HEAD_DIM) {
    throw new RangeError(
      `Cannot ${ACTION} as heads must have 2 to ${MAX_HEAD_DIM} channels: x is [${shape}]`,
    );
  }
  return { batch: shape[0], grid: shape.slice(1, -2), heads, headDim };
}

function checkRange(name: string, value: unknown, [least, most]: readonly [number, number]): void {
  if (typeof value === "number" && value >= least && value <= most) return;
  const rule = most === Number.MAX_VALUE ? "finite and > 0" : `from ${least} to ${most}`;
  throw new RangeError(`Cannot ${ACTION} as ${name} must be ${rule}: ${name} is ${kindOf(value)}`);
}

/** How many positions a token has. */
function axesOf({ axes, positions }: RopeOptions, grid: readonly number[]): number {
  if (axes === undefined) return grid.length;
  oneOf<unknown>(ACTION, "axes", axes, AXES);
  const count = AXES.indexOf(axes) + 1;
  if (count === grid.length || count === 1 || positions !== undefined) return count;
  throw new TypeError(
    `Cannot ${ACTION} as positions must be given where x has not as many token axes: axes is ${axes}, x has ${grid.length}`,
  );
}

/** Checks dims and sections against each other. */
function sectionsOf(
  { dims, sections }: RopeOptions,
  { axes, headDim }: { readonly axes: number; readonly headDim: number },
): readonly number[] {
  if (dims === undefined && headDim % 2 !== 0) {
    throw new RangeError(
      `Cannot ${ACTION} as x must have an even head dim, or dims be given: the head dim is ${headDim}`,
    );
  }
  const all = dims ?? headDim;
  if (!Number.isSafeInteger(all) || all < 2 || all > headDim || all % 2 !== 0) {
    throw new RangeError(
      `Cannot ${ACTION} as dims must be even, from 2 to ${headDim}: dims is ${kindOf(all)}`,
    );
  }
  if (sections === undefined) {
    if (all % (2 * axes) === 0) return Array.from({ length: axes }, () => all / axes);
    throw new RangeError(
      `Cannot ${ACTION} as sections must be given where dims has no ${axes} equal even shares: dims is ${all}`,
    );
  }
  const even = Array.isArray(sections) &&
    sections.every((size) => Number.isSafeInteger(size) && size >= 0 && size % 2 === 0);
  if (even && sections.length === axes && sum(sections) === all) return sections;
  throw new RangeError(
    `Cannot ${ACTION} as sections must be ${axes} even numbers that are ${all} together: sections is ${
      Array.isArray(sections) ? `[${sections}]` : kindOf(sections)
    }`,
  );
}

/** The pairing that loads channels once, where sections allow it. */
function pairingOf(sections: readonly number[], interleaved: boolean): RopePairing {
  if (interleaved) return "neighbors";
  return sections.every((size) => size % 8 === 0) ? "columns" : "any";
}

function offsetOf(offset: number | readonly number[], axes: number): readonly number[] {
  const list = typeof offset === "number" ? Array.from({ length: axes }, () => offset) : offset;
  const fits = Array.isArray(list) && list.length === axes &&
    list.every((step) => Number.isSafeInteger(step) && Math.abs(step) < 2 ** 31);
  if (fits) return list;
  throw new RangeError(
    `Cannot ${ACTION} as offset must be an integer below 2^31, or ${axes} of them: offset is ${
      Array.isArray(offset) ? `[${offset}]` : kindOf(offset)
    }`,
  );
}

function positionsOf(
  positions: Tensor | undefined,
  { batch, grid, axes }: Pick<RopeProblem, "batch" | "grid"> & { readonly axes: number },
): Pick<RopeProblem, "positions" | "sharedPositions"> {
  if (positions === undefined) return { positions: null, sharedPositions: false };
  const length = grid.reduce((product, size) => product * size, 1);
  const shared = axes === 1 ? [length] : [length, axes];
  checkShape(ACTION, "positions", positions, shared, [batch, ...shared]);
  return {
    positions: checkDType(ACTION, "positions", positions, ["i32", "f32"]),
    sharedPositions: positions.shape.length === shared.length,
  };
}
