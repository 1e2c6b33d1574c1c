import { assertAlmostEquals, assertEquals } from "@std/assert";
import { fittedExponent } from "../../cli/exponent.ts";

Deno.test("fittedExponent() finds the exponent of a power law", () => {
  assertAlmostEquals(fittedExponent([[1, 3], [2, 12], [4, 48]]) ?? 0, 2, 1e-12);
  assertAlmostEquals(fittedExponent([[1024, 5], [65_536, 5]]) ?? 1, 0, 1e-12);
});

Deno.test("fittedExponent() is the slope of the least squares through the logarithms", () => {
  // logarithms to base 2 are (0, 0), (1, 2), (2, 1)
  assertAlmostEquals(fittedExponent([[1, 1], [2, 4], [4, 2]]) ?? 0, 0.5, 1e-12);
});

Deno.test("fittedExponent() needs two sizes", () => {
  assertEquals(fittedExponent([]), undefined);
  assertEquals(fittedExponent([[8, 2]]), undefined);
  assertEquals(fittedExponent([[8, 2], [8, 3]]), undefined);
});
