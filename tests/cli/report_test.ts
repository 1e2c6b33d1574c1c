import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Profile, ProfileRun } from "../../cli/profile/document.ts";
import { growthOf } from "../../cli/profile/growth.ts";
import { rooflineOf } from "../../cli/profile/roofline.ts";
import { rooflineChart, timesChart } from "../../cli/report/charts.ts";
import { printProfiles } from "../../cli/profile/text.ts";
import { pageOf } from "../../cli/report/page.ts";
import { printed } from "./called.ts";

const CEILINGS = { gflops: 80, gbps: 10, commandGbps: 12 };

/** A profile of a problem that takes `medianMs`. */
function profileOf(operator: string, name: string, medianMs: number): Profile {
  const [flops, bytes] = [4e8, 1e6];
  const [gflops, gbps] = [flops / medianMs / 1e6, bytes / medianMs / 1e6];
  return {
    ...{ operator, name, problem: {}, adapter: "an adapter", schedule: "tiled" },
    ...{ minMs: 0.9 * medianMs, medianMs, p90Ms: 1.2 * medianMs, runs: 20, timer: "timestamps" },
    ...{ flops, bytes, gflops, gbps, ceilingGflops: 80, ceilingGbps: 10 },
    ...{ fractionOfCeiling: gflops / 80, roofline: rooflineOf({ flops, bytes }, CEILINGS) },
    ...{ rmsErrorRatio: 1e-7, peakBytes: 1024, compileMs: 90 },
  };
}

const PASSES = [
  { label: "first pass", count: 1, minMs: 1, medianMs: 2, share: 0.25 },
  { label: "second pass", count: 3, minMs: 5, medianMs: 6, share: 0.75 },
];

const RUN: ProfileRun = {
  command: "./tessera profile gla --mask 'i < j & \"k\"'",
  ...{ date: "2026-11-22T00:00:00.000Z", adapter: "an <adapter>", ceilings: CEILINGS },
  profiles: [
    { ...profileOf("gla", "T1024", 8), passes: PASSES, naiveMs: 80, speedup: 10 },
    { ...profileOf("gla", "T2048 mask i < j", 16), naiveMs: 190, speedup: 190 / 16 },
  ],
  growth: growthOf({ key: "t", sizes: [1024, 2048] }, [8, 16]),
  leftOut: [{ operator: "kda", name: "T1", reason: "it does not fit" }],
};

/** The addresses to which a document refers, names of namespaces aside. */
function references(html: string): string[] {
  const plain = html.replaceAll('xmlns="http://www.w3.org/2000/svg"', "");
  return plain.match(/(?:https?:)?\/\/\w[^\s"')]*|@import|<script|<link|srcset=|url\(/g) ?? [];
}

Deno.test("rooflineOf() finds the lower ceiling", () => {
  assertEquals(rooflineOf({ flops: 40, bytes: 10 }, CEILINGS), {
    ...{ intensity: 4, bound: "copy", attainableGflops: 40 },
  });
  assertEquals(rooflineOf({ flops: 80, bytes: 10 }, CEILINGS), {
    ...{ intensity: 8, bound: "multiply-adds", attainableGflops: 80 },
  });
});

Deno.test("growthOf() fits time to the tokens of a length", () => {
  const linear = growthOf({ key: "kv-len", sizes: [1, 2, 4] }, [3, 6, 12]);
  const square = growthOf({ key: "side", sizes: [8, 16] }, [5, 20]);

  assertEquals([linear?.variable, linear?.values], ["kv-len", [1, 2, 4]]);
  assertEquals(linear?.law.exponent.toFixed(9), "1.000000000");
  assertEquals([square?.variable, square?.values], ["side^2", [64, 256]]);
  assertEquals(square?.law.exponent.toFixed(9), "1.000000000");
});

Deno.test("growthOf() tells nothing of what is no length, or of one point", () => {
  assertEquals(growthOf({ key: "heads", sizes: [1, 2] }, [1, 2]), undefined);
  assertEquals(growthOf({ key: "t", sizes: [8] }, [1]), undefined);
});

/** The lines that a run prints. */
async function linesOf(run: ProfileRun): Promise<string[]> {
  const { stdout } = await printed(() => {
    printProfiles(run);
    return Promise.resolve(0);
  });
  return stdout.trimEnd().split("\n");
}

Deno.test("printProfiles() prints the passes of a problem that stands alone", async () => {
  const [first, ...others] = RUN.profiles;
  const alone = await linesOf({ ...RUN, profiles: [first], growth: undefined, leftOut: [] });
  const together = await linesOf({ ...RUN, profiles: [first, ...others] });

  assertEquals(alone.slice(-5), [
    "schedule tiled, 20 runs by timestamps, first call 90.0 ms longer, 1024 bytes of scratch",
    "",
    "pass         times  median ms   min  share",
    "first pass       1       2.00  1.00  25.0%",
    "second pass      3       6.00  5.00  75.0%",
  ]);
  assert(!together.some((line) => line.startsWith("pass ")));
  assertEquals(together.slice(-2), [
    "time grows as t to the power of 1.00",
    "left out: kda T1: it does not fit",
  ]);
});

Deno.test("printProfiles() prints operator and schedule of each row where operators differ", async () => {
  const profiles = [...RUN.profiles, profileOf("kda", "T9", 3)];

  const [ceilings, head, first, , third] = await linesOf({ ...RUN, profiles, growth: undefined });

  assertEquals(
    ceilings,
    "an <adapter>: ceilings 80.0 GFLOP/s, 10.0 GB/s (12.0 GB/s by copy commands)",
  );
  assert(/^operator +problem +median ms .* FLOP\/byte +bound by .* schedule$/.test(head), head);
  assert(/^gla +T1024 +8.00 .* multiply-adds .* tiled$/.test(first), first);
  assert(/^kda +T9 .* tiled$/.test(third), third);
});

Deno.test("rooflineChart() draws both ceilings, and a numbered point and a line for each problem", () => {
  const svg = rooflineChart(RUN.profiles, CEILINGS);

  assert(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/.test(svg), svg.slice(0, 200));
  assertStringIncludes(svg, "multiply-adds: 80.0 GFLOP/s");
  assertStringIncludes(svg, "copy: 10.0 GB/s");
  assertStringIncludes(svg, ">T1024</text>");
  assertStringIncludes(svg, ">T2048 mask i &lt; j</text>");
  assertEquals(svg.match(/<circle/g)?.length, 4); // in the plot and in the list
  assertEquals(references(svg), []);
});

Deno.test("rooflineChart() names operators where they differ", () => {
  const svg = rooflineChart([RUN.profiles[0], profileOf("kda", "T9", 3)], CEILINGS);

  assertStringIncludes(svg, ">gla T1024</text>");
  assertStringIncludes(svg, ">kda T9</text>");
});

Deno.test("timesChart() draws the problem, its law and its rivals", () => {
  assert(RUN.growth !== undefined);
  const svg = timesChart(RUN.profiles, RUN.growth);

  for (const text of ["gla", "naive", "∝ t^1.00", "1,024", "2,048"]) {
    assertStringIncludes(svg, `>${text}</text>`);
  }
  assert(!svg.includes("dense attention"));
  assertEquals(svg.match(/<circle/g)?.length, 4);
  assertEquals(references(svg), []);
});

Deno.test("pageOf() is one document that refers to nothing outside", () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"><style>text { fill: red; }</style></svg>';
  const [roofline, times] = ["<svg>roofline</svg>", "<svg>times</svg>"];

  const page = pageOf(RUN, { roofline, times, patterns: [{ caption: "a < b", svg }] });

  assert(page.startsWith("<!doctype html>\n<html"), page.slice(0, 50));
  assertEquals(page.match(/<html|<\/html>|<body>|<\/body>/g)?.length, 4);
  assertEquals(references(page), []);
  assertStringIncludes(page, roofline);
  assertStringIncludes(page, times);
  const [, source = ""] = /<img alt="a &lt; b" src="data:image\/svg\+xml,([^"]*)"/.exec(page) ?? [];
  assertEquals(decodeURIComponent(source), svg);
});

Deno.test("pageOf() tells adapter, date, command, problems, passes and what was left out", () => {
  const page = pageOf(RUN, { roofline: "", patterns: [] });

  assertStringIncludes(page, "<title>Profile of gla</title>");
  assertStringIncludes(page, "<dd>an &lt;adapter&gt;</dd>");
  assertStringIncludes(page, RUN.date);
  assertStringIncludes(page, "profile gla --mask 'i &lt; j &amp; &quot;k&quot;'</code>");
  assertStringIncludes(page, "<td>T2048 mask i &lt; j</td>");
  assertStringIncludes(page, '<th class="number">over naive</th>');
  assertStringIncludes(page, '<td class="number">11.9x</td>');
  assertStringIncludes(page, "<td>second pass</td>");
  assertStringIncludes(page, '<td class="number">75.0%</td>');
  assertStringIncludes(page, "<td>it does not fit</td>");
  assert(!page.includes("Who sees whom") && !page.includes("<h2>Time</h2>"));
});
