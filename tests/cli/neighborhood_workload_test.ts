import { assert, assertEquals } from "@std/assert";
import { type NeighborhoodCase, neighborhoodInputs } from "../../cli/neighborhood_case.ts";
import { neighborhoodWorkload, spotCheckNeighborhood } from "../../cli/neighborhood_workload.ts";
import { neighborhoodAttention as reference } from "../../reference/mod.ts";

const BASE: NeighborhoodCase = {
  ...{ batch: 2, layout: [7, 6], heads: 4, kvHeads: 2, headDim: 8, valueDim: 12 },
  ...{ dtype: "f32", inputs: "normal", seed: 1, pattern: { windowSize: 3 } },
};

const CASES: readonly [string, Partial<NeighborhoodCase>][] = [
  ["a window on a map", {}],
  ["one axis", { layout: [40], pattern: { windowSize: 7, dilation: 3, stride: 2 } }],
  ["three axes", { layout: [3, 4, 5], pattern: { windowSize: [2, 3, 2] } }],
  ["causality on one axis", { pattern: { windowSize: [3, 4], causal: [true, false] } }],
  ["additional keys", { additional: 5, scale: 2 }],
];

for (const [what, part] of CASES) {
  const c = { ...BASE, ...part };
  const inputs = neighborhoodInputs(c);
  const { q, k, v, ...additional } = inputs;
  const options = { ...c.pattern, ...additional, ...(c.scale && { scale: c.scale }) };
  const right = (): Float32Array => new Float32Array(reference(q, k, v, options).out.data);

  Deno.test(`spotCheckNeighborhood() agrees with a right output under ${what}`, () => {
    assert(spotCheckNeighborhood(c, inputs, right()) < 1e-7);
  });

  Deno.test(`spotCheckNeighborhood() finds one wrong row under ${what}`, () => {
    const out = right();
    for (let i = out.length - c.valueDim; i < out.length; i++) out[i] += 0.01;
    assert(spotCheckNeighborhood(c, inputs, out) > 2e-5);
  });
}

Deno.test("neighborhoodWorkload() counts two multiply-adds per channel of every visible pair", () => {
  // 42 queries that see 9 keys, 2 x 4 heads, 8 + 12 channels
  assertEquals(neighborhoodWorkload(BASE).flops, 2 * 2 * 4 * 42 * 9 * 20);
  assertEquals(neighborhoodWorkload({ ...BASE, additional: 5 }).flops, 2 * 2 * 4 * 42 * 14 * 20);
  const causal = { ...BASE, layout: [4], pattern: { windowSize: 3, causal: true } };
  assertEquals(neighborhoodWorkload(causal).flops, 2 * 2 * 4 * (1 + 2 + 3 + 3) * 20);
});

Deno.test("neighborhoodWorkload() counts inputs and output once", () => {
  // rows of q and out for 4 heads, of k and v for 2
  assertEquals(neighborhoodWorkload(BASE).bytes, 4 * 2 * 42 * (4 + 2) * 20);
  const half = { ...BASE, dtype: "f16", additional: 5 } as const;
  assertEquals(neighborhoodWorkload(half).bytes, 2 * 2 * (42 * 4 + 47 * 2) * 20);
});

Deno.test("neighborhoodWorkload() compares with all tokens of the layout", () => {
  const { problem } = neighborhoodWorkload(BASE).rivals.dense();
  assertEquals(problem, {
    ...{ batch: 2, qLen: 42, kvLen: 42, heads: 4, kvHeads: 2, headDim: 8, valueDim: 12 },
    ...{ dtype: "f32", inputs: "normal", seed: 1, lse: false },
  });
});
