import { assertEquals } from "@std/assert";
import type { AttentionCase } from "../../cli/attention_case.ts";
import { attentionBytes, attentionFlops, visiblePairs } from "../../cli/attention_cost.ts";

/** A case of B 1, H 1, D 8. */
function caseOf(part: Partial<AttentionCase>): AttentionCase {
  return {
    ...{ batch: 1, qLen: 10, kvLen: 10, heads: 1, kvHeads: 1, headDim: 8, valueDim: 8 },
    ...{ dtype: "f32", inputs: "normal", seed: 1 },
    ...part,
  };
}

/** Counts the pairs by the definition of mask and window. */
function countPairs(c: AttentionCase): number {
  const { left = Infinity, right = Infinity } = c.window ?? {};
  let pairs = 0;
  for (let i = 0; i < c.qLen; i++) {
    const own = c.causal === "top-left" ? i : i + c.kvLen - c.qLen;
    for (let j = 0; j < c.kvLen; j++) {
      const seen = j >= own - left && j <= own + right && !(c.causal && j > own);
      pairs += Number(seen);
    }
  }
  return c.batch * c.heads * pairs;
}

Deno.test("visiblePairs() counts every pair without a mask", () => {
  assertEquals(visiblePairs(caseOf({ batch: 2, heads: 3, qLen: 5, kvLen: 7 })), 210);
});

Deno.test("visiblePairs() counts a triangle under causality", () => {
  assertEquals(visiblePairs(caseOf({ causal: true })), 55);
  assertEquals(visiblePairs(caseOf({ causal: true, kvLen: 12 })), 75);
  assertEquals(visiblePairs(caseOf({ causal: "top-left", kvLen: 12 })), 55);
  assertEquals(visiblePairs(caseOf({ causal: true, kvLen: 4 })), 10);
});

Deno.test("visiblePairs() agrees with counting for masks, windows and lengths", () => {
  const sizes = [[1, 1], [7, 7], [5, 12], [12, 5], [1, 9], [9, 1], [0, 5], [5, 0]];
  const windows = [{}, { left: 0 }, { left: 3, right: 2 }, { right: 0 }, { left: 100, right: 1 }];
  for (const [qLen, kvLen] of sizes) {
    for (const causal of [false, true, "top-left"] as const) {
      for (const window of windows) {
        const c = caseOf({ batch: 2, heads: 3, qLen, kvLen, causal, window });
        assertEquals(visiblePairs(c), countPairs(c), JSON.stringify(c));
      }
    }
  }
});

Deno.test("attentionFlops() is two multiply-adds per channel of each visible pair", () => {
  assertEquals(attentionFlops(caseOf({})), 2 * 100 * 16);
  assertEquals(attentionFlops(caseOf({ causal: true, valueDim: 24 })), 2 * 55 * 32);
  assertEquals(
    attentionFlops(caseOf({ heads: 8, kvHeads: 8, qLen: 1024, kvLen: 1024, headDim: 64 })),
    2 * 8 * 1024 * 1024 * 72,
  );
});

Deno.test("attentionBytes() counts inputs and output once", () => {
  // q and out 10 x 6 rows, k and v 20 x 2 rows, each of 8 + 16 elements
  const c = caseOf({ kvLen: 20, heads: 6, kvHeads: 2, valueDim: 16 });

  assertEquals(attentionBytes(c), 4 * (60 + 40) * 24);
  assertEquals(attentionBytes({ ...c, dtype: "f16" }), 2 * (60 + 40) * 24);
  assertEquals(attentionBytes({ ...c, batch: 3 }), 3 * 4 * (60 + 40) * 24);
});
