import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";

/** The first numbers that a seed gives. */
function firstOf<T>(seed: number, count: number, draw: (random: Random) => T): T[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => draw(random));
}

Deno.test("Random.next() gives the numbers of mulberry32", () => {
  const next = (random: Random): number => random.next();

  assertEquals(firstOf(0, 2, next), [0.26642920868471265, 0.0003297457005828619]);
  assertEquals(firstOf(1, 3, next), [0.6270739405881613, 0.002735721180215478, 0.5274470399599522]);
});

Deno.test("Random.next() repeats for a seed and differs between seeds", () => {
  const next = (random: Random): number => random.next();

  assertEquals(firstOf(7, 20, next), firstOf(7, 20, next));
  assertEquals(firstOf(2 ** 32 + 7, 20, next), firstOf(7, 20, next));
  assert(firstOf(7, 20, next).every((value, i) => value !== firstOf(8, 20, next)[i]));
});

Deno.test("Random.normal() has mean 0, variance 1 and fourth moment 3", () => {
  const count = 20_000;
  const values = firstOf(1, count, (random) => random.normal());
  const moment = (power: number): number =>
    values.reduce((sum, value) => sum + value ** power, 0) / count;

  assert(values.every(Number.isFinite));
  assertAlmostEquals(moment(1), 0, 0.03);
  assertAlmostEquals(moment(2), 1, 0.05);
  assertAlmostEquals(moment(4), 3, 0.3);
});

Deno.test("Random.integer() reaches both ends and nothing beyond", () => {
  const values = firstOf(3, 1000, (random) => random.integer(-2, 3));

  assertEquals([...new Set(values)].sort((a, b) => a - b), [-2, -1, 0, 1, 2, 3]);
  assertEquals(firstOf(3, 5, (random) => random.integer(4, 4)), [4, 4, 4, 4, 4]);
});

Deno.test("Random.pick() reaches every element of a list", () => {
  const values = firstOf(5, 200, (random) => random.pick(["a", "b", "c"]));

  assertEquals([...new Set(values)].sort(), ["a", "b", "c"]);
});
