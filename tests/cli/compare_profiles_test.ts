import { assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../../bench/compare_profiles.ts";
import { printed } from "./called.ts";

/** A document of `profile --all --json`, from the times of its problems. */
function documentOf(times: Readonly<Record<string, readonly [min: number, median: number]>>) {
  return {
    ...{ adapter: "an adapter", date: "2026-11-22", ceilingGflops: 80, ceilingGbps: 13 },
    profiles: Object.entries(times).map(([name, [minMs, medianMs]]) => ({
      ...{ operator: "gla", name, schedule: "tiled", minMs, medianMs },
      fractionOfCeiling: 2 / medianMs,
    })),
    leftOut: [],
  };
}

/** Compares two documents, or texts, and returns what was printed. */
async function compared(before: unknown, after: unknown, ...flags: string[]) {
  const directory = Deno.makeTempDirSync({ prefix: "tessera-compare-" });
  try {
    const paths = [before, after].map((content, i) => {
      const path = `${directory}/${i}.json`;
      Deno.writeTextFileSync(
        path,
        typeof content === "string" ? content : JSON.stringify(content),
      );
      return path;
    });
    const { code, stdout, stderr } = await printed(() => main([...paths, ...flags]));
    return { code, stdout, stderr: stderr.replaceAll(directory, "") };
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const OLD = documentOf({ a: [9, 10], b: [9, 10], c: [9, 10], d: [9, 10], gone: [1, 1] });

Deno.test("compare prints what became slower, faster, is missing or new", async () => {
  const times = { a: [9, 11], b: [9, 10.5], c: [9, 9], d: [9, 9.6], more: [1, 1] } as const;

  const { code, stdout, stderr } = await compared(OLD, documentOf(times));

  assertEquals([code, stderr], [1, ""]);
  assertEquals(stdout.split("\n"), [
    "an adapter: ceilings 80.0 GFLOP/s and 13.0 GB/s before, 80.0 GFLOP/s and 13.0 GB/s now",
    "slower  ms before  ms now  ratio  by minimum  of ceiling      schedule",
    "gla a        10.0    11.0  1.10x       1.00x  20.0% to 18.2%",
    "",
    "faster  ms before  ms now   ratio  by minimum  of ceiling      schedule",
    "gla c        10.0    9.00  0.900x       1.00x  20.0% to 22.2%",
    "",
    "missing: gla gone",
    "new: gla more",
    "1 slower, 1 faster, 2 as before",
    "",
  ]);
});

Deno.test("compare returns 0 where nothing became slower", async () => {
  const { code, stdout } = await compared(OLD, OLD);

  assertEquals(code, 0);
  assertStringIncludes(stdout, "\n0 slower, 0 faster, 5 as before\n");
});

Deno.test("compare takes another threshold", async () => {
  const now = documentOf({ a: [9, 11], b: [9, 10], c: [9, 10], d: [9, 10], gone: [1, 1] });

  assertEquals((await compared(OLD, now, "--threshold", "9")).code, 1);
  assertEquals((await compared(OLD, now, "--threshold", "11")).code, 0);
});

Deno.test("compare prints one document for --json", async () => {
  const now = documentOf({ a: [18, 20], b: [9, 10] });
  now.profiles[0].schedule = "looped";

  const { code, stdout } = await compared(OLD, now, "--json");

  const { adapter, percent, slower, faster, unchanged, missing, added } = JSON.parse(stdout);
  assertEquals([code, adapter, percent], [1, "an adapter", 5]);
  assertEquals(slower, [{
    ...{ operator: "gla", name: "a", oldMs: 10, newMs: 20, ratio: 2, minRatio: 2 },
    ...{ fractions: [0.2, 0.1], schedules: ["tiled", "looped"] },
  }]);
  assertEquals([faster.length, unchanged.length], [0, 1]);
  assertEquals([missing, added], [["gla c", "gla d", "gla gone"], []]);
});

Deno.test("compare returns 2 for files that are no profiles or of two adapters", async () => {
  const other = { ...OLD, adapter: "another" };
  const untimed = { ...OLD, profiles: [{ operator: "gla", name: "a", minMs: null }] };

  assertEquals(await compared(OLD, other), {
    ...{ code: 2, stdout: "" },
    stderr:
      "Cannot compare profiles as both must be of one adapter: they are of an adapter and another\n",
  });
  for (const wrong of [{}, [], "null", untimed]) {
    assertEquals(await compared(OLD, wrong), {
      ...{ code: 2, stdout: "" },
      stderr:
        "Cannot compare profiles as /1.json must be what profile --all --json prints: it has no profiles with times\n",
    });
  }
  const broken = await compared("{", OLD);
  assertEquals([broken.code, broken.stdout], [2, ""]);
  assertStringIncludes(broken.stderr, "as /0.json must be what profile --all --json prints: ");
});

Deno.test("compare returns 2 for wrong usage and 0 for --help", async () => {
  const one = await printed(() => main(["a.json"]));
  const lost = await printed(() => main(["lost.json", "lost.json"]));
  const help = await printed(() => main(["--help"]));

  assertEquals(one, {
    ...{ code: 2, stdout: "" },
    stderr: "Cannot compare profiles as two files must be named: 1 are\n",
  });
  assertEquals((await printed(() => main(["a", "b", "--jsn"]))).code, 2);
  assertEquals([lost.code, lost.stdout], [2, ""]);
  assertEquals([help.code, help.stderr], [0, ""]);
  assertStringIncludes(help.stdout, "tessera task compare OLD.json NEW.json");
});
