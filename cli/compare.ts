/** How far an array is from its reference. */
export interface Comparison {
  /** RMS of the error over RMS of the reference; Infinity where an element is invalid. */
  ratio: number;
  /** The largest absolute error; Infinity where an element is invalid. */
  maxError: number;
  /** Where it stands, the first if there are several; -1 where all elements are equal. */
  maxIndex: number;
  /** How many elements are NaN on either side, or infinite and not equal. */
  invalid: number;
}

/** The comparison of the head that is farthest from its reference. */
export interface HeadComparison extends Comparison {
  /** Which head it is. */
  head: number;
}

/** The elements that a comparison looks at: runs of `width` elements, `stride` apart. */
export interface Selection {
  /** Index of the first element. */
  start: number;
  /** Length of a run. */
  width: number;
  /** Distance from one run's first element to the next one's. */
  stride: number;
}

/**
 * Compares an array with its reference.
 *
 * Equal infinities agree and stay out of the sums. Where the reference is 0 everywhere the ratio is
 * the RMS of the error itself. f16 cannot keep digits of less than its least normal number: there the
 * ratio is to that number.
 *
 * @param actual What was computed.
 * @param expected The reference.
 * @param selection The elements to look at, all of them by default.
 * @returns The error relative to the reference, the largest error and the count of invalid elements.
 *
 * @example Usage
 * ```ts
 * import { compare } from "./compare.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(compare([3, 5], [3, 4]), { ratio: 0.2, maxError: 1, maxIndex: 1, invalid: 0 });
 * ```
 */
export function compare(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  selection: Selection = { start: 0, width: expected.length, stride: expected.length },
): Comparison {
  if (actual.length !== expected.length) {
    throw new TypeError(
      `Cannot compare two arrays as they must have the same length: current lengths are actual=${actual.length}, expected=${expected.length}`,
    );
  }
  const { start, width, stride } = selection;
  const result = { ratio: 0, maxError: 0, maxIndex: -1, invalid: 0 };
  let errorSum = 0;
  let referenceSum = 0;
  let count = 0;
  for (let run = start; run < expected.length; run += stride) {
    for (let index = run; index < run + width; index++) {
      const reference = expected[index];
      const infinite = Math.abs(reference) === Infinity;
      if (infinite && actual[index] === reference) continue;
      let error = Math.abs(actual[index] - reference);
      if (!Number.isFinite(error)) {
        error = Infinity;
        result.invalid++;
      }
      if (error > result.maxError) {
        result.maxError = error;
        result.maxIndex = index;
      }
      errorSum += error * error;
      if (!infinite) referenceSum += reference * reference;
      count++;
    }
  }
  if (result.invalid > 0) result.ratio = Infinity;
  else if (errorSum > 0) {
    const least = actual instanceof Float16Array ? count * LEAST_F16 ** 2 : 0;
    const scale = referenceSum === 0 ? count : Math.max(referenceSum, least);
    result.ratio = Math.sqrt(errorSum / scale);
  }
  return result;
}

/** The least normal f16. */
const LEAST_F16 = 2 ** -14;

/**
 * Compares an array with its reference head by head; the worst head decides.
 *
 * @param actual What was computed.
 * @param expected The reference.
 * @param heads How many heads there are.
 * @param width Elements that a head has at one position: element e belongs to head
 * floor(e / width) mod heads. The value dim for `out` `[B, T, H, Dv]`, 1 for `lse` `[B, T, H]`.
 * @returns The comparison of the head with the largest ratio.
 *
 * @example Usage
 * ```ts
 * import { compareHeads } from "./compare.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const { head, ratio } = compareHeads([100, 3], [100, 2], 2, 1);
 *
 * assertEquals(head, 1);
 * assertEquals(ratio, 0.5);
 * ```
 */
export function compareHeads(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  heads: number,
  width: number,
): HeadComparison {
  let worst: HeadComparison | undefined;
  for (let head = 0; head < heads; head++) {
    const selection = { start: head * width, width, stride: heads * width };
    const comparison = compare(actual, expected, selection);
    if (!worst || comparison.ratio > worst.ratio) worst = { ...comparison, head };
  }
  return worst ?? { ...compare(actual, expected), head: 0 };
}
