import { assertAlmostEquals, assertEquals } from "@std/assert";
import { fittedLaw } from "../../cli/exponent.ts";

/** Asserts the law that fits points. */
function assertLaw(points: [number, number][], factor: number, exponent: number): void {
  const law = fittedLaw(points);
  assertAlmostEquals(law?.factor ?? NaN, factor, 1e-12);
  assertAlmostEquals(law?.exponent ?? NaN, exponent, 1e-12);
}

Deno.test("fittedLaw() finds a power law", () => {
  assertLaw([[1, 3], [2, 12], [4, 48]], 3, 2);
  assertLaw([[1024, 5], [65_536, 5]], 5, 0);
});

Deno.test("fittedLaw() is the least squares through the logarithms", () => {
  // logarithms to base 2 are (0, 0), (1, 2), (2, 1): a slope of 1/2 through (1, 1)
  assertLaw([[1, 1], [2, 4], [4, 2]], Math.SQRT2, 0.5);
});

Deno.test("fittedLaw() needs two sizes", () => {
  assertEquals(fittedLaw([]), undefined);
  assertEquals(fittedLaw([[8, 2]]), undefined);
  assertEquals(fittedLaw([[8, 2], [8, 3]]), undefined);
});
