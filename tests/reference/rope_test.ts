import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { rope } from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

const random = new Random(2);
const normal = (...shape: number[]) => ({
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()),
  shape,
});

Deno.test("rope() multiplies pairs by complex numbers of length 1", () => {
  const x = { data: [3, 4, 1, 2], shape: [1, 1, 1, 4] };

  const { data } = rope(x, { offset: 2, interleaved: true, base: 100 });

  // (3 + 4i) e^2i and (1 + 2i) e^0.2i
  assertAlmostEquals(data[0], 3 * Math.cos(2) - 4 * Math.sin(2), 1e-15);
  assertAlmostEquals(data[1], 3 * Math.sin(2) + 4 * Math.cos(2), 1e-15);
  assertAlmostEquals(data[2], Math.cos(0.2) - 2 * Math.sin(0.2), 1e-15);
  assertAlmostEquals(data[3], Math.sin(0.2) + 2 * Math.cos(0.2), 1e-15);
});

Deno.test("rope() pairs halves as it pairs neighbours, permuted", () => {
  const x = normal(2, 5, 3, 8);
  const permuted = (data: ArrayLike<number>, order: readonly number[]) =>
    Float64Array.from(data, (_, n) => data[n - n % 8 + order[n % 8]]);
  const halves = [0, 2, 4, 6, 1, 3, 5, 7];
  const back = [0, 4, 1, 5, 2, 6, 3, 7];

  const { data } = rope({ data: permuted(x.data, halves), shape: x.shape });

  assertEquals(permuted(data, back), rope(x, { interleaved: true }).data);
});

Deno.test("rope() makes q · k depend on distances alone", () => {
  const [q, k] = [normal(1, 1, 1, 16), normal(1, 1, 1, 16)];
  const dot = (i: number, j: number): number => {
    const [a, b] = [rope(q, { offset: i }).data, rope(k, { offset: j }).data];
    return a.reduce((sum, x, n) => sum + x * b[n], 0);
  };

  assertAlmostEquals(dot(7, 3), dot(1007, 1003), 1e-12);
});

Deno.test("rope() turns a section for each axis", () => {
  const x = normal(2, 3, 4, 2, 12);
  const slice = (data: ArrayLike<number>, first: number, end: number) =>
    Array.from(data).filter((_, n) => first <= n % 12 && n % 12 < end);
  const part = (first: number, end: number) => ({
    data: slice(x.data, first, end),
    shape: [2, 12, 2, end - first],
  });
  const axis = (of: (t: number) => number) => ({
    data: Array.from({ length: 12 }, (_, t) => of(t)),
    shape: [12],
  });

  const { data } = rope(x, { sections: [4, 6], dims: 10, offset: [1, -2] });

  const rows = rope(part(0, 4), { positions: axis((t) => Math.floor(t / 4) + 1) });
  const columns = rope(part(4, 10), { positions: axis((t) => t % 4 - 2) });
  assertClose("rows", slice(data, 0, 4), rows.data, { ratio: 1e-15 });
  assertClose("columns", slice(data, 4, 10), columns.data, { ratio: 1e-15 });
  assertEquals(slice(data, 10, 12), slice(x.data, 10, 12));
});

Deno.test("rope() takes positions of each batch entry on several axes", () => {
  const x = normal(2, 6, 1, 8);
  const grid = [0, 1].flatMap(() => [0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2]);
  const options = { axes: "2d", scaling: 3, base: 50 } as const;

  const { data } = rope(x, { ...options, positions: { data: grid, shape: [2, 6, 2] } });

  assertEquals(data, rope({ data: x.data, shape: [2, 2, 3, 1, 8] }, options).data);
});
