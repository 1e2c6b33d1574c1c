import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { attention, poolTokens, type ReferenceTensor } from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";
import { at, normal, range, sum } from "./dense_attention.ts";

/** A sequence of one batch, one head and dim 1. */
function sequence(...data: number[]): ReferenceTensor {
  return { data, shape: [1, data.length, 1, 1] };
}

const x = sequence(4, 2, 9, -1, -3, 8, 7);

Deno.test("poolTokens() pools what a short last block has", () => {
  const pooled = (kind: "mean" | "max" | "min" | "first" | "last") =>
    Array.from(poolTokens(x, { block: 3, kind }).data);

  assertEquals(pooled("mean"), [5, 4 / 3, 7]);
  assertEquals(pooled("max"), [9, 8, 7]);
  assertEquals(pooled("min"), [2, -3, 7]);
  assertEquals(pooled("first"), [4, -1, 7]);
  assertEquals(pooled("last"), [9, 8, 7]);
});

Deno.test("poolTokens() weighs tokens by the softmax of their logits", () => {
  const logits = [0, Math.log(3), 5000, 5000, -Infinity, -Infinity, 1];
  const weights = { data: logits, shape: [1, 7, 1] };

  const { data } = poolTokens(sequence(4, 8, 1, 2, 3, NaN, 7), {
    block: 2,
    kind: "attention",
    weights,
  });

  assertAlmostEquals(data[0], 7, 1e-12);
  assertEquals(data.slice(1), Float64Array.of(3 / 2, 0, 7));
});

Deno.test("poolTokens() keeps batches, heads and channels apart", () => {
  const random = new Random(1);
  const tokens = normal(random, [2, 5, 3, 2]);

  const { data, shape } = poolTokens(tokens, { block: 2, kind: "mean" });

  const expected = range(2).flatMap((b) =>
    [[0, 1], [2, 3], [4]].flatMap((block) =>
      range(3).flatMap((h) =>
        range(2).map((d) => sum(block.map((t) => at(tokens, b, t, h, d))) / block.length)
      )
    )
  );
  assertClose("means", data, expected, { ratio: 1e-15 });
  assertEquals(shape, [2, 3, 3, 2]);
});

Deno.test("poolTokens() pools by attention as attention() of one query does", () => {
  const random = new Random(2);
  const tokens = normal(random, [2, 4, 3, 2]);
  const weights = normal(random, [2, 4, 3]);

  const { data } = poolTokens(tokens, { block: 4, kind: "attention", weights });

  const q = { data: new Float64Array(6).fill(1), shape: [2, 1, 3, 1] };
  const { out } = attention(q, { data: weights.data, shape: [2, 4, 3, 1] }, tokens);
  assertClose("pooled", data, out.data, { ratio: 1e-14 });
});

Deno.test("poolTokens() begins a block with each packed sequence", () => {
  const cuSeqlens = { data: [0, 3, 3, 7], shape: [4] };

  const { data, shape } = poolTokens(x, { block: 2, kind: "last", cuSeqlens });

  assertEquals(data, Float64Array.of(2, 9, -3, 7)); // 4 2 | 9 || || -1 -3 | 8 7
  assertEquals(shape, [1, 4, 1, 1]);
});

Deno.test("poolTokens() takes a block longer than the sequence, and no tokens", () => {
  assertEquals(poolTokens(x, { block: 100, kind: "max" }).data, Float64Array.of(9));
  assertEquals(poolTokens(sequence(), { block: 2, kind: "mean" }).shape, [1, 0, 1, 1]);
});
