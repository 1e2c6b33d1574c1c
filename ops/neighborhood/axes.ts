import { kindOf, volume } from "../../gpu/dtype.ts";

/** One token axis of a neighborhood: L, k, s, d and whether later keys are hidden. */
export interface NeighborhoodAxis {
  /** Tokens, L. */
  readonly length: number;
  /** Keys that a query sees, k. */
  readonly windowSize: number;
  /** Consecutive queries of a dilation group that share one window, s. */
  readonly stride: number;
  /** Distance between neighbouring keys of a window, d. */
  readonly dilation: number;
  /** Whether keys after a query's own are hidden. */
  readonly causal: boolean;
}

/** Which keys a query sees: one value for all token axes, or one for each. */
export interface NeighborhoodPattern {
  /** Keys that a query sees on an axis, at least 2. */
  windowSize: number | readonly number[];
  /**
   * Consecutive queries of a dilation group that share one window, at most `windowSize`.
   *
   * @default {1}
   */
  stride?: number | readonly number[];
  /**
   * Distance between neighbouring keys of a window; `windowSize` times it must fit the axis.
   *
   * @default {1}
   */
  dilation?: number | readonly number[];
  /**
   * Whether keys after a query's own are hidden.
   *
   * @default {false}
   */
  causal?: boolean | readonly boolean[];
}

/** Keys of one dilation group that a query sees, as places in the group, both ends included. */
export interface AxisWindow {
  readonly first: number;
  readonly last: number;
}

/** Validates a pattern on the token axes of a layout: the one place that throws for it. */
export function neighborhoodAxes(
  action: string,
  lengths: readonly number[],
  pattern: NeighborhoodPattern,
): NeighborhoodAxis[] {
  const rank = lengths.length;
  const windowSize = integers(action, "windowSize", pattern.windowSize, rank, 2);
  const stride = integers(action, "stride", pattern.stride ?? 1, rank, 1);
  const dilation = integers(action, "dilation", pattern.dilation ?? 1, rank, 1);
  const causal = perAxis(action, "causal", pattern.causal ?? false, rank);
  return lengths.map((length, axis) => {
    const hidden = causal[axis];
    if (typeof hidden !== "boolean") {
      throw new TypeError(
        `Cannot ${action} as causal must be true or false: axis ${axis} has ${kindOf(hidden)}`,
      );
    }
    const [k, s, d] = [windowSize[axis], stride[axis], dilation[axis]];
    const current = `axis ${axis} has ${length} tokens, windowSize is ${k}`;
    if (k * d > length) {
      throw new RangeError(
        `Cannot ${action} as windowSize times dilation must not exceed the axis: ${current}, dilation is ${d}`,
      );
    }
    if (s > k) {
      throw new RangeError(
        `Cannot ${action} as stride must not exceed windowSize: ${current}, stride is ${s}`,
      );
    }
    return { length, windowSize: k, stride: s, dilation: d, causal: hidden };
  });
}

function integers(
  action: string,
  name: string,
  given: unknown,
  rank: number,
  least: number,
): number[] {
  return perAxis(action, name, given, rank).map((value, axis) => {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    throw new RangeError(
      `Cannot ${action} as ${name} must be an integer >= ${least}: axis ${axis} has ${
        kindOf(value)
      }`,
    );
  });
}

/** One value for each axis. */
function perAxis(action: string, name: string, given: unknown, rank: number): unknown[] {
  if (!Array.isArray(given)) return Array.from({ length: rank }, () => given);
  if (given.length === rank) return Array.from(given); // holes become undefined
  throw new TypeError(
    `Cannot ${action} as ${name} must be one value or one for each of ${rank} token axes: ${name} is [${given}]`,
  );
}

/** Places of the dilation group of a residue: ⌈(L − r) / d⌉. */
export function groupPlaces({ length, dilation }: NeighborhoodAxis, residue: number): number {
  return Math.ceil((length - residue) / dilation);
}

/** What the query at a place of a dilation group of `places` sees. */
export function axisWindow(axis: NeighborhoodAxis, places: number, place: number): AxisWindow {
  const { windowSize: k, stride: s, causal } = axis;
  const group = place - place % s;
  if (causal) {
    return { first: Math.max(Math.min(group + s, places) - k, 0), last: place };
  }
  const start = group + (s >> 1) - (k >> 1);
  const first = Math.min(Math.max(start, 0), places - k);
  return { first, last: first + k - 1 };
}

/** Keys of a window. */
export function windowVolume(axes: readonly NeighborhoodAxis[]): number {
  return volume(axes.map(({ windowSize }) => windowSize));
}

/** Whether every query sees every key of an axis. */
export function isCovered({ length, windowSize, causal }: NeighborhoodAxis): boolean {
  return windowSize === length && !causal;
}
