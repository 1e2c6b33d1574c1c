import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { compare, compareHeads } from "../../cli/compare.ts";

Deno.test("compare() relates the RMS of the error to the RMS of the reference", () => {
  // errors 0, 1: RMS sqrt(1 / 2); reference 3, 4: RMS sqrt(25 / 2)
  assertEquals(compare([3, 5], [3, 4]), { ratio: 0.2, maxError: 1, maxIndex: 1, invalid: 0 });
});

Deno.test("compare() finds the first of the largest errors", () => {
  const { maxError, maxIndex } = compare([1, 2.5, 3, 3.5], [1, 2, 3, 4]);

  assertEquals(maxError, 0.5);
  assertEquals(maxIndex, 1);
});

Deno.test("compare() returns zeros for equal and for empty arrays", () => {
  const equal = { ratio: 0, maxError: 0, maxIndex: -1, invalid: 0 };

  assertEquals(compare(Float32Array.of(1, 2), [1, 2]), equal);
  assertEquals(compare([0, 0], [0, 0]), equal);
  assertEquals(compare([], []), equal);
});

Deno.test("compare() returns the RMS of the error where the reference is zero", () => {
  assertAlmostEquals(compare([3, -3], [0, 0]).ratio, 3);
});

Deno.test("compare() relates errors of f16 to nothing less than its least normal number", () => {
  assertAlmostEquals(
    compare(Float16Array.of(0, 0), [1e-19, 0]).ratio,
    1e-19 / 2 ** -14 / 2 ** 0.5,
    1e-18,
  );
  assertAlmostEquals(compare(Float16Array.of(2 ** -13), [2 ** -12]).ratio, 0.5);
  assertEquals(compare(Float32Array.of(0, 0), [1e-19, 0]).ratio, 1);
});

Deno.test("compare() counts NaN and infinities that do not agree", () => {
  const actual = [1, NaN, Infinity, 0, NaN, -Infinity];
  const expected = [1, 1, -Infinity, -Infinity, NaN, 5];

  assertEquals(compare(actual, expected), {
    ratio: Infinity,
    maxError: Infinity,
    maxIndex: 1,
    invalid: 5,
  });
});

Deno.test("compare() leaves equal infinities out of the sums", () => {
  const { ratio, invalid } = compare([-Infinity, 3, Infinity], [-Infinity, 2, Infinity]);

  assertEquals(ratio, 0.5);
  assertEquals(invalid, 0);
});

Deno.test("compare() averages over the finite elements where the reference is zero", () => {
  assertEquals(compare([-Infinity, 3], [-Infinity, 0]).ratio, 3);
});

Deno.test("compare() looks at the selected elements only", () => {
  const selection = { start: 1, width: 2, stride: 3 };

  assertEquals(compare([9, 3, 4, 9, 0, 5], [0, 3, 4, 0, 0, 0], selection), {
    ratio: 1,
    maxError: 5,
    maxIndex: 5,
    invalid: 0,
  });
});

Deno.test("compare() throws when the lengths differ", () => {
  assertThrows(
    () => compare([1, 2], [1]),
    TypeError,
    "Cannot compare two arrays as they must have the same length: current lengths are actual=2, expected=1",
  );
});

Deno.test("compareHeads() returns the worst head of [B, T, H, D]", () => {
  // two positions, two heads of width 2; head 1 is wrong by 1 at index 6 against an RMS of 1
  const expected = [100, 100, 1, 1, 100, 100, 1, 1];
  const actual = [100, 101, 1, 1, 100, 100, 2, 1];

  assertEquals(compareHeads(actual, expected, 2, 2), {
    head: 1,
    ratio: 0.5,
    maxError: 1,
    maxIndex: 6,
    invalid: 0,
  });
});

Deno.test("compareHeads() returns the worst head of [B, T, H]", () => {
  const { head, ratio } = compareHeads([1, 2, 5, 1, 2, 3], [1, 2, 4, 1, 2, 3], 3, 1);

  assertEquals(head, 2);
  assertEquals(ratio, 0.2);
});

Deno.test("compareHeads() counts a head with NaN as the worst", () => {
  const { head, invalid } = compareHeads([9, NaN, 9, 2], [1, 2, 1, 2], 2, 1);

  assertEquals(head, 1);
  assertEquals(invalid, 1);
});

Deno.test("compareHeads() returns the first head of an empty array", () => {
  const equal = { head: 0, ratio: 0, maxError: 0, maxIndex: -1, invalid: 0 };

  assertEquals(compareHeads([], [], 4, 8), equal);
});
