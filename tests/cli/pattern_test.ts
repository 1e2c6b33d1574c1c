import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { decode } from "fast-png";
import { UsageError } from "../../cli/command.ts";
import { attentionPattern } from "../../cli/pattern/attention_pattern.ts";
import {
  neighborhoodMap,
  neighborhoodMatrix,
  tellingQueries,
} from "../../cli/pattern/neighborhood_pattern.ts";
import { groundTone, PAPER, type Rgb, toneOf } from "../../cli/pattern/palette.ts";
import { documentOf, type Picture, ticks } from "../../cli/pattern/picture.ts";
import { renderPng } from "../../cli/pattern/png.ts";
import { renderSvg } from "../../cli/pattern/svg.ts";
import { renderTerminal } from "../../cli/pattern/terminal.ts";
import { Random } from "../../cli/random.ts";
import { type NeighborhoodAxis, visibleKeys } from "../../reference/visible_keys.ts";

/** An axis with what is given, else a window of 3 on 8 tokens. */
function axis(given: Partial<NeighborhoodAxis> = {}): NeighborhoodAxis {
  return { length: 8, windowSize: 3, stride: 1, dilation: 1, causal: false, ...given };
}

function randomAxis(random: Random, longest: number): NeighborhoodAxis {
  const windowSize = random.integer(2, 5);
  const dilation = random.integer(1, 3);
  return {
    windowSize,
    dilation,
    length: random.integer(windowSize * dilation, longest),
    stride: random.integer(1, windowSize),
    causal: random.integer(0, 1) === 1,
  };
}

/** The text of a picture without colour. */
function plain(picture: Picture, width = 100): string[] {
  return renderTerminal(picture, { width, colour: false }).split("\n");
}

/** The marks of a picture, row by row, all panels together. */
function marks(picture: Picture): string[] {
  const { panels } = documentOf(picture) as { panels: { rows: string[] }[] };
  return panels.flatMap(({ rows }) => rows);
}

/** Where a row has a mark other than those of keys that are not seen. */
function seenIn(row: string): number[] {
  return [...row].flatMap((mark, i) => "·:',;`~_^".includes(mark) ? [] : [i]);
}

Deno.test("renderTerminal() draws causal attention as a triangle", () => {
  const pattern = { qLen: 3, kvLen: 4, causal: true, window: undefined, band: { lo: -9, hi: 1 } };

  assertEquals(plain(attentionPattern(pattern)), [
    "Attention, 3 queries, 4 keys, causal",
    "",
    "       key",
    "query  0 1 2 3",
    "    0  # # · ·",
    "    1  # # # ·",
    "    2  # # # #",
    "",
    "# seen by the query",
    "· not seen",
  ]);
});

Deno.test("attentionPattern() sees all keys without a band, and names a window", () => {
  const all = { qLen: 2, kvLen: 3, causal: false, window: undefined, band: null };
  const band = { ...all, kvLen: 4, window: { left: 1 }, band: { lo: 1, hi: 2 ** 30 } };

  assertEquals(marks(attentionPattern(all)), ["###", "###"]);
  assertEquals(attentionPattern(all).title, "Attention, 2 queries, 3 keys");
  assertEquals(marks(attentionPattern(band)), ["·###", "··##"]);
  assertEquals(attentionPattern(band).title, "Attention, 2 queries, 4 keys, window 1,");
});

Deno.test("renderTerminal() draws stride groups of one axis in two tones", () => {
  assertEquals(plain(neighborhoodMatrix(axis({ stride: 2 }))), [
    "1-D, 8 tokens, window 3, stride 2",
    "",
    "       key",
    "query  0 1 2 3 4 5 6 7",
    "    0  @ # # · · · · ·",
    "    1  # @ # · · · · ·",
    "    2  · · @ + + · · ·",
    "    3  · · + @ + · · ·",
    "    4  · · · · @ # # ·",
    "    5  · · · · # @ # ·",
    "    6  · · · · · + @ +",
    "    7  · · · · · + + @",
    "",
    "#+ seen by the query, the tone tells stride groups apart",
    "@ the query itself",
    "· not seen",
  ]);
});

Deno.test("neighborhoodMatrix() gives each dilation group its hue", () => {
  const picture = neighborhoodMatrix(axis({ dilation: 2, causal: true }));

  assertEquals(picture.title, "1-D, 8 tokens, window 3, dilation 2, causal");
  assertEquals(marks(picture), [
    ...["@·······", "·@······", "#·@·····", "·o·@····"],
    ...["#·#·@···", "·o·o·@··", "··#·#·@·", "···o·o·@"],
  ]);
});

Deno.test("neighborhoodMatrix() colours exactly the keys of the reference", () => {
  const random = new Random(7);
  for (let i = 0; i < 60; i++) {
    const random1d = randomAxis(random, 40);
    marks(neighborhoodMatrix(random1d)).forEach((row, query) => {
      assertEquals(seenIn(row), visibleKeys(random1d, query), JSON.stringify({ random1d, query }));
    });
  }
});

Deno.test("renderTerminal() draws windows and dilation groups on a map", () => {
  const axes = [axis({ length: 6, dilation: 2 }), axis({ length: 7 })];

  assertEquals(plain(neighborhoodMap(axes, [[0, 0], [3, 5], [5, 3]])), [
    "2-D, 6 × 7 tokens, window 3 × 3, dilation 2 × 1",
    "",
    "        axis 1",
    "axis 0  0 1 2 3 4 5 6",
    "     0  1 # # · · · ·",
    "     1  : : = = * o o",
    "     2  # # # · · · ·",
    "     3  : : = = * 2 o",
    "     4  # # # · · · ·",
    "     5  : : = 3 * o o",
    "",
    "1# query 0,0 and the 9 keys that it sees",
    "2o query 3,5 and the 9 keys that it sees",
    "3= query 5,3 and the 9 keys that it sees",
    "* seen by several of them",
    "·: not seen, a grey for each dilation group",
  ]);
});

Deno.test("neighborhoodMap() colours exactly the product of the reference's keys", () => {
  const random = new Random(11);
  for (let i = 0; i < 60; i++) {
    const axes = Array.from({ length: random.integer(2, 3) }, () => randomAxis(random, 15));
    const query = axes.map(({ length }) => random.integer(0, length - 1));
    const last = visibleKeys(axes[axes.length - 1], query[axes.length - 1]);
    const sees = axes.slice(0, -1).map((a, i) => visibleKeys(a, query[i]));

    marks(neighborhoodMap(axes, [query])).forEach((row, i) => {
      const place = axes.length === 2 ? [i] : [Math.floor(i / axes[1].length), i % axes[1].length];
      const seen = place.every((x, i) => sees[i].includes(x));
      assertEquals(seenIn(row), seen ? last : [], JSON.stringify({ axes, query, place }));
    });
  }
});

Deno.test("renderTerminal() stands the slices of three axes beside each other", () => {
  const axes = [axis({ length: 3, windowSize: 2 }), axis({ length: 3 }), axis({ length: 4 })];

  assertEquals(plain(neighborhoodMap(axes, [[0, 1, 3]]), 47).slice(1, 15), [
    "",
    "        axis 0 = 0           axis 0 = 1",
    "        axis 2",
    "axis 1  0 1 2 3",
    "     0  · # # #              · # # #",
    "     1  · # # 1              · # # #",
    "     2  · # # #              · # # #",
    "",
    "        axis 0 = 2",
    "",
    "",
    "        · · · ·",
    "        · · · ·",
    "        · · · ·",
  ]);
});

Deno.test("renderTerminal() shows the most telling cell where the line is too short", () => {
  const picture = neighborhoodMatrix(axis({ length: 12 }));

  assertEquals(plain(picture, 19).slice(2, 5), [
    "       key",
    "query  0 2 4 6 8 10",
    "    0  @##·········",
  ]);
  assertEquals(plain(picture, 13).slice(2), [
    "       key",
    "query  0 4 8",
    "    0  @#····",
    "    2  #@#···",
    "    4  ·#@#··",
    "    6  ··#@#·",
    "    8  ···#@#",
    "   10  ····#@",
    "",
    "# seen by the query",
    "@ the query itself",
    "· not seen",
    "one place shows the most telling of 2 x 2 cells",
  ]);
});

Deno.test("renderTerminal() colours cells, two to a character where they are many", () => {
  const picture = neighborhoodMatrix(axis({ length: 6 }));
  const [self, seen, ground] = [152, 25, 235];
  const wide = (colour: number) => `\x1b[48;5;${colour}m \x1b[48;5;${colour}m \x1b[0m`;
  const half = (upper: number, lower: number) => `\x1b[38;5;${upper}m\x1b[48;5;${lower}m▀\x1b[0m`;

  const large = renderTerminal(picture, { width: 19, colour: true }).split("\n");
  const small = renderTerminal(picture, { width: 18, colour: true }).split("\n");

  assertEquals(large.length, 2 + 2 + 6 + 1 + 3);
  assertEquals(large[4], "    0  " + [self, seen, seen, ground, ground, ground].map(wide).join(""));
  assertEquals(small.length, 2 + 2 + 3 + 1 + 3);
  assertEquals(
    small[4],
    "    0  " + half(self, seen) + half(seen, self) + half(seen, seen) +
      half(ground, ground).repeat(3),
  );
  assertEquals(small.at(-1), `${wide(ground)} not seen`);
});

Deno.test("ticks() returns at most 8 numbers, a power of two apart", () => {
  assertEquals(ticks(0), []);
  assertEquals(ticks(3), [0, 1, 2]);
  assertEquals(ticks(8), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(ticks(9), [0, 2, 4, 6, 8]);
  assertEquals(ticks(1000), [0, 128, 256, 384, 512, 640, 768, 896]);
});

Deno.test("tellingQueries() are near a corner, at an edge and in the middle", () => {
  assertEquals(tellingQueries([24, 16]), [[1, 1], [18, 15], [12, 8]]);
  assertEquals(tellingQueries([8, 9, 10]), [[4, 4, 5]]);
  assertEquals(tellingQueries([2, 3]), [[1, 1], [1, 2]]);
});

Deno.test("neighborhoodMatrix() throws for a picture of too many cells", () => {
  const { message } = assertThrows(
    () => neighborhoodMatrix(axis({ length: 1e9 })),
    UsageError,
  );

  assertEquals(
    message,
    "Cannot show the pattern as its picture must have at most 4194304 cells: it has 1000000000 x 1000000000",
  );
});

Deno.test("neighborhoodMap() states what differs between its axes", () => {
  const axes = [axis({ stride: 2, causal: true }), axis({ length: 9 }), axis({ causal: true })];

  assertEquals(
    neighborhoodMap(axes, [[0, 0, 0]]).title,
    "3-D, 8 × 9 × 8 tokens, window 3 × 3 × 3, stride 2 × 1 × 1, causal on axis 0 and axis 2",
  );
});

/** The names of the elements of XML in the order in which they close; throws where they do not. */
function elementsOf(xml: string): string[] {
  const open: string[] = [];
  const closed: string[] = [];
  const rest = xml.replace(
    /<(\/?)(\w+)((?: [\w-]+="[^"<]*")*)( ?\/)?>/g,
    (_, end, name, __, empty) => {
      if (end) assertEquals(open.pop(), name);
      else if (!empty) open.push(name);
      if (end || empty) closed.push(name);
      return "";
    },
  );
  assertEquals(open, []);
  assert(!/[<>&]/.test(rest), rest);
  return closed;
}

function css({ light }: { light: Rgb }): string {
  return light.map((part) => part.toString(16).padStart(2, "0")).join("");
}

Deno.test("renderSvg() is well-formed and has a path for each tone and its sample", () => {
  const svg = renderSvg(neighborhoodMatrix(axis({ stride: 2 })));

  const elements = elementsOf(svg);
  assertEquals(elements.slice(0, 4), ["title", "style", "rect", "text"]);
  assertEquals(elements.filter((name) => name === "path").length, 4 + 4);
  assertEquals(elements.at(-1), "svg");
  assertMatch(svg, /<title>1-D, 8 tokens, window 3, stride 2<\/title>/);
  for (const text of ["query", "key", "the query itself", "not seen"]) {
    assert(svg.includes(`>${text}</text>`), text);
  }
  assertMatch(svg, /@media \(prefers-color-scheme: dark\)/);
});

Deno.test("renderSvg() has a cell of its tone for each query", () => {
  const svg = renderSvg(neighborhoodMatrix(axis({ length: 4, windowSize: 2 })));

  const name = css(toneOf(0, "self"));
  const [, path] = new RegExp(`class="c${name} round" d="([^"]*)"`).exec(svg) ?? [];
  assertEquals(path, "M65 85h13v13h-13zM81 101h13v13h-13zM97 117h13v13h-13zM113 133h13v13h-13z");
});

Deno.test("renderSvg() splits a cell that two windows share", () => {
  const axes = [axis({ length: 3 }), axis({ length: 3 })];

  const svg = renderSvg(neighborhoodMap(axes, [[0, 0], [2, 2]]));

  elementsOf(svg);
  assert(svg.includes(`class="c${css(toneOf(0, "seen"))}" d="M80 84L95 84L80 99L80 84z`), svg);
  assert(svg.includes(`class="c${css(toneOf(1, "seen"))}" d="M95 84L95 99L95 99L80 99z`), svg);
});

Deno.test("renderSvg() joins small cells of a row", () => {
  const pattern = { qLen: 2, kvLen: 200, causal: false, window: undefined, band: { lo: 0, hi: 9 } };

  const svg = renderSvg(attentionPattern(pattern));

  assert(
    svg.includes(`class="c${css(toneOf(0, "seen"))}" d="M64 84h20v2h-20zM66 86h20v2h-20z"`),
    svg,
  );
});

Deno.test("renderPng() has the colours of the cells and the title", async () => {
  const picture = neighborhoodMatrix(axis({ length: 6 }));

  const { width, height, channels, data, text } = decode(await renderPng(picture));

  // cells of 16 with a gap of 1 between them, and a margin of 16
  assertEquals([width, height, channels], [127, 127, 3]);
  assertEquals(text.Title, "1-D, 6 tokens, window 3");
  const at = (x: number, y: number) => [...data.subarray(3 * (y * width + x)).subarray(0, 3)];
  assertEquals(at(15, 16), [...PAPER.light]);
  assertEquals(at(16, 16), [...toneOf(0, "self").light]);
  assertEquals(at(30, 30), [...toneOf(0, "self").light]);
  assertEquals(at(31, 16), [...PAPER.light]);
  assertEquals(at(32, 16), [...toneOf(0, "seen").light]);
  assertEquals(at(16 + 16 * 3, 16), [...groundTone(0).light]);
  assertEquals(at(110, 110), [...toneOf(0, "self").light]);
  assertEquals(at(111, 110), [...PAPER.light]);
});

Deno.test("renderPng() splits a cell that two windows share", async () => {
  const axes = [axis({ length: 3 }), axis({ length: 3 })];

  const { width, data } = decode(await renderPng(neighborhoodMap(axes, [[0, 0], [2, 2]])));

  const at = (x: number, y: number) => [...data.subarray(3 * (y * width + x)).subarray(0, 3)];
  assertEquals(at(32, 16), [...toneOf(0, "seen").light]);
  assertEquals(at(39, 22), [...toneOf(0, "seen").light]);
  assertEquals(at(39, 23), [...toneOf(1, "seen").light]);
  assertEquals(at(46, 30), [...toneOf(1, "seen").light]);
});

Deno.test("attentionPattern() draws every step-th query and key", () => {
  const pattern = {
    qLen: 7,
    kvLen: 7,
    causal: false,
    window: { left: 3 },
    band: { lo: -3, hi: 0 },
  };

  const picture = attentionPattern({ ...pattern, step: 3 });

  assertEquals(marks(picture), ["#··", "##·", "·##"]);
  assertEquals(picture.panels[0].axes, { rows: "query / 3", columns: "key / 3" });
});

Deno.test("neighborhoodMatrix() draws every step-th query and key", () => {
  const picture = neighborhoodMatrix(axis({ length: 9, windowSize: 5 }), 2);

  // windows of 0, 2, 4, 6 and 8 start at 0, 0, 2, 4 and 4
  assertEquals(marks(picture), ["@##··", "#@#··", "·#@#·", "··#@#", "··##@"]);
});
