import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type AttentionCase, attentionInputs } from "../../cli/attention_case.ts";
import { attentionBytes, visiblePairs } from "../../cli/attention_cost.ts";
import { inOrder } from "../../cli/attention_keys.ts";
import { keyRanges, problemOf } from "../../cli/attention_problem.ts";
import { denseCase, visitedTiles } from "../../cli/attention_sparsity.ts";
import { attentionWorkload } from "../../cli/attention_workload.ts";
import { spotCheck } from "../../cli/spot_check.ts";
import { attention as reference } from "../../reference/mod.ts";

/** A case of B 2, H 4 / 2, D 4. */
function caseOf(part: Partial<AttentionCase>): AttentionCase {
  return {
    ...{ batch: 2, qLen: 12, kvLen: 12, heads: 4, kvHeads: 2, headDim: 4, valueDim: 4 },
    ...{ dtype: "f32", inputs: "normal", seed: 1 },
    ...part,
  };
}

const MAP = { queryBlock: 4, keyBlock: 4 };
const PACKED = caseOf({ batch: 1, packed: [3, 0, 5, 4] });
const PAGES = caseOf({ kvLen: 48, pages: { selected: 4, size: 4 } });

Deno.test("visiblePairs() asks a mask, among the keys that a band leaves", () => {
  assertEquals(visiblePairs(caseOf({ mask: "j <= i" })), 8 * 78);
  assertEquals(visiblePairs(caseOf({ mask: "j % 2 == 0", causal: true })), 8 * 42);
  assertEquals(visiblePairs(caseOf({ mask: "j < 3 * h" })), 2 * 12 * (0 + 3 + 6 + 9));
  assertEquals(visiblePairs(caseOf({ mask: "j < b" })), 4 * 12);
  assertEquals(visiblePairs(caseOf({ mask: "j <= i", map: MAP })), 8 * 78);
});

Deno.test("visiblePairs() counts within sequences and among selected pages", () => {
  assertEquals(visiblePairs(PACKED), 4 * (9 + 25 + 16));
  assertEquals(visiblePairs({ ...PACKED, causal: true }), 4 * (6 + 15 + 10));
  assertEquals(visiblePairs(PAGES), 8 * 12 * 12);
  assertEquals(visiblePairs({ ...PAGES, causal: true }), 8 * 78);
});

Deno.test("visiblePairs() estimates where there are too many to ask", () => {
  const c = caseOf({ batch: 1, heads: 1, kvHeads: 1, qLen: 8192, kvLen: 8192 });

  const pairs = visiblePairs({ ...c, mask: "i / 64 % 8 == j / 64 % 8" });

  assertAlmostEquals(pairs / 8192 ** 2, 1 / 8, 1e-3);
});

Deno.test("attentionBytes() counts the pages that are seen", () => {
  assertEquals(attentionBytes(PAGES), attentionBytes(caseOf({})));
});

Deno.test("keyRanges() follows sequences, and the last key of a cache", () => {
  const packed = keyRanges({ ...PACKED, window: { left: 1 } });
  const cache = keyRanges({ ...PAGES, qLen: 2, causal: true });

  assertEquals([0, 2, 3, 7, 8].map(packed), [[0, 3], [1, 3], [3, 8], [6, 8], [8, 12]]);
  assertEquals([0, 1].map(cache), [[0, 11], [0, 12]]);
});

Deno.test("problemOf() says where keys are, and which hooks there are", () => {
  const { hooks, weight, keys } = problemOf(
    caseOf({ score: "s", mask: "j <= i + h", weight: "relu", map: MAP }),
  );

  assertEquals([hooks.scores.length, hooks.masks.length, weight.rule], [1, 1, "sum"]);
  assertEquals(keys, { kind: "blocks", batch: 1, heads: 4, qLen: 12, kvLen: 12, ...MAP });
  // pages so small are not worth a copy each
  assertEquals(problemOf(PAGES).keys, {
    ...{ kind: "cache", layout: "pages", pageSize: 4, pages: 24, capacity: 12 },
    ...{ lengthHeads: 0, tableHeads: 1, named: null },
  });
});

Deno.test("problemOf() refuses lengths that packs and pages do not fill, and a map of nothing", () => {
  assertThrows(
    () => problemOf({ ...PACKED, qLen: 13 }),
    RangeError,
    "they must fill a batch of 1: they have 12 tokens, the problem has B1 T13 S12",
  );
  assertThrows(
    () => problemOf({ ...PAGES, kvLen: 46 }),
    RangeError,
    "pages must be full: there are 46 keys, pages have 4",
  );
  assertThrows(() => problemOf(caseOf({ map: MAP })), TypeError, "there is none");
});

Deno.test("visitedTiles() counts the tiles that bands and sequences leave", () => {
  const tiles = { queries: 4, keys: 4 };

  assertEquals(visitedTiles(caseOf({ mask: "j <= i" }), tiles), 1);
  assertEquals(visitedTiles(caseOf({ causal: true }), tiles), 6 / 9);
  // one tile, then two rows of two, then one
  assertEquals(visitedTiles(PACKED, tiles), 6 / 9);
  assertEquals(visitedTiles(PAGES, tiles), 1 / 4);
});

Deno.test("denseCase() keeps what does not decide who sees whom", () => {
  const kept = { score: "2 * s", weight: "relu", softcap: 3 };
  const hiding = { mask: "j <= i", map: MAP, causal: true, window: { left: 3 } };

  assertEquals(denseCase(caseOf({ ...kept, ...hiding })), caseOf(kept));
  assertEquals(denseCase({ ...PACKED, packed: [12] }), caseOf({ batch: 1 }));
});

Deno.test("attentionWorkload() has the rivals that a case can have", () => {
  const rivals = (part: Partial<AttentionCase>): string[] =>
    Object.keys(attentionWorkload(caseOf(part)).rivals);

  assertEquals(rivals({}), ["naive"]);
  assertEquals(rivals({ score: "2 * s" }), ["naive", "plain"]);
  assertEquals(rivals({ mask: "j <= i" }), ["naive", "plain", "dense"]);
  assertEquals(rivals({ mask: "j <= i", map: MAP }), ["naive", "plain", "dense", "map"]);
  assertEquals(Object.keys(attentionWorkload(PACKED).rivals), ["dense"]);
  assertEquals(attentionWorkload(caseOf({ mask: "j <= i", map: MAP })).always, ["dense", "map"]);
  const { plain, naive } = attentionWorkload(caseOf({ mask: "j <= i", map: MAP })).rivals;
  assertEquals(plain().problem, caseOf({}));
  assertEquals(naive().problem, caseOf({ mask: "j <= i", schedule: "naive" }));
});

/** Cases whose keys are not in a row, and the same in float64. */
const PLACED: readonly [string, AttentionCase, Parameters<typeof reference>[3]][] = [
  ["packed sequences", PACKED, {
    mask: ({ i, j }) =>
      [[0, 3], [3, 8], [8, 12]].some(([a, b]) => a <= Math.min(i, j) && Math.max(i, j) < b),
  }],
  ["selected pages", { ...PAGES, causal: true, score: "s - 0.1 * f32(j)" }, {
    causal: true,
    score: (s, { j }) => s - Math.fround(0.1) * j,
  }],
];

for (const [what, c, options] of PLACED) {
  Deno.test(`spotCheck() agrees with a right output of ${what} alone`, () => {
    const inputs = attentionInputs(c);
    const [k, v] = [inputs.k, inputs.v].map((tensor) => inOrder(c, tensor));
    const { out } = reference(inputs.q, k, v, options);
    const right = new Float32Array(out.data);
    const wrong = right.map((x, at) => at < right.length - 4 ? x : x + 0.01);

    assert(spotCheck(c, inputs, right) < 1e-6);
    assert(spotCheck(c, inputs, wrong) > 1e-4);
  });
}
