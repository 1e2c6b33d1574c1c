import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  type AttentionPart,
  mergeAttention,
  type ReferenceTensor,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

const tolerance = { ratio: 1e-14 };

/** Normal numbers, `[B, length, H, D]` with B2 H2. */
function normal(random: Random, length: number, dim: number): ReferenceTensor {
  const data = Float64Array.from({ length: 4 * length * dim }, () => random.normal());
  return { data, shape: [2, length, 2, dim] };
}

/** The first sequences followed by the second ones, batch by batch. */
function concatenate(a: ReferenceTensor, b: ReferenceTensor): ReferenceTensor {
  const [batch, , heads, dim] = a.shape;
  const [as, bs] = [Array.from(a.data), Array.from(b.data)];
  const data = Array.from({ length: batch }, (_, index) => [
    ...as.slice(index * as.length / batch, (index + 1) * as.length / batch),
    ...bs.slice(index * bs.length / batch, (index + 1) * bs.length / batch),
  ]).flat();
  return { data, shape: [batch, a.shape[1] + b.shape[1], heads, dim] };
}

/** One result of one row with two heads, Dv 1. */
function part(out: number[], lse: number[]): AttentionPart {
  return { out: { data: out, shape: [1, 1, 2, 1] }, lse: { data: lse, shape: [1, 1, 2] } };
}

Deno.test("mergeAttention() weighs the parts by the exponential of their lse", () => {
  const { out, lse } = mergeAttention([
    part([4, 4], [0, Math.log(2)]),
    part([8, 10], [Math.log(3), 0]),
  ]);

  assertClose("out", out.data, [7, 6], tolerance);
  assertClose("lse", lse.data, [Math.log(4), Math.log(3)], tolerance);
  assertEquals([out.shape, lse.shape], [[1, 1, 2, 1], [1, 1, 2]]);
});

Deno.test("mergeAttention() makes the whole of two halves of the keys", () => {
  const random = new Random(1);
  const q = normal(random, 5, 4);
  const [k1, v1] = [normal(random, 3, 4), normal(random, 3, 6)];
  const [k2, v2] = [normal(random, 7, 4), normal(random, 7, 6)];

  const { out, lse } = mergeAttention([attention(q, k1, v1), attention(q, k2, v2)]);

  const whole = attention(q, concatenate(k1, k2), concatenate(v1, v2));
  assertClose("out", out.data, whole.out.data, tolerance);
  assertClose("lse", lse.data, whole.lse.data, tolerance);
  assertEquals([out.shape, lse.shape], [whole.out.shape, whole.lse.shape]);
});

Deno.test("mergeAttention() is associative", () => {
  const random = new Random(2);
  const q = normal(random, 5, 3);
  const [a, b, c] = [2, 4, 3].map((length) =>
    attention(q, normal(random, length, 3), normal(random, length, 2))
  );

  const together = mergeAttention([a, b, c]);

  for (
    const nested of [
      mergeAttention([mergeAttention([a, b]), c]),
      mergeAttention([a, mergeAttention([b, c])]),
      mergeAttention([c, b, a]),
    ]
  ) {
    assertClose("out", nested.out.data, together.out.data, tolerance);
    assertClose("lse", nested.lse.data, together.lse.data, tolerance);
  }
});

Deno.test("mergeAttention() returns a single part as it is", () => {
  const random = new Random(3);
  const whole = attention(normal(random, 5, 4), normal(random, 3, 4), normal(random, 3, 2));

  assertEquals(mergeAttention([whole]), whole);
});

Deno.test("mergeAttention() leaves out parts that see no key", () => {
  const none = part([NaN, 5], [-Infinity, -Infinity]);
  const some = part([4, 0], [7, -Infinity]);

  for (const parts of [[none, some], [some, none], [none, some, none]]) {
    const { out, lse } = mergeAttention(parts);

    assertEquals(out.data, Float64Array.of(4, 0));
    assertEquals(lse.data, Float64Array.of(7, -Infinity));
  }
});

Deno.test("mergeAttention() adds nothing for an empty half of the keys", () => {
  const random = new Random(4);
  const q = normal(random, 5, 4);
  const whole = attention(q, normal(random, 3, 4), normal(random, 3, 2));
  const empty = attention(q, normal(random, 0, 4), normal(random, 0, 2));

  assertEquals(mergeAttention([empty, whole]), whole);
});

Deno.test("mergeAttention() keeps huge log-sum-exps finite", () => {
  const { out, lse } = mergeAttention([
    part([1, 1], [10000, -10000]),
    part([0, 0], [9999, -9999]),
  ]);

  const p = 1 / (1 + Math.exp(-1));
  assertAlmostEquals(out.data[0], p, 1e-15);
  assertAlmostEquals(out.data[1], 1 - p, 1e-15);
  assertAlmostEquals(lse.data[0], 10000 - Math.log(p), 1e-11);
  assertAlmostEquals(lse.data[1], -9999 - Math.log(p), 1e-11);
});

Deno.test("mergeAttention() takes parts with several token axes", () => {
  const shape = [1, 2, 3, 1, 2];
  const one = {
    out: { data: new Float64Array(12).fill(1), shape },
    lse: { data: new Float64Array(6), shape: shape.slice(0, -1) },
  };
  const three = { ...one, out: { data: new Float64Array(12).fill(3), shape } };

  const { out, lse } = mergeAttention([one, three]);

  assertClose("out", out.data, new Float64Array(12).fill(2), tolerance);
  assertClose("lse", lse.data, new Float64Array(6).fill(Math.log(2)), tolerance);
  assertEquals([out.shape, lse.shape], [shape, shape.slice(0, -1)]);
});
