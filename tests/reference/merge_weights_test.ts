import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  type AttentionPart,
  type MaskHook,
  mergeAttention,
  type ReferenceTensor,
  type WeighedPart,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";
import {
  at,
  denseHeads,
  denseProblem,
  nameOf,
  normal,
  range,
  sum,
  WEIGHTS,
} from "./dense_attention.ts";

const tolerance = { ratio: 1e-13 };

/** One row of one head, Dv 1. */
function row(out: number, aux: number): Required<Omit<WeighedPart, "lse">> {
  return { out: { data: [out], shape: [1, 1, 1, 1] }, aux: { data: [aux], shape: [1, 1, 1] } };
}

/** What a mask adds to those that a problem has. */
function also(mask: MaskHook | readonly MaskHook[] = [], more: MaskHook): MaskHook[] {
  return [...[mask].flat(), more];
}

for (const weight of WEIGHTS) {
  Deno.test(`mergeAttention() makes the whole of three parts for ${nameOf(weight)}`, () => {
    for (const seed of [1, 2, 3]) {
      const { q, k, v, options } = denseProblem(seed);
      const part = (start: number, end: number) => {
        const mask = also(options.mask, ({ j }) => start <= j && j < end);
        return attention(q, k, v, { ...options, weight, mask });
      };
      const parts = [part(7, 9), part(3, 7), part(0, 3)]; // the nearest keys first

      const merged = mergeAttention(parts, { weight });
      const inner = mergeAttention(parts.slice(1), { weight });
      const nested = mergeAttention([parts[0], inner], { weight });

      const whole = attention(q, k, v, { ...options, weight });
      for (const { out, lse, aux } of [merged, nested]) {
        assertClose("out", out.data, whole.out.data, tolerance);
        if (whole.aux) assertClose("aux", aux?.data ?? [], whole.aux.data, tolerance);
        assertEquals([out.shape, aux?.shape], [whole.out.shape, whole.aux?.shape]);
        assertEquals(lse === undefined, whole.lse === undefined);
      }
    }
  });
}

Deno.test("mergeAttention() adds numerators and denominators of divided weights", () => {
  const { out, aux } = mergeAttention([row(4, 1), row(8, 3), row(NaN, 0)], { weight: "relu" });

  assertEquals(out.data, Float64Array.of(7));
  assertEquals(aux?.data, Float64Array.of(4));
});

Deno.test("mergeAttention() returns zeros where all sums are 0", () => {
  const { out, aux } = mergeAttention([row(0, 0), row(0, 0)], { weight: "softplus" });

  assertEquals([out.data[0], aux?.data[0]], [0, 0]);
});

Deno.test("mergeAttention() adds outputs that are not divided", () => {
  const parts = [4, 8].map((out) => ({ out: { data: [out], shape: [1, 1, 1, 1] } }));

  for (const weight of ["sigmoid", "none", { weight: Math.tanh, normalize: false }] as const) {
    assertEquals(mergeAttention(parts, { weight }), {
      out: { data: Float64Array.of(12), shape: [1, 1, 1, 1] },
    });
  }
});

Deno.test("mergeAttention() gives each part what the parts before it left of the stick", () => {
  const parts = [row(4, Math.log(1 / 2)), row(8, Math.log(1 / 4)), row(16, -Infinity), row(NaN, 0)];

  const { out, aux } = mergeAttention(parts, { weight: "stickBreaking" });

  assertAlmostEquals(out.data[0], 4 + 8 / 2 + 16 / 8, 1e-12);
  assertEquals(aux?.data, Float64Array.of(-Infinity));
});

Deno.test("mergeAttention() reads the aux of a softmax that has no lse", () => {
  const parts = [row(4, 0), row(8, Math.log(3))];

  const { out, lse, aux } = mergeAttention(parts, { weight: "softmax" });

  assertAlmostEquals(out.data[0], 7, 1e-12);
  assertAlmostEquals(lse?.data[0] ?? NaN, Math.log(4), 1e-12);
  assertEquals(aux, lse);
});

Deno.test("mergeAttention() mixes parts by coefficients of the caller's", () => {
  // two rows of two heads, Dv 1
  const shape = [1, 2, 2, 1];
  const parts = [{ out: { data: [1, 2, 3, 4], shape } }, {
    out: { data: [10, 20, NaN, 40], shape },
  }];
  const heads = { data: [1, 1 / 2], shape: [2] };
  const rows = { data: [2, 1, 0, 1 / 4], shape: [1, 2, 2] };

  assertEquals(mergeAttention(parts, { coefficients: [heads, rows] }), {
    out: { data: Float64Array.of(21, 21, 3, 12), shape },
  });
  assertEquals(
    mergeAttention(parts, { coefficients: [3, 0] }).out.data,
    Float64Array.of(3, 6, 9, 12),
  );
});

Deno.test("mergeAttention() multiplies masses by coefficients without renormalisation", () => {
  const part = (out: number, lse: number): AttentionPart => {
    const { aux, ...rest } = row(out, lse);
    return { ...rest, lse: aux };
  };

  const { out, lse } = mergeAttention(
    [part(4, 0), part(8, Math.log(3)), part(NaN, -Infinity)],
    { coefficients: [2, 1 / 2, 1], masses: true },
  );

  assertAlmostEquals(out.data[0], 2 * 4 / 4 + 8 * 3 / 8, 1e-12);
  assertAlmostEquals(lse.data[0], Math.log(4), 1e-12);
});

Deno.test("mergeAttention() makes the soft causal mask of iLLaMA (T10)", () => {
  const random = new Random(5);
  const [q, k, v] = [3, 3, 2].map((dim) => normal(random, [1, 5, 2, dim]));
  const rho = 0.3;
  const causal = attention(q, k, v, { causal: true });
  const later = attention(q, k, v, { mask: ({ i, j }) => j > i }); // nothing for the last query

  const { out } = mergeAttention([causal, later], { coefficients: [1, rho], masses: true });

  const expected = edited(
    { q, k, v },
    (p, i) => p.map((weight, j) => j > i ? rho * weight : weight),
  );
  assertClose("out", out.data, expected, tolerance);
});

Deno.test("mergeAttention() calibrates attention to sinks as ACT does (T24)", () => {
  const random = new Random(6);
  const [q, k, v] = [3, 3, 2].map((dim) => normal(random, [1, 5, 2, dim]));
  const beta = 0.4;
  const sink = (j: number) => j === 1 || j === 3;
  const sinks = attention(q, k, v, { mask: ({ j }) => sink(j) });
  const rest = attention(q, k, v, { mask: ({ j }) => !sink(j) });
  const m = sinks.lse.data.map((lse, row) => 1 / (1 + Math.exp(rest.lse.data[row] - lse)));
  const rows = (data: Float64Array): ReferenceTensor => ({ data, shape: [1, 5, 2] });

  const mixed = mergeAttention([sinks, rest], {
    coefficients: [rows(m.map((x) => beta * x)), rows(m.map((x) => 1 - beta * x))],
  });
  const massed = mergeAttention([sinks, rest], {
    coefficients: [beta, rows(m.map((x) => (1 - beta * x) / (1 - x)))],
    masses: true,
  });

  const expected = edited({ q, k, v }, (p) => {
    const freed = (1 - beta) * sum(p.filter((_, j) => sink(j)));
    const others = sum(p.filter((_, j) => !sink(j)));
    return p.map((weight, j) => sink(j) ? beta * weight : weight * (1 + freed / others));
  });
  assertClose("mixed", mixed.out.data, expected, tolerance);
  assertClose("massed", massed.out.data, expected, tolerance);
  assertEquals(mixed.aux, undefined);
});

/** Softmax attention of one batch whose rows p are edited before they weigh the values. */
function edited(
  { q, k, v }: { q: ReferenceTensor; k: ReferenceTensor; v: ReferenceTensor },
  edit: (p: number[], i: number) => number[],
): number[] {
  const [heads] = denseHeads({ q, k, v, options: { scale: q.shape[3] ** -0.5 } });
  return range(q.shape[1]).flatMap((i) =>
    heads.flatMap(({ p }, h) => {
      const weights = edit(p[i], i);
      return range(v.shape[3]).map((d) =>
        sum(weights.map((weight, j) => weight * at(v, 0, j, h, d)))
      );
    })
  );
}
