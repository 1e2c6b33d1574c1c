import { assert, assertEquals } from "@std/assert";
import { type AttentionCase, attentionInputs, referenceOf } from "../../cli/attention_case.ts";
import { TOLERANCE } from "../../cli/host_tensor.ts";
import { spotCheck } from "../../cli/spot_check.ts";

const BASE: AttentionCase = {
  batch: 2,
  qLen: 9,
  kvLen: 9,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  valueDim: 12,
  dtype: "f32",
  inputs: "normal",
  seed: 1,
};

const MASKS: readonly [string, Partial<AttentionCase>][] = [
  ["no mask", {}],
  ["f16 inputs", { dtype: "f16" }],
  ["a scale", { scale: 2 }],
  ["causality", { causal: true }],
  ["causality and more keys", { causal: true, kvLen: 14 }],
  ["causality and fewer keys", { causal: true, kvLen: 5 }],
  ["causality from the top left", { causal: "top-left", kvLen: 14 }],
  ["a window", { window: { left: 2, right: 1 } }],
  ["a causal window and more keys", { causal: true, window: { left: 3 }, kvLen: 20 }],
  ["a score", { score: "s * s - 0.25 * f32(h + abs(i - j))", causal: true }],
  ["a mask", { mask: "j <= i + 1 && (i + j + h + b) % 3 != 0" }],
  ["weights by name", { weight: "stickBreaking", causal: true }],
  ["weights as text", { weight: "s * s", score: "s + 1" }],
  ["one query", { qLen: 1, kvLen: 30, causal: true }],
];

/** The right output of a case, at most rounded to f32. */
function rightOutput(c: AttentionCase): Float32Array {
  return new Float32Array(referenceOf(c, attentionInputs(c)).out.data);
}

for (const [what, part] of MASKS) {
  const c = { ...BASE, ...part };
  Deno.test(`spotCheck() agrees with a right output under ${what}`, () => {
    assert(spotCheck(c, attentionInputs(c), rightOutput(c)) < 1e-7);
  });

  Deno.test(`spotCheck() finds one wrong row under ${what}`, () => {
    const out = rightOutput(c);
    // the last row of the last head of the last batch entry sees a key in every case
    for (let i = out.length - c.valueDim; i < out.length; i++) out[i] += 0.01;
    assert(spotCheck(c, attentionInputs(c), out) > TOLERANCE[c.dtype]);
  });
}

Deno.test("spotCheck() looks at every row of a small problem", () => {
  const { qLen, heads, valueDim } = BASE;
  for (let row = 0; row < qLen; row++) {
    const out = rightOutput(BASE);
    out[row * heads * valueDim] += 1;

    assert(spotCheck(BASE, attentionInputs(BASE), out) > 0.01, `row ${row}`);
  }
});

Deno.test("spotCheck() finds an output that ignored the mask", () => {
  const c: AttentionCase = { ...BASE, causal: true };
  const { causal: _, ...unmasked } = c;

  assert(spotCheck(c, attentionInputs(c), rightOutput(unmasked)) > 0.1);
});

Deno.test("spotCheck() finds an output aligned to the other corner", () => {
  const c: AttentionCase = { ...BASE, kvLen: 14, causal: true };

  assert(spotCheck(c, attentionInputs(c), rightOutput({ ...c, causal: "top-left" })) > 0.1);
});

Deno.test("spotCheck() returns Infinity for a single NaN", () => {
  const out = rightOutput(BASE);
  out[5] = NaN;

  assertEquals(spotCheck(BASE, attentionInputs(BASE), out), Infinity);
});

Deno.test("spotCheck() agrees where there is no query or no key", () => {
  const noQuery = { ...BASE, qLen: 0 };
  const noKey = { ...BASE, kvLen: 0 };

  assertEquals(spotCheck(noQuery, attentionInputs(noQuery), []), 0);
  assertEquals(spotCheck(noKey, attentionInputs(noKey), new Float32Array(2 * 9 * 4 * 12)), 0);
});
