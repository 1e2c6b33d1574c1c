import { assertAlmostEquals, assertEquals } from "@std/assert";
import { attention, attentionStatistics, type ReferenceTensor } from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";
import { denseHeads, denseProblem, range, sum } from "./dense_attention.ts";

/** A sequence of one batch, one head and dim 1. */
function sequence(...data: number[]): ReferenceTensor {
  return { data, shape: [1, data.length, 1, 1] };
}

const tolerance = { ratio: 1e-13 };
const everything = {
  lse: true,
  columnSums: true,
  diagonalSums: true,
  blockMax: { queryBlock: 4, keyBlock: 2 },
  topK: 3,
  entropy: true,
  argMax: true,
};

/** The matrices of the problem of a seed, one for each row of `[B, T, Hq]`. */
function denseRows(seed: number): { b: number; h: number; i: number; s: number[]; p: number[] }[] {
  const heads = denseHeads(denseProblem(seed));
  return range(2).flatMap((b) =>
    range(6).flatMap((i) =>
      range(4).map((h) => ({ b, h, i, s: heads[b][h].s[i], p: heads[b][h].p[i] }))
    )
  );
}

Deno.test("attentionStatistics() returns the lse of attention()", () => {
  const { q, k, v, options } = denseProblem(1);

  assertEquals(
    attentionStatistics(q, k, { ...options, lse: true }).lse,
    attention(q, k, v, { ...options, weight: "softmax" }).lse,
  );
});

Deno.test("attentionStatistics() sums the columns and diagonals of the matrices", () => {
  const { q, k, options } = denseProblem(2);
  const heads = denseHeads({ q, k, v: k, options });

  const { columnSums, diagonalSums } = attentionStatistics(q, k, { ...options, ...everything });

  const columns = range(2).flatMap((b) =>
    range(9).flatMap((j) => heads[b].map(({ p }) => sum(p.map((row) => row[j]))))
  );
  const diagonals = range(2).flatMap((b) =>
    range(14).flatMap((n) => heads[b].map(({ p }) => sum(p.map((row, i) => row[n - 5 + i] ?? 0))))
  );
  assertClose("columnSums", columnSums?.data ?? [], columns, tolerance);
  assertClose("diagonalSums", diagonalSums?.data ?? [], diagonals, tolerance);
  assertEquals([columnSums?.shape, diagonalSums?.shape], [[2, 9, 4], [2, 14, 4]]);
});

Deno.test("attentionStatistics() takes the largest score of each block of the matrices", () => {
  const { q, k, options } = denseProblem(3);
  const heads = denseHeads({ q, k, v: k, options });

  const { blockMax } = attentionStatistics(q, k, { ...options, ...everything });

  const expected = heads.flat().flatMap(({ s }) =>
    range(2).flatMap((n) =>
      range(5).map((m) =>
        Math.max(...s.slice(4 * n, 4 * n + 4).flatMap((row) => row.slice(2 * m, 2 * m + 2)))
      )
    )
  );
  assertClose("blockMax", blockMax?.data ?? [], expected, tolerance);
  assertEquals(blockMax?.shape, [2, 4, 2, 5]);
  assertEquals(expected.includes(-Infinity), true); // the first four queries do not see key 8
});

Deno.test("attentionStatistics() orders and measures the rows of the matrices", () => {
  const { q, k, options } = denseProblem(4);

  const { topK, argMax, entropy } = attentionStatistics(q, k, { ...options, ...everything });

  const rows = denseRows(4);
  const best = rows.map(({ s }) => {
    const seen = range(9).filter((j) => s[j] > -Infinity).sort((x, y) => s[y] - s[x]);
    return [...seen, -1, -1, -1].slice(0, 3);
  });
  const scores = rows.flatMap(({ s }, row) => best[row].map((j) => s[j] ?? -Infinity));
  const entropies = rows.map(({ p }) => -sum(p.map((x) => x === 0 ? 0 : x * Math.log(x))));
  assertEquals(topK?.indices, { data: Int32Array.from(best.flat()), shape: [2, 6, 4, 3] });
  assertClose("values", topK?.values.data ?? [], scores, tolerance);
  assertEquals(topK?.values.shape, [2, 6, 4, 3]);
  assertEquals(argMax, { data: Int32Array.from(best, ([j]) => j), shape: [2, 6, 4] });
  assertClose("entropy", entropy?.data ?? [], entropies, tolerance);
  assertEquals(entropy?.shape, [2, 6, 4]);
});

Deno.test("attentionStatistics() returns only what is asked for", () => {
  const x = sequence(1, 2);

  assertEquals(attentionStatistics(x, x, {}), {});
  for (const [name, value] of Object.entries(everything)) {
    assertEquals(Object.keys(attentionStatistics(x, x, { [name]: value })), [name]);
  }
});

Deno.test("attentionStatistics() measures a row by hand", () => {
  // weights 1/8, 1/4, 1/8, 1/2
  const k = sequence(0, Math.log(2), 0, Math.log(4));

  const { lse, columnSums, diagonalSums, topK, entropy, argMax } = attentionStatistics(
    sequence(1),
    k,
    { ...everything, topK: 4 },
  );

  assertAlmostEquals(lse?.data[0] ?? NaN, Math.log(8), 1e-12);
  assertClose("columnSums", columnSums?.data ?? [], [1 / 8, 1 / 4, 1 / 8, 1 / 2], tolerance);
  assertEquals(diagonalSums?.data, columnSums?.data); // T = 1
  assertEquals(topK?.indices.data, Int32Array.of(3, 1, 0, 2)); // of equals the smaller first
  assertEquals(topK?.values.data, Float64Array.of(Math.log(4), Math.log(2), 0, 0));
  assertAlmostEquals(entropy?.data[0] ?? NaN, 7 / 4 * Math.log(2), 1e-12);
  assertEquals(argMax?.data, Int32Array.of(3));
});

Deno.test("attentionStatistics() places diagonals by j - i + T - 1", () => {
  // a query sees only its own key
  const x = sequence(0, 0, 0);

  const own = attentionStatistics(x, x, { diagonalSums: true, window: { left: 0, right: 0 } });
  const first = attentionStatistics(x, x, { diagonalSums: true, mask: ({ j }) => j === 0 });

  assertEquals(own.diagonalSums?.data, Float64Array.of(0, 0, 3, 0, 0));
  assertEquals(first.diagonalSums?.data, Float64Array.of(1, 1, 1, 0, 0));
});

Deno.test("attentionStatistics() picks the smallest key of equal scores", () => {
  const { argMax, topK } = attentionStatistics(sequence(1), sequence(0, 5, 5), everything);

  assertEquals(argMax?.data, Int32Array.of(1));
  assertEquals(topK?.indices.data, Int32Array.of(1, 2, 0));
});

Deno.test("attentionStatistics() marks rows that see no key", () => {
  const x = sequence(1, 2);

  for (
    const hidden of [
      { mask: () => false },
      { score: () => -Infinity },
      { bias: { data: [-Infinity, -Infinity], shape: [1, 1, 1, 2] } },
      { window: { left: -3, right: 2 } },
    ]
  ) {
    const found = attentionStatistics(x, x, { ...hidden, ...everything, topK: 1 });

    assertEquals(found.lse?.data, Float64Array.of(-Infinity, -Infinity));
    assertEquals(found.columnSums?.data, Float64Array.of(0, 0));
    assertEquals(found.diagonalSums?.data, Float64Array.of(0, 0, 0));
    assertEquals(found.blockMax?.data, Float64Array.of(-Infinity));
    assertEquals(found.topK?.indices.data, Int32Array.of(-1, -1));
    assertEquals(found.topK?.values.data, Float64Array.of(-Infinity, -Infinity));
    assertEquals(found.entropy?.data, Float64Array.of(0, 0));
    assertEquals(found.argMax?.data, Int32Array.of(-1, -1));
  }
});

Deno.test("attentionStatistics() takes no queries and no keys", () => {
  const noKeys = attentionStatistics(sequence(1), sequence(), everything);
  const noQueries = attentionStatistics(sequence(), sequence(1, 2), everything);

  assertEquals(noKeys.lse?.data, Float64Array.of(-Infinity));
  assertEquals(noKeys.diagonalSums?.shape, [1, 0, 1]);
  assertEquals(noKeys.blockMax?.shape, [1, 1, 1, 0]);
  assertEquals(noQueries.columnSums?.data, Float64Array.of(0, 0));
  assertEquals(noQueries.argMax?.shape, [1, 0, 1]);
});
