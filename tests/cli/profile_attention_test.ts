import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { adapter } from "../adapter.ts";
import { called } from "./called.ts";

const ignore = adapter === null;
const SMALL = ["--heads", "2", "--head-dim", "8", "--runs", "2"];

/** The numbers of `profile attention --json`. */
async function profiled(...args: string[]): Promise<Readonly<Record<string, number>>> {
  const { code, stdout, stderr } = await called("profile", "attention", ...args, "--json");
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

/** Asserts that the speed-up is that over dense attention, and how far it is from the bound. */
function assertSpeedup(profile: Readonly<Record<string, number>>): void {
  const { medianMs, denseMs, speedupOverDense, workBound, ratioToBound, tileDensity } = profile;
  assertAlmostEquals(speedupOverDense, denseMs / medianMs, 1e-9);
  assertAlmostEquals(workBound, 1 / tileDensity, 1e-9);
  assertAlmostEquals(ratioToBound, speedupOverDense / workBound, 1e-9);
}

Deno.test({
  name: "profile times a block map beside dense attention, plain attention and its making",
  ignore,
  async fn() {
    const profile = await profiled(
      ...[...SMALL, "--q-len", "64", "--mask", "j <= i || j < 8 * h", "--score", "2 * s + f32(j)"],
      ...["--map", "--query-block", "16", "--key-block", "16", "--compare", "plain,naive"],
    );

    // head 1 sees 7 + 6 + ... + 1 keys more
    const pairs = 2 * (64 * 65 / 2) + 28;
    assertEquals(profile.flops, 2 * pairs * 16);
    assertAlmostEquals(profile.density, pairs / (2 * 64 * 64), 1e-12);
    assertEquals(profile.tileDensity, 10 / 16);
    assertSpeedup(profile);
    assert(profile.plainMs > 0 && profile.naiveMs > 0 && profile.mapMs > 0);
    assert(profile.rmsErrorRatio <= 2e-5);
  },
});

Deno.test({
  name: "profile checks weights and masks without a map",
  ignore,
  async fn() {
    const profile = await profiled(
      ...[...SMALL, "--q-len", "40", "--mask", "(i + j) % 2 == 0", "--weight", "s * s"],
    );

    assertEquals([profile.density, profile.tileDensity], [0.5, 1]);
    assertSpeedup(profile);
    assertEquals(profile.plainMs, undefined);
  },
});

Deno.test({
  name: "profile takes packed sequences",
  ignore,
  async fn() {
    const profile = await profiled(...SMALL, "--packed", "30,5,0,29", "--causal");

    assertEquals(profile.flops, 2 * 2 * (30 * 31 + 5 * 6 + 29 * 30) / 2 * 16);
    assert(profile.tileDensity > 0 && profile.tileDensity <= 1);
    assertSpeedup(profile);
  },
});

Deno.test({
  name: "profile takes one query on selected pages",
  ignore,
  async fn() {
    const profile = await profiled(
      ...[...SMALL, "--q-len", "1", "--kv-len", "256", "--selected-pages", "4", "--page-size", "8"],
    );

    assertEquals([profile.density, profile.flops], [1 / 4, 2 * 2 * 64 * 16]);
    assertSpeedup(profile);
  },
});

Deno.test({
  name: "profile prints density, tiles and the bound in its table",
  ignore,
  async fn() {
    const { code, stdout } = await called(
      ...["profile", "attention", ...SMALL, "--q-len", "32", "--mask", "j <= i", "--map"],
    );

    assertEquals(code, 0);
    for (const column of ["over dense", "map ms", "density", "tiles", "work bound", "of bound"]) {
      assertStringIncludes(stdout, `  ${column}`);
    }
    assertStringIncludes(stdout, "B1 T32 S32 H2 D8 f32 mask j <= i map 64x64");
  },
});

Deno.test({
  name: "show wgsl prints what users write, expanded",
  ignore,
  async fn() {
    const { code, stdout } = await called(
      ...["show", "wgsl", "attention", "--q-len", "8", "--head-dim", "8"],
      ...["--score", "s - 0.5 * f32(i - j)", "--mask", "j <= i + h", "--weight", "s * tanh(s)"],
    );

    assertEquals(code, 0);
    assertStringIncludes(stdout, "return s - (0.5f * f32(i - j));");
    assertStringIncludes(stdout, "return j <= (i + h);");
    assertStringIncludes(stdout, "return s * hook_tanh(s);");
  },
});

const MISTAKES: Readonly<Record<string, string>> = {
  "--map": "--map must come with --mask",
  "--mask j<=i --key-block 8": "--key-block must come with --map",
  "--mask j<=i --map --causal": "--causal must be part of --mask where there is --map",
  "--mask j<=i --map --packed 3,4": "--map and --packed must not both be given",
  "--packed 3,4 --page-size 8": "--packed and --selected-pages must not both be given",
  "--packed 3,4 --q-len 7": "--q-len must not come with --packed",
  "--packed 3,4 --batch 2": "--batch must be 1 where there is --packed",
  "--packed 3,x": '--packed must be integers such as 30,900,128, current value is "3,x"',
  "--selected-pages 0": '--selected-pages must be an integer >= 1, current value is "0"',
  "--packed 3,4 --compare naive": '--compare must name one of dense, current value is "naive"',
};

for (const [line, message] of Object.entries(MISTAKES)) {
  Deno.test(`profile attention ${line} is wrong usage`, async () => {
    const { code, stdout, stderr } = await called("profile", "attention", ...line.split(" "));

    assertEquals([code, stdout, stderr], [2, "", `Cannot run the command: ${message}\n`]);
  });
}

const REFUSALS: Readonly<Record<string, string>> = {
  "--packed 3,4 --sweep t=8..16":
    "Cannot pack sequences as they must fill a batch of 1: they have 7 tokens, the problem has B1 T8 S8\n",
  "--kv-len 100 --page-size 64":
    "Cannot cut keys into pages as pages must be full: there are 100 keys, pages have 64\n",
  "--mask s<0":
    'Cannot compile the mask as s is not declared, the nearest is "b": line 1, column 1\n  s<0\n  ^\n',
  "--weight s+y":
    'Cannot compile the weight as y is not declared, the nearest is "s": line 1, column 3\n  s+y\n    ^\n',
};

for (const [line, message] of Object.entries(REFUSALS)) {
  Deno.test(`profile attention ${line} is refused without a stack`, async () => {
    const { code, stdout, stderr } = await called("profile", "attention", ...line.split(" "));

    assertEquals([code, stdout, stderr], [1, "", message]);
  });
}
