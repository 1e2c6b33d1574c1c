import { assert, assertEquals } from "@std/assert";
import { main } from "../../cli.ts";

/** What a command printed, and its exit code. */
interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process: `simulate` asks for no GPU. */
async function tessera(line: string): Promise<Called> {
  const { log, error } = console;
  let [stdout, stderr] = ["", ""];
  console.log = (text: string) => stdout += `${text}\n`;
  console.error = (text: string) => stderr += `${text}\n`;
  try {
    return { code: await main(line.split(" ")), stdout, stderr };
  } finally {
    console.log = log;
    console.error = error;
  }
}

/** The document of `simulate neighborhood --json`. */
async function json(flags: string): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await tessera(`simulate neighborhood ${flags} --json`);
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

const SMALL = "--layout 6x10 --window-size 4x5 --query-tokens 4 --kv-tokens 8";

Deno.test("simulate prints a pair of tiles as one document", async () => {
  const document = await json("--layout 6x10 --window-size 4x5 --query-tile 2x2 --kv-tile 2x4");

  // 2, 3 and 2 tiles on the first axis; 2 on the second, whichever the query tile
  assertEquals(document, {
    operator: "neighborhoodAttention",
    axes: [
      { length: 6, windowSize: 4, stride: 1, dilation: 1, causal: false },
      { length: 10, windowSize: 5, stride: 1, dilation: 1, causal: false },
    ],
    placement: "window",
    pairs: [{
      queryTile: [2, 2],
      keyTile: [2, 4],
      queryTiles: 15,
      visits: 70,
      busiest: 6,
      denseTiles: 9,
      workBound: 3600 / 2240,
      busiestBound: 1.5,
      flopBound: 3,
      density: 1200 / 2240,
      blockSparse: false,
    }],
  });
});

Deno.test("simulate reads one value for every axis, or one for each", async () => {
  const layout = "--layout 24x20x16 --query-tile 1x1x1 --kv-tile 1x1x1";

  const one = await json(`${layout} --window-size 5 --stride 3 --dilation 2 --causal true`);
  const each = await json(
    `${layout} --window-size 5x4x3 --stride 1x2x3 --dilation 3x2x1 --causal true,false,false`,
  );

  assertEquals(one.axes, [
    { length: 24, windowSize: 5, stride: 3, dilation: 2, causal: true },
    { length: 20, windowSize: 5, stride: 3, dilation: 2, causal: true },
    { length: 16, windowSize: 5, stride: 3, dilation: 2, causal: true },
  ]);
  assertEquals(each.axes, [
    { length: 24, windowSize: 5, stride: 1, dilation: 3, causal: true },
    { length: 20, windowSize: 4, stride: 2, dilation: 2, causal: false },
    { length: 16, windowSize: 3, stride: 3, dilation: 1, causal: false },
  ]);
});

Deno.test("simulate places key tiles on a grid for --placement grid", async () => {
  const flags = "--layout 256x256 --window-size 80 --query-tile 16x8 --kv-tile 16x8";

  const { placement, pairs } = await json(`${flags} --placement grid`);

  assertEquals(placement, "grid");
  assert(Array.isArray(pairs));
  const [{ workBound, busiestBound, flopBound }] = pairs;
  const bounds = [workBound, busiestBound, flopBound].map((bound) => bound.toFixed(2));
  assertEquals(bounds, ["7.51", "6.65", "10.24"]);
});

Deno.test("simulate lists every pair of 64 tokens in order of visits, whatever the limit", async () => {
  const { pairs } = await json("--layout 64x64 --window-size 13 --limit 1");

  assert(Array.isArray(pairs));
  assertEquals(pairs.length, 49);
  const cheapest = pairs.slice(0, 4).map(({ queryTile, keyTile, visits }) =>
    `${queryTile.join("x")} ${keyTile.join("x")} ${visits}`
  );
  assertEquals(cheapest, ["4x16 16x4 416", "16x4 4x16 416", "4x16 8x8 448", "16x4 8x8 448"]);
});

Deno.test("simulate prints the cheapest pairs as a table", async () => {
  const called = await tessera(`simulate neighborhood ${SMALL} --limit 3`);

  assertEquals(called, {
    code: 0,
    stdout: `\
query tile  kv tile  visits  work bound  busiest bound  FLOP bound  density  block-sparse
       1x4      4x2      60        1.88           2.50        3.00    0.625  no
       2x2      4x2      60        1.88           1.67        3.00    0.625  no
       2x2      1x8      65        1.73           2.40        3.00    0.577  no
3 of 12 tile pairs
`,
    stderr: "",
  });
});

Deno.test("simulate names what needs no mask", async () => {
  const flags = "--layout 16 --window-size 4 --stride 4 --query-tokens 4 --kv-tokens 2";

  const called = await tessera(`simulate neighborhood ${flags}`);

  assertEquals(called, {
    code: 0,
    stdout: `\
query tile  kv tile  visits  work bound  busiest bound  FLOP bound  density  block-sparse
         4        2       8        4.00           4.00        4.00     1.00  yes
`,
    stderr: "",
  });
});

/** A layout and a window that fit. */
const FINE = "--layout 16x16 --window-size 4";

const MISTAKES: Readonly<Record<string, string>> = {
  "--window-size 4": "--layout must be given",
  "--layout 16": "--window-size must be given",
  "--layout 16x --window-size 4":
    '--layout must be 1 to 3 integers such as 16x8, current value is "16x"',
  "--layout 8x8x8x8 --window-size 4":
    '--layout must be 1 to 3 integers such as 16x8, current value is "8x8x8x8"',
  "--layout 99999999999999999999 --window-size 4":
    '--layout must be 1 to 3 integers such as 16x8, current value is "99999999999999999999"',
  "--layout 16x16 --window-size 4,4":
    '--window-size must be 1 to 3 integers such as 16x8, current value is "4,4"',
  [`${FINE} --stride=-1`]: '--stride must be 1 to 3 integers such as 16x8, current value is "-1"',
  [`${FINE} --dilation 1.5`]:
    '--dilation must be 1 to 3 integers such as 16x8, current value is "1.5"',
  [`${FINE} --causal`]: "--causal needs a value, true|false,…",
  [`${FINE} --causal true,no`]:
    '--causal must be true or false, or one of them for each axis such as true,false, current value is "true,no"',
  [`${FINE} --query-tile 4x4`]: "--query-tile and --kv-tile must be given together",
  [`${FINE} --kv-tile 4x4`]: "--query-tile and --kv-tile must be given together",
  [`${FINE} --query-tile 4x4 --kv-tile 16`]:
    '--kv-tile must have a size >= 1 for each of 2 token axes, current value is "16"',
  [`${FINE} --query-tile 4x0 --kv-tile 4x4`]:
    '--query-tile must have a size >= 1 for each of 2 token axes, current value is "4x0"',
  [`${FINE} --kv-tokens 0`]: '--kv-tokens must be an integer >= 1, current value is "0"',
  [`${FINE} --limit 0`]: '--limit must be an integer >= 1, current value is "0"',
  [`${FINE} --placement free`]: '--placement must be one of window, grid, current value is "free"',
};

for (const [flags, message] of Object.entries(MISTAKES)) {
  Deno.test(`simulate exits 2 with one sentence for ${flags}`, async () => {
    const called = await tessera(`simulate neighborhood ${flags}`);

    const stderr = `Cannot run the command: ${message}\n`;
    assertEquals(called, { code: 2, stdout: "", stderr });
  });
}

for (const what of ["attention", "neighborhood twice"]) {
  Deno.test(`simulate exits 2 for ${what}`, async () => {
    const called = await tessera(`simulate ${what} ${FINE}`);

    const stderr = `Cannot simulate "${what}": what can be simulated is "neighborhood"\n`;
    assertEquals(called, { code: 2, stdout: "", stderr });
  });
}

const REFUSED: Readonly<Record<string, string>> = {
  "--layout 16x16 --window-size 4x4x4":
    "windowSize must be one value or one for each of 2 token axes: windowSize is [4,4,4]",
  "--layout 16 --window-size 4 --causal true,false":
    "causal must be one value or one for each of 1 token axes: causal is [true,false]",
  "--layout 16 --window-size 1": "windowSize must be an integer >= 2: axis 0 has 1",
  "--layout 16x9 --window-size 5 --dilation 2":
    "windowSize times dilation must not exceed the axis: axis 1 has 9 tokens, windowSize is 5, dilation is 2",
  "--layout 16 --window-size 4 --stride 5":
    "stride must not exceed windowSize: axis 0 has 16 tokens, windowSize is 4, stride is 5",
};

for (const [flags, rule] of Object.entries(REFUSED)) {
  Deno.test(`simulate exits 1 with the rule that is broken by ${flags}`, async () => {
    const called = await tessera(`simulate neighborhood ${flags} --json`);

    const stderr = `Cannot simulate neighborhood attention as ${rule}\n`;
    assertEquals(called, { code: 1, stdout: "", stderr });
  });
}
