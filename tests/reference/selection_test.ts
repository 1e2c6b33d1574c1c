import { assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { type Selection, selectThreshold, selectTopK, selectTopP } from "../../reference/mod.ts";
import { range, sum } from "./dense_attention.ts";

/** The selected places of each row, without what fills the row up. */
function rowsOf({ indices, counts }: Selection): number[][] {
  const max = indices.shape[indices.shape.length - 1];
  assertEquals(counts.shape, indices.shape.slice(0, -1));
  return Array.from(counts.data, (count, row) => {
    const places = Array.from(indices.data.slice(row * max, (row + 1) * max));
    assertEquals(places.slice(count), Array(max - count).fill(-1));
    return places.slice(0, count);
  });
}

const inf = Infinity;

Deno.test("selectTopK() orders by score, and equals by place", () => {
  const scores = { data: [1, 3, 3, 0, -2, -2, -5, -2], shape: [2, 1, 4] };

  assertEquals(rowsOf(selectTopK(scores, 2)), [[1, 2], [0, 1]]);
  assertEquals(rowsOf(selectTopK(scores, 3)), [[1, 2, 0], [0, 1, 3]]);
  assertEquals(selectTopK(scores, 3).indices.shape, [2, 1, 3]);
});

Deno.test("selectTopK() fills up what a row cannot give", () => {
  const scores = { data: [-inf, 2, -inf, -inf, -inf, -inf], shape: [2, 3] };

  assertEquals(rowsOf(selectTopK(scores, 5)), [[1], []]);
  assertEquals(selectTopK(scores, 5).indices.shape, [2, 5]);
  assertEquals(rowsOf(selectTopK(scores, 0)), [[], []]);
  assertEquals(rowsOf(selectTopK({ data: [], shape: [2, 0] }, 1)), [[], []]);
  assertEquals(rowsOf(selectTopK({ data: [], shape: [0, 3] }, 1)), []);
});

Deno.test("selectTopP() selects the fewest that have the share", () => {
  const scores = { data: [1, 4, 1, 2], shape: [4] };
  const selected = (p: number, max?: number) =>
    rowsOf(selectTopP(scores, p, max === undefined ? {} : { max }))[0];

  assertEquals(selected(0), []);
  assertEquals(selected(0.5), [1]); // exactly one half
  assertEquals(selected(0.51), [1, 3]);
  assertEquals(selected(0.875), [1, 3, 0]);
  assertEquals(selected(1), [1, 3, 0, 2]);
  assertEquals(selected(1, 2), [1, 3]);
});

Deno.test("selectTopP() leaves out what adds nothing", () => {
  const scores = { data: [0, 3, 0, 0, 0, 0], shape: [2, 3] };

  assertEquals(rowsOf(selectTopP(scores, 1)), [[1], []]);
});

Deno.test("selectThreshold() selects what reaches the threshold, the largest first", () => {
  const scores = { data: [1, 5, 2, 5, -inf, 0, 1, 1], shape: [2, 4] };

  assertEquals(rowsOf(selectThreshold(scores, 1)), [[1, 3, 2, 0], [2, 3]]);
  assertEquals(rowsOf(selectThreshold(scores, 1, { max: 2 })), [[1, 3], [2, 3]]);
  assertEquals(rowsOf(selectThreshold(scores, 6)), [[], []]);
  assertEquals(rowsOf(selectThreshold(scores, -inf)), [[1, 3, 2, 0], [2, 3, 1]]);
});

Deno.test("selectTopK() and its siblings match counting who comes before", () => {
  const random = new Random(1);
  for (let round = 0; round < 20; round++) {
    const n = random.integer(1, 12);
    const x = range(n).map(() => random.integer(0, 5)); // with equals
    const scores = { data: x, shape: [n] };
    // a place comes before another when its score is larger, or equal at a smaller place
    const before = (a: number, b: number) => x[a] > x[b] || (x[a] === x[b] && a < b);
    const rank = (place: number) => range(n).filter((other) => before(other, place)).length;
    const ranked = range(n).sort((a, b) => rank(a) - rank(b));
    const mass = (place: number) => sum(ranked.slice(0, rank(place)).map((other) => x[other]));

    assertEquals(rowsOf(selectTopK(scores, 4)), [ranked.slice(0, 4)]);
    assertEquals(rowsOf(selectThreshold(scores, 3)), [ranked.filter((place) => x[place] >= 3)]);
    assertEquals(
      rowsOf(selectTopP(scores, 0.75)),
      [ranked.filter((place) => mass(place) < 0.75 * sum(x))],
    );
  }
});
