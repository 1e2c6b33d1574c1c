import { assertThrows } from "@std/assert";
import { assertClose } from "./assert_close.ts";

Deno.test("assertClose() passes within the ratio", () => {
  assertClose("out", [3, 5], [3, 4], { ratio: 0.2 });
});

Deno.test("assertClose() passes where both sides are -Infinity", () => {
  assertClose("lse", [-Infinity, 1], [-Infinity, 1], { ratio: 0 });
});

Deno.test("assertClose() fails beyond the ratio", () => {
  assertThrows(
    () => assertClose("out", [3, 5], [3, 4], { ratio: 0.1 }),
    Error,
    'Expected "out" to be within an RMS error ratio of 0.1: ratio is 2.00e-1, largest error is 1.00e+0 at index 1 (actual 5, expected 4)',
  );
});

Deno.test("assertClose() fails on NaN", () => {
  assertThrows(
    () => assertClose("out", [1, NaN, NaN], [1, 2, 3], { ratio: 1 }),
    Error,
    'Expected "out" to be finite where its reference is: 2 elements are not, the first at index 1 (actual NaN, expected 2)',
  );
});

Deno.test("assertClose() fails when the lengths differ", () => {
  assertThrows(
    () => assertClose("out", [1, 2], [1], { ratio: 1 }),
    Error,
    'Expected "out" to have 1 elements: it has 2',
  );
});
