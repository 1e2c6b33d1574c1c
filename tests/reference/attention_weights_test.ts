import { assertAlmostEquals, assertEquals } from "@std/assert";
import { attention, type ReferenceTensor } from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";
import { denseAttention, denseProblem, nameOf, WEIGHTS } from "./dense_attention.ts";

// Hand-made cases have one batch, one head and dims of 1, and keys that are the scores of queries of 1.

/** A sequence of one batch, one head and dim 1. */
function sequence(...data: number[]): ReferenceTensor {
  return { data, shape: [1, data.length, 1, 1] };
}

const ln = Math.log;
const one = sequence(1);
const tolerance = { ratio: 1e-13 };

for (const weight of WEIGHTS) {
  Deno.test(`attention() matches the matrices for ${nameOf(weight)}`, () => {
    for (const seed of [1, 2, 3]) {
      const problem = denseProblem(seed);
      const options = { ...problem.options, weight };
      const { q, k, v } = problem;

      const { out, lse, aux } = attention(q, k, v, options);

      const dense = denseAttention({ ...problem, options });
      assertClose("out", out.data, dense.out, tolerance);
      assertEquals(out.shape, [2, 6, 4, 2]);
      if (aux) assertClose("aux", aux.data, dense.aux, tolerance);
      assertEquals(aux?.shape, Number.isNaN(dense.aux[0]) ? undefined : [2, 6, 4]);
      assertEquals(lse, weight === "softmax" ? aux : undefined);
    }
  });

  Deno.test(`attention() returns zeros where nothing is visible for ${nameOf(weight)}`, () => {
    const v = sequence(NaN, Infinity); // of hidden keys, so they must not be read

    for (
      const hidden of [
        { mask: () => false },
        { score: () => -Infinity },
        { bias: { data: [-Infinity, -Infinity], shape: [1, 1, 1, 2] } },
      ]
    ) {
      const { out, aux } = attention(one, sequence(1, 2), v, { ...hidden, weight });

      assertEquals(out.data, Float64Array.of(0));
      if (aux) assertEquals(aux.data, Float64Array.of(weight === "softmax" ? -Infinity : 0));
    }
    const none = attention(one, sequence(), sequence(), { weight });
    assertEquals(none.out.data, Float64Array.of(0));
  });
}

Deno.test("attention() passes every place to score and mask", () => {
  const q = { data: new Float64Array(8), shape: [2, 2, 2, 1] };
  const k = { data: new Float64Array(6), shape: [2, 3, 1, 1] };
  const scored: string[] = [];
  const masked: string[] = [];

  attention(q, k, k, {
    score(s, { b, h, i, j }) {
      scored.push([b, h, i, j].join());
      return s;
    },
    mask: ({ b, h, i, j }) => masked.push([b, h, i, j].join()) > 0,
  });

  const places = [];
  for (const b of [0, 1]) {
    for (const h of [0, 1]) {
      for (const i of [0, 1]) {
        for (const j of [0, 1, 2]) places.push([b, h, i, j].join());
      }
    }
  }
  assertEquals(scored, places);
  assertEquals(masked, places);
});

Deno.test("attention() applies score hooks in order, after scale, softcap and bias", () => {
  const seen: number[] = [];
  const options = {
    scale: 2 * ln(3) / 10, // 5 becomes ln 3, the cap of 2 makes it 1
    softcap: 2,
    bias: { data: [3], shape: [1, 1, 1, 1] },
    score: [(s: number) => (seen.push(s), s * 10), (s: number) => s + 1],
  };

  const { lse } = attention(one, sequence(5), sequence(1), options);

  assertAlmostEquals(seen[0], 4, 1e-12);
  assertAlmostEquals(lse.data[0], 41, 1e-12);
});

Deno.test("attention() shows a key only if causal, window and every mask do", () => {
  const zeros = sequence(0, 0, 0, 0);
  const v = sequence(1, 10, 100, 1000);
  const mask = [({ j }: { j: number }) => j !== 2, ({ i }: { i: number }) => i !== 1];

  const { out } = attention(zeros, zeros, v, { causal: true, window: { left: 2 }, mask });

  assertEquals(out.data, Float64Array.of(1, 0, 11 / 2, 1010 / 2)); // 0; none; 0, 1; 1, 3
});

Deno.test("attention() makes a row NaN whose score is NaN", () => {
  for (const weight of WEIGHTS) {
    const score = (s: number, { i }: { i: number }) => i === 0 ? NaN : s;

    const { out } = attention(sequence(1, 1), one, one, { score, weight });

    assertEquals(Array.from(out.data, Number.isNaN), [true, false]);
  }
});

Deno.test("attention() does not divide sigmoids", () => {
  const { out, aux } = attention(one, sequence(0, ln(3)), sequence(4, 8), { weight: "sigmoid" });

  assertAlmostEquals(out.data[0], 4 / 2 + 8 * 3 / 4, 1e-12);
  assertEquals(aux, undefined);
});

Deno.test("attention() divides positive weights by their sum", () => {
  const k = sequence(2, -1, 1);
  const v = sequence(3, 100, 6);
  const relu = attention(one, k, v, { weight: "relu" });
  const elu = attention(one, k, sequence(1, 0, 0), { weight: "elu1" });
  const softplus = attention(one, sequence(ln(3), 0), sequence(1, 0), { weight: "softplus" });

  assertAlmostEquals(relu.out.data[0], (2 * 3 + 6) / 3, 1e-12);
  assertEquals(relu.aux?.data, Float64Array.of(3));
  assertAlmostEquals(elu.out.data[0], 3 / (3 + Math.exp(-1) + 2), 1e-12);
  assertAlmostEquals(softplus.out.data[0], 2 / 3, 1e-12); // log 4 : log 2
  assertAlmostEquals(softplus.aux?.data[0] ?? NaN, ln(8), 1e-12);
});

Deno.test("attention() returns zeros where the sum of the weights is 0", () => {
  const { out, aux } = attention(one, sequence(-2, -1), sequence(3, 6), { weight: "relu" });

  assertEquals(out.data, Float64Array.of(0));
  assertEquals(aux?.data, Float64Array.of(0));
});

Deno.test("attention() sums the values by their scores without a weight", () => {
  const { out, aux } = attention(one, sequence(2, -1), sequence(3, 5), { weight: "none" });

  assertEquals(out.data, Float64Array.of(1));
  assertEquals(aux, undefined);
});

Deno.test("attention() lets the last visible key break off the stick first", () => {
  const k = sequence(0, ln(3), 0, 50); // shares of 1/2, 3/4, 1/2; the last is hidden
  const v = sequence(1, 10, 100, 1000);
  const mask = ({ j }: { j: number }) => j < 3;

  const { out, aux } = attention(one, k, v, { weight: "stickBreaking", mask });

  assertAlmostEquals(out.data[0], 100 / 2 + 10 * 3 / 8 + 1 / 16, 1e-12);
  assertAlmostEquals(aux?.data[0] ?? NaN, ln(1 / 16), 1e-12);
});

Deno.test("attention() leaves nothing of the stick behind an infinite score", () => {
  const weight = "stickBreaking";

  const { out, aux } = attention(one, sequence(1, Infinity, 0), sequence(7, 4, 6), { weight });

  assertEquals(out.data, Float64Array.of(6 / 2 + 4 / 2));
  assertEquals(aux?.data, Float64Array.of(-Infinity));
});

Deno.test("attention() keeps weights of huge scores finite", () => {
  const k = sequence(-1000, 1000);
  const v = sequence(1, 2);
  const of = (weight: typeof WEIGHTS[number]) => attention(one, k, v, { weight }).out.data[0];

  for (
    const weight of ["softmax", "sigmoid", "softplus", "relu", "elu1", "stickBreaking"] as const
  ) {
    assertEquals(of(weight), 2);
  }
  assertEquals(of("none"), 1000);
});

Deno.test("attention() asks a weight function about visible keys only", () => {
  const asked: number[] = [];
  const weight = (s: number) => (asked.push(s), s + 1);
  const options = { mask: ({ j }: { j: number }) => j !== 1 };
  const [k, v] = [sequence(2, 3, 4), sequence(4, 9, 12)];

  const plain = attention(one, k, v, { ...options, weight: { weight, normalize: false } });
  const divided = attention(one, k, v, { ...options, weight: { weight, normalize: true } });

  assertEquals(asked, [2, 4, 2, 4]);
  assertEquals(plain.out.data, Float64Array.of(3 * 4 + 5 * 12));
  assertEquals(plain.aux, undefined);
  assertAlmostEquals(divided.out.data[0], 72 / 8, 1e-12);
  assertEquals(divided.aux?.data, Float64Array.of(8));
});
