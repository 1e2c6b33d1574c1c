import { assertEquals } from "@std/assert";
import {
  argSort,
  assignCentroids,
  gatherTokens,
  hashTokens,
  scatterTokens,
  selectThreshold,
  selectTopP,
} from "../../reference/mod.ts";

const inf = Infinity;

Deno.test("argSort() keeps the order of equals, and puts NaN last both ways", () => {
  const x = { data: [1, NaN, -inf, 1, 0, -0], shape: [2, 3] };

  assertEquals(argSort(x).data, Int32Array.of(2, 0, 1, 1, 2, 0));
  assertEquals(argSort(x, { descending: true }).data, Int32Array.of(0, 2, 1, 0, 1, 2));
});

Deno.test("gatherTokens() and scatterTokens() are inverse on a permutation of each head", () => {
  const x = { data: [1, 10, 2, 20, 3, 30], shape: [1, 3, 2, 1] };
  const indices = { data: [2, 0, 0, 1, 1, 2], shape: [1, 3, 2] };

  const moved = gatherTokens(x, indices);

  assertEquals(moved.data, Float64Array.of(3, 10, 1, 20, 2, 30));
  assertEquals([...scatterTokens(moved, indices, { length: 3 }).data], x.data);
});

Deno.test("scatterTokens() leaves 0 where no index names, and the last where several do", () => {
  const x = { data: [1, 2, 3, 4, 5], shape: [1, 5, 1, 1] };
  const indices = { data: [2, 0, 2, -1, 9], shape: [1, 5] };

  assertEquals(scatterTokens(x, indices, { length: 4 }).data, Float64Array.of(2, 0, 3, 0));
});

Deno.test("selectTopP() and selectThreshold() tell how many max leaves out", () => {
  const scores = { data: [4, 1, 2, 1], shape: [4] };

  assertEquals(selectTopP(scores, 0.75, { max: 1 }).found.data, Int32Array.of(2));
  assertEquals(selectThreshold(scores, 1, { max: 3 }).found.data, Int32Array.of(4));
  assertEquals(selectThreshold(scores, 1, { max: 3 }).counts.data, Int32Array.of(3));
});

Deno.test("assignCentroids() gives tokens to the best centroid that has room", () => {
  const x = { data: [5, 6, 4, 7, -1], shape: [1, 5, 1, 1] };
  const centroids = { data: [1, 0, -1], shape: [1, 3, 1, 1] };

  const free = assignCentroids(x, centroids);
  const balanced = assignCentroids(x, centroids, { capacity: 2 });
  const short = assignCentroids(x, centroids, { capacity: 1 });

  assertEquals(free.cluster.data, Int32Array.of(0, 0, 0, 0, 2));
  assertEquals(free.counts.data, Int32Array.of(4, 0, 1));
  assertEquals(balanced.cluster.data, Int32Array.of(1, 0, 1, 0, 2));
  assertEquals(short.cluster.data, Int32Array.of(1, -1, -1, 0, 2));
});

Deno.test("assignCentroids() by distance compares tokens by their own distance", () => {
  const x = { data: [10, 1.5], shape: [1, 2, 1, 1] };
  const centroids = { data: [1, -5], shape: [1, 2, 1, 1] };

  const { cluster } = assignCentroids(x, centroids, { metric: "l2", capacity: 1 });

  assertEquals(cluster.data, Int32Array.of(1, 0));
});

Deno.test("hashTokens() flips one sign from each code to the next", () => {
  const signs = Array.from({ length: 16 }, (_, n) => [0, 1, 2, 3].map((r) => (n >> r & 1) * 2 - 1));
  const x = { data: signs.flat(), shape: [1, 16, 1, 4] };
  const identity = [0, 1, 2, 3].flatMap((r) => [0, 1, 2, 3].map((d) => Number(r === d)));

  const codes = hashTokens(x, { data: identity, shape: [1, 4, 1, 4] }).data;

  assertEquals(codes.toSorted(), Int32Array.from(signs, (_, n) => n));
  const walk = signs.map((_, code) => signs[codes.indexOf(code)]);
  const flips = walk.slice(1).map((own, n) => own.filter((sign, r) => sign !== walk[n][r]).length);
  assertEquals(flips, Array(15).fill(1));
});

Deno.test("hashTokens() by crossPolytope finds the largest direction, the first of equals", () => {
  const x = { data: [1, 2, -3, 1, 0, 0, -1, 1], shape: [1, 4, 1, 2] };
  const planes = { data: [1, 0, 0, 1], shape: [1, 2, 1, 2] };

  const codes = hashTokens(x, planes, { kind: "crossPolytope" });

  assertEquals(codes.data, Int32Array.of(1, 2, 0, 1));
});
