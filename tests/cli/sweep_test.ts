import { assertEquals, assertThrows } from "@std/assert";
import type { AttentionCase } from "../../cli/attention_case.ts";
import { UsageError } from "../../cli/command.ts";
import { ATTENTION_SWEEPS } from "../../cli/attention_workload.ts";
import { parseSweep as parse } from "../../cli/sweep.ts";

const BASE: AttentionCase = {
  batch: 2,
  qLen: 10,
  kvLen: 20,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  valueDim: 16,
  dtype: "f16",
  inputs: "normal",
  seed: 1,
  causal: true,
};

const parseSweep = (text: string | undefined, base: AttentionCase) =>
  parse(text, base, ATTENTION_SWEEPS);

/** What a sweep of one size changes. */
function changed(text: string): Partial<AttentionCase> | undefined {
  const sweep = parseSweep(text, BASE);
  assertEquals(sweep?.cases.length, 1);
  const before = new Map(Object.entries(BASE));
  const entries = Object.entries(sweep?.cases[0] ?? {});
  return Object.fromEntries(entries.filter(([key, value]) => before.get(key) !== value));
}

Deno.test("parseSweep() doubles from the first size to the last", () => {
  const sweep = parseSweep("t=3..13", BASE);

  assertEquals(sweep?.key, "t");
  assertEquals(sweep?.cases.map(({ qLen, kvLen }) => [qLen, kvLen]), [[3, 3], [6, 6], [12, 12]]);
});

Deno.test("parseSweep() reads k as 1024", () => {
  const sizes = (text: string) => parseSweep(text, BASE)?.cases.map(({ qLen }) => qLen);

  assertEquals(sizes("t=1k..4k"), [1024, 2048, 4096]);
  assertEquals(sizes("q-len=512..1K"), [512, 1024]);
  assertEquals(sizes("t=7..7"), [7]);
});

Deno.test("parseSweep() sets what its key names and nothing else", () => {
  assertEquals(changed("t=5..5"), { qLen: 5, kvLen: 5 });
  assertEquals(changed("q-len=5..5"), { qLen: 5 });
  assertEquals(changed("kv-len=5..5"), { kvLen: 5 });
  assertEquals(changed("batch=5..5"), { batch: 5 });
  assertEquals(changed("heads=6..6"), { heads: 6, kvHeads: 6 });
  assertEquals(changed("head-dim=32..32"), { headDim: 32, valueDim: 32 });
});

Deno.test("parseSweep() returns null without a text", () => {
  assertEquals(parseSweep(undefined, BASE), null);
});

Deno.test("parseSweep() throws for anything else", () => {
  const wrong = [
    "",
    "t",
    "t=5",
    "t=5..",
    "t=0..4",
    "t=8..4",
    "t=1..2..3",
    "t=-1..4",
    "t=1.5..4",
    "t=1m..2m",
    "length=1..4",
    "toString=1..4",
  ];
  for (const text of wrong) {
    const error = assertThrows(() => parseSweep(text, BASE), UsageError);
    assertEquals(
      error.message,
      `Cannot run the command: --sweep must be KEY=A..B with KEY among t, q-len, kv-len, batch, heads, head-dim and 1 <= A <= B, current value is "${text}"`,
    );
  }
});
