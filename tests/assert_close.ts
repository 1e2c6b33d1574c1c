import { assert } from "@std/assert";
import { compare } from "../cli/compare.ts";

/** Options for {@linkcode assertClose}. */
export interface AssertCloseOptions {
  /** The largest RMS of the error allowed, as a share of the RMS of the reference. */
  ratio: number;
}

/**
 * Asserts that an array is close to its reference.
 *
 * @param name What is compared, for the message.
 * @param actual What was computed.
 * @param expected The reference.
 * @param options How close it must be.
 */
export function assertClose(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  options: AssertCloseOptions,
): void {
  assert(
    actual.length === expected.length,
    `Expected "${name}" to have ${expected.length} elements: it has ${actual.length}`,
  );
  const { ratio, maxError, maxIndex, invalid } = compare(actual, expected);
  const pair = `actual ${actual[maxIndex]}, expected ${expected[maxIndex]}`;
  assert(
    invalid === 0,
    `Expected "${name}" to be finite where its reference is: ${invalid} elements are not, the first at index ${maxIndex} (${pair})`,
  );
  assert(
    ratio <= options.ratio,
    `Expected "${name}" to be within an RMS error ratio of ${options.ratio}: ratio is ${
      ratio.toExponential(2)
    }, largest error is ${maxError.toExponential(2)} at index ${maxIndex} (${pair})`,
  );
}
