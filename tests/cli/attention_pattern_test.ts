import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UsageError } from "../../cli/command.ts";
import { drawnHooks, type WrittenHooks } from "../../cli/drawn_hooks.ts";
import { type AttentionPattern, attentionPattern } from "../../cli/pattern/attention_pattern.ts";
import { blockStates } from "../../cli/pattern/block_shading.ts";
import { documentOf, type Picture } from "../../cli/pattern/picture.ts";
import { renderPng } from "../../cli/pattern/png.ts";
import { renderSvg } from "../../cli/pattern/svg.ts";
import { renderTerminal } from "../../cli/pattern/terminal.ts";
import { HookError } from "../../kernels/hooks/hook.ts";

/** What is given of a pattern, hooks as they are written. */
interface Part extends Omit<Partial<AttentionPattern>, "hooks"> {
  readonly hooks?: WrittenHooks;
}

/** A pattern of 6 queries and 6 keys. */
function patternOf({ hooks = {}, ...part }: Part): AttentionPattern {
  const plain = { qLen: 6, kvLen: 6, causal: false, window: undefined, band: null };
  return { ...plain, ...part, hooks: drawnHooks(hooks) };
}

/** The marks of a picture, row by row, and those of each panel by themselves. */
function marks(picture: Picture): string[][] {
  const { panels } = documentOf(picture) as { panels: { rows: string[] }[] };
  return panels.map(({ rows }) => rows);
}

Deno.test("attentionPattern() asks a mask among the keys of a band", () => {
  const hooks = { mask: "(i + j) % 2 == 0" };
  const picture = attentionPattern(patternOf({ hooks, causal: true, band: { lo: -9, hi: 0 } }));

  assertEquals(marks(picture), [["#·····", "·#····", "#·#···", "·#·#··", "#·#·#·", "·#·#·#"]]);
  assertEquals(picture.title, "Attention, 6 queries, 6 keys, causal, mask (i + j) % 2 == 0");
});

Deno.test("attentionPattern() has a panel for each head, the first with axes", () => {
  const hooks = { mask: "j == h" };
  const picture = attentionPattern(patternOf({ qLen: 2, kvLen: 3, heads: 3, hooks }));

  assertEquals(marks(picture), [["#··", "#··"], ["·#·", "·#·"], ["··#", "··#"]]);
  assertEquals(picture.panels.map(({ caption }) => caption), ["head 0", "head 1", "head 2"]);
  assertEquals(picture.panels.map(({ axes }) => axes !== undefined), [true, false, false]);
});

Deno.test("attentionPattern() tells full, partial and empty blocks apart", () => {
  const map = { queryBlock: 2, keyBlock: 3 };
  const picture = attentionPattern(patternOf({ hooks: { mask: "j <= i" }, map }));

  assertEquals(marks(picture), [["occ···", "ooc···", "###ccc", "###occ", "###ooc", "###ooo"]]);
});

Deno.test("blockStates() counts the pairs that there are, at the ends too", () => {
  const blocks = { qLen: 5, kvLen: 4, queryBlock: 2, keyBlock: 3 };

  assertEquals(
    [...blockStates(0, (_, i, j) => j <= i || i === 4, blocks)],
    [1, 0, 2, 1, 2, 2],
  );
});

Deno.test("attentionPattern() shades scores of 0, and hides those of -Infinity", () => {
  const hooks = { score: "log(f32(max(i - j, 0)))" };
  const picture = attentionPattern(patternOf({ qLen: 5, kvLen: 5, hooks }));

  assertEquals(marks(picture), [["·····", "-····", "+-···", "#+-··", "##+-·"]]);
  assertEquals(picture.legend.map(({ text }) => text).at(-1), "not seen");
  const constant = attentionPattern(patternOf({ hooks: { score: "s + 2" } }));
  assertEquals(marks(constant)[0][0], "######");
  assertEquals(constant.legend[0].text, "seen, score 2.00");
});

Deno.test("attentionPattern() draws hooks in the terminal, as SVG and as PNG", async () => {
  const hooks = { mask: "i < 3 && j > 2" };
  const picture = attentionPattern(patternOf({ hooks, map: { queryBlock: 2, keyBlock: 2 } }));

  const text = renderTerminal(picture, { width: 80, colour: false });
  assertStringIncludes(text, "mask i < 3 && j > 2, blocks 2x2");
  assertStringIncludes(text, "seen, in a full block: no mask is asked");
  const svg = renderSvg(picture);
  assertStringIncludes(
    svg,
    "<title>Attention, 6 queries, 6 keys, mask i &lt; 3 &amp;&amp; j &gt; 2",
  );
  assert((await renderPng(picture)).length > 100);
});

Deno.test("attentionPattern() refuses hooks that do not compile, and too many cells", () => {
  assertThrows(() => attentionPattern(patternOf({ hooks: { mask: "j <= x" } })), HookError);
  assertThrows(
    () => attentionPattern(patternOf({ qLen: 1024, kvLen: 1024, heads: 5 })),
    UsageError,
    "it has 5 x 1024 x 1024",
  );
});
