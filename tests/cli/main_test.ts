import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { check } from "../../cli/check.ts";
import { Arguments } from "../../cli/command.ts";
import type { CheckItem } from "../../cli/outcome.ts";
import { PROPERTIES } from "../../cli/properties.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const ROOT = `${import.meta.dirname}/../..`;
const LAUNCHER = Deno.readTextFileSync(`${ROOT}/tessera`);
const [, PERMISSIONS = ""] = /^PERMISSIONS="(.*)"$/m.exec(LAUNCHER) ?? [];

/** No build of Deno has this backend, so that no adapter is found. */
const NO_ADAPTER = { DENO_WEBGPU_BACKEND: "webgpu" };

/** What a process printed, and its exit code. */
interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line as the launcher does. */
async function tessera(args: readonly string[], env: Record<string, string> = {}): Promise<Called> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--config", `${ROOT}/deno.json`],
      ...PERMISSIONS.split(" "),
      `${ROOT}/cli.ts`,
      ...args,
    ],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  });
  const { code, stdout, stderr } = await command.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out, stderr: err };
}

/** The words of a line. */
function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

/** Runs a command with --json and reads the one document that it prints. */
async function json(line: string): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await tessera([...words(line), "--json"]);
  assertEquals([code, stderr], [0, ""]);
  return JSON.parse(stdout);
}

for (const line of ["", "help", "--help"]) {
  Deno.test(`main() lists the commands for ${line || "no argument"}`, async () => {
    const { code, stdout, stderr } = await tessera(words(line));

    assertEquals([code, stderr], [0, ""]);
    for (const command of ["devices", "check", "profile", "tune", "simulate", "show", "run"]) {
      assertStringIncludes(stdout, `\n  ${command} `);
    }
  });
}

const HELP = {
  devices: [],
  check: ["quick", "cases N", "seed N", "dtype f32|f16", "bail", "jobs N"],
  profile: [
    ...["batch N", "heads N", "kv-heads N", "q-len N", "kv-len N", "head-dim N", "value-dim N"],
    ...["dtype f32|f16", "causal", "window L,R", "schedule NAME", "runs N", "compare NAME,…"],
    ...["sweep KEY=A..B", "layout XxYxZ", "key-dim N", "gate none|head|token|channel"],
    ...["html FILE", "all "],
  ],
  "profile --all": ["all ", "runs N", "html FILE"],
  "profile attention": [
    ...["q-len N", "causal ", "compare NAME,…", "score TEXT", "mask TEXT", "weight NAME|TEXT"],
    ...["map ", "query-block N", "key-block N", "packed N,…", "selected-pages N", "page-size N"],
  ],
  "profile neighborhoodAttention": [
    ...["layout XxYxZ", "window-size N|NxN…", "stride N|NxN…", "dilation N|NxN…"],
    ...["causal true|false,…", "additional N", "heads N", "dtype f32|f16", "sweep KEY=A..B"],
  ],
  "profile recurrence --compare attention": [
    ...["batch N", "length N", "heads N", "q-heads N", "k-heads N", "key-dim N", "value-dim N"],
    ...["dtype f32|f16", "mode auto|loop|chunk", "chunk-size 16|32|64", "schedule NAME"],
    ...["gate none|head|token|channel", "value-gate ", "bonus ", "normalize "],
  ],
  "profile gla": ["length N", "mode auto|loop|chunk", "state ", "compare NAME,…"],
  "profile selectiveScan": [
    ...["length N", "channels N", "states N", "layer ", "mode auto|loop|chunk", "state "],
    ...["chunk-size 16|32|64|128|256", "schedule NAME", "compare NAME,…", "sweep KEY=A..B"],
  ],
  "profile hgrn": ["length N", "channels N", "mode auto|loop|chunk", "state "],
  "profile causalConv1d": ["length N", "channels N", "width N", "activation none|silu", "state "],
  tune: ["runs N", "exhaustive ", "save FILE", "q-len N", "length N", "layout XxYxZ"],
  "tune gla": ["length N", "mode auto|loop|chunk", "chunk-size 16|32|64", "save FILE"],
  "simulate neighborhood": ["layout XxYxZ", "query-tile", "kv-tile", "placement"],
  show: ["q-len N", "dtype f32|f16", "schedule NAME", "layout XxYxZ", "out FILE"],
  "show wgsl attention": ["q-len N", "causal ", "schedule NAME", "score TEXT", "mask TEXT"],
  "show wgsl recurrence": ["length N", "gate none|head|token|channel", "normalize ", "state "],
  "show wgsl gla": ["length N", "chunk-size 16|32|64", "schedule NAME", "state "],
  "show pattern attention": [
    ...["q-len N", "kv-len N", "causal ", "window L,R", "mask TEXT|JSON", "score TEXT|JSON"],
    ...["inputs DIR", "heads N", "batch-entry N", "map ", "matrix FILE", "indices FILE"],
    ...["query-block N", "key-block N", "out FILE"],
  ],
  "show pattern neighborhoodAttention": [
    ...["layout XxYxZ", "window-size N|NxN…", "stride N|NxN…", "dilation N|NxN…"],
    ...["causal true|false,…", "queries XxY,XxY…", "out FILE"],
  ],
  run: ["inputs DIR", "options JSON", "outputs DIR", "repeat FILE"],
};

for (const [command, flags] of Object.entries(HELP)) {
  Deno.test(`main() shows every flag of ${command} for --help`, async () => {
    const { code, stdout, stderr } = await tessera([...words(command), "--help"], NO_ADAPTER);

    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, `tessera ${words(command)[0]}`);
    for (const flag of [...flags, "json", "help"]) assertStringIncludes(stdout, `\n  --${flag} `);
  });
}

const MISTAKES: Readonly<Record<string, string>> = {
  "chekc": 'unknown command "chekc", the nearest is "check"',
  "Profil attention": 'unknown command "Profil", the nearest is "profile"',
  "profile attention --head-dims 8": 'unknown flag "--head-dims", the nearest is "--head-dim"',
  "devices --jsn": 'unknown flag "--jsn", the nearest is "--json"',
  "check --quik": 'unknown flag "--quik", the nearest is "--quick"',
  "check --jobs 0": '--jobs must be an integer >= 1, current value is "0"',
  "run attention --input .": 'unknown flag "--input", the nearest is "--inputs"',
  "profile attention --runs": "--runs needs a value, N",
  "show wgsl attention --dtype --causal": "--dtype needs a value, f32|f16",
  "profile attention --dtype f64": '--dtype must be one of f32, f16, current value is "f64"',
  "profile attention --runs 0": '--runs must be an integer >= 1, current value is "0"',
  "profile attention --runs many": '--runs must be an integer >= 1, current value is "many"',
  "profile attention --heads 2.5": '--heads must be an integer >= 1, current value is "2.5"',
  "profile attention --window 5": '--window must be L,R with integers >= 0, current value is "5"',
  "profile attention --window=-1,0":
    '--window must be L,R with integers >= 0, current value is "-1,0"',
  "profile attention --compare fast": '--compare must name one of naive, current value is "fast"',
  "profile neighborhoodAttention --layout 8 --window-size 3 --compare naive,fast":
    '--compare must name one of naive, unfused, dense, current value is "fast"',
  "profile neighborhoodAttention --window-size 3": "--layout must be given",
  "profile neighborhoodAttention --layout 8 --q-len 3":
    'unknown flag "--q-len", the nearest is "--json"',
  "profile neighborhoodAttention --layout 8 --window-size 3 --sweep t=1..2":
    '--sweep must be KEY=A..B with KEY among side, length, batch, heads, head-dim and 1 <= A <= B, current value is "t=1..2"',
  "profile attention --sweep t=8":
    '--sweep must be KEY=A..B with KEY among t, q-len, kv-len, batch, heads, head-dim and 1 <= A <= B, current value is "t=8"',
  "profile --all gla": '--all must come without an operator, current value is "gla"',
  "profile --all --heads 8": 'unknown flag "--heads", the nearest is "--help"',
  "profile --all --compare naive": 'unknown flag "--compare", the nearest is "--help"',
  "profile gla --html": "--html needs a value, FILE",
  "profile gla --gate token": 'unknown flag "--gate", the nearest is "--state"',
  "profile recurrence --q-len 8 --compare attention":
    'unknown flag "--q-len", the nearest is "--json"',
  "profile recurrence --gate row":
    '--gate must be one of none, head, token, channel, current value is "row"',
  "profile recurrence --chunk-size 8":
    '--chunk-size must be one of 16, 32, 64, current value is "8"',
  "profile simpleGla --compare unfused":
    '--compare must name one of naive, attention, current value is "unfused"',
  "profile simpleGla --sweep length=1..2":
    '--sweep must be KEY=A..B with KEY among t, batch, heads, key-dim, value-dim and 1 <= A <= B, current value is "length=1..2"',
  "profile selectiveScan --heads 4": 'unknown flag "--heads", the nearest is "--help"',
  "profile hgrn --compare naive": '--compare must name one of loop, current value is "naive"',
  "profile causalConv1d --compare naive":
    '--compare must be left out as causalConv1d has no rivals, current value is "naive"',
  "profile causalConv1d --sweep states=1..2":
    '--sweep must be KEY=A..B with KEY among t, batch, channels, width and 1 <= A <= B, current value is "states=1..2"',
  "show pattern attention --layout 8": 'unknown flag "--layout", the nearest is "--out"',
  "show pattern neighborhoodAttention --windw-size 8":
    'unknown flag "--windw-size", the nearest is "--window-size"',
  "show pattern attention --q-len 0": '--q-len must be an integer >= 1, current value is "0"',
  "show pattern attention --out picture.gif":
    '--out must end in .svg or .png, current value is "picture.gif"',
  "show pattern neighborhoodAttention --window-size 3": "--layout must be given",
  "show pattern neighborhoodAttention --layout 8 --window-size 3 --queries 0":
    "--queries needs 2 or 3 token axes, the matrix of one axis shows all queries: --layout is 8",
  ...Object.fromEntries(
    ["8x0", "0", "0x0x0", "0x", "0x0,", "-1x0", "axb", "1e0x0", "0x0,".repeat(7) + "0x0"].map(
      (queries) => [
        `show pattern neighborhoodAttention --layout 8x9 --window-size 3 --queries=${queries}`,
        `--queries must be at most 7 tokens of the layout 8x9, such as 0x0, current value is "${queries}"`,
      ],
    ),
  ),
  "profile atention":
    'an operator must be named, among attention, neighborhoodAttention, recurrence, simpleGla, gla, deltaRule, gatedDeltaRule, kda, selectiveScan, hgrn, causalConv1d, the nearest to "atention" is "attention"',
};

for (const [line, message] of Object.entries(MISTAKES)) {
  Deno.test(`main() exits 2 with one sentence for ${line}`, async () => {
    const called = await tessera(words(line), NO_ADAPTER);

    const stderr = `Cannot run the command: ${message}\n`;
    assertEquals(called, { code: 2, stdout: "", stderr });
  });
}

Deno.test("main() exits 2 for something that cannot be shown", async () => {
  const called = await tessera(["show", "pattern"], NO_ADAPTER);

  const stderr =
    'Cannot show "pattern": what can be shown is "pattern attention", "pattern neighborhoodAttention", "wgsl attention", "wgsl neighborhoodAttention", "wgsl recurrence", "wgsl simpleGla", "wgsl gla", "wgsl deltaRule", "wgsl gatedDeltaRule", "wgsl kda"\n';
  assertEquals(called, { code: 2, stdout: "", stderr });
});

Deno.test("main() draws who sees whom without an adapter", async () => {
  const called = await tessera(words("show --causal pattern attention --q-len 2"), NO_ADAPTER);

  const stdout = [
    "Attention, 2 queries, 2 keys, causal",
    "",
    "       key",
    "query  0 1",
    "    0  # ·",
    "    1  # #",
    "",
    "# seen by the query",
    "· not seen",
    "",
  ].join("\n");
  assertEquals(called, { code: 0, stdout, stderr: "" });
});

Deno.test("main() draws masks that read tables without an adapter", async () => {
  const line = "show pattern attention --q-len 3 --json --mask";
  const called = await tessera([...words(line), '{"headWindow": [[1]]}'], NO_ADAPTER);

  assertEquals([called.code, called.stderr], [0, ""]);
  assertEquals(JSON.parse(called.stdout).panels, [{ rows: ["#··", "##·", "·##"] }]);
});

Deno.test("main() prints one document for show pattern --json", async () => {
  const document = await json(
    "show pattern neighborhoodAttention --layout 2x3 --window-size 2 --queries 1x2 --causal true,false",
  );

  assertEquals(document, {
    operator: "neighborhoodAttention",
    title: "2-D, 2 × 3 tokens, window 2 × 2, causal on axis 0",
    legend: [
      { marks: "1#", text: "query 1,2 and the 4 keys that it sees" },
      { marks: "·", text: "not seen" },
    ],
    panels: [{ rows: ["·##", "·#1"] }],
  });
});

Deno.test("main() writes pictures with the launcher's permissions", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "tessera-main-" });
  try {
    const line = "show pattern neighborhoodAttention --layout 8 --window-size 3";
    for (const name of ["a.svg", "a.PNG"]) {
      const out = `${directory}/${name}`;
      const called = await tessera([...words(line), "--out", out], NO_ADAPTER);

      assertEquals(called, { code: 0, stdout: `${out}\n`, stderr: "" });
      const start = new TextDecoder("latin1").decode(Deno.readFileSync(out)).slice(1, 4);
      assertEquals(start, name.slice(2));
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("main() exits 1 where a picture cannot be drawn or written", async () => {
  const line = "show pattern neighborhoodAttention --layout 8 --window-size";

  const small = await tessera(words(`${line} 9`), NO_ADAPTER);
  const lost = await tessera(words(`${line} 3 --out never-written/a.svg`), NO_ADAPTER);

  assertEquals([small.code, small.stdout], [1, ""]);
  assertEquals(
    small.stderr,
    "Cannot show neighborhood attention as windowSize times dilation must not exceed the axis: axis 0 has 8 tokens, windowSize is 9, dilation is 1\n",
  );
  assertEquals([lost.code, lost.stdout], [1, ""]);
  assertStringIncludes(lost.stderr, "Cannot write to never-written/a.svg: ");
});

for (
  const line of [
    "devices",
    "check --quick --json",
    "profile attention --json",
    "tune attention --json",
    "run attention --inputs tests/data/use-lite/layer0 --outputs never-written",
  ]
) {
  Deno.test(`main() exits 3 without an adapter for ${line}`, async () => {
    const called = await tessera(words(line), NO_ADAPTER);

    const stderr =
      "Cannot request a GPU device: no adapter is available (software adapters are allowed)\n";
    assertEquals(called, { code: 3, stdout: "", stderr });
  });
}

Deno.test({
  name: "main() exits 1 with one sentence for a problem that attention refuses",
  ignore,
  async fn() {
    const called = await tessera(words("profile attention --q-len 8 --kv-heads 3 --json"));

    const stderr =
      "Cannot compute attention as the heads of q must be a multiple of those of k: current heads are q=8, k=3\n";
    assertEquals(called, { code: 1, stdout: "", stderr });
  },
});

Deno.test({
  name: "main() describes the adapter for devices",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await tessera(["devices"]);

    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, adapter?.info.description ?? "");
    for (const word of ["driver", "f16 shaders", "subgroups", "timestamps", "maxBufferSize"]) {
      assertStringIncludes(stdout, `\n${word} `);
    }
    assertStringIncludes(stdout, "B1 T1024 S1024 H8 D64 f32 ");
    assertStringIncludes(stdout, "B1 T4096 H4 K64 V64 f32 token ");
  },
});

Deno.test({
  name: "main() prints one document for devices --json",
  ignore,
  async fn() {
    const { adapter: summary, driverKind, features, limits, schedules } = await json("devices");

    assertEquals(Object(summary).description, adapter?.info.description);
    assert(driverKind === "hardware" || driverKind === "software");
    assertEquals(Object.keys(Object(features)), ["f16", "subgroups", "timestamps"]);
    assertEquals(Object(limits).maxBufferSize, adapter?.limits.maxBufferSize);
    assert(Array.isArray(schedules));
    assertEquals(schedules.map(({ problem }) => problem), [
      "B1 T1024 S1024 H8 D64 f32",
      "B1 T1024 S1024 H8 D128 f32 causal",
      "B1 T1 S16384 H8 D64 f32",
      "B1 8192 H8 D64 f32 window 512",
      "B1 64x64 H8 D64 f32 window 13",
      "B1 8x32x32 H8 D64 f32 window 5",
      "B1 T4096 H4 K64 V64 f32 token",
    ]);
    for (const { default: first, valid } of schedules) {
      assertEquals(valid[0], first);
      assertEquals(valid.at(-1), "naive");
    }
  },
});

Deno.test({
  name: "main() prints every field of a profile --json",
  ignore,
  async fn() {
    const problem = "--q-len 40 --kv-len 64 --heads 2 --kv-heads 1 --head-dim 8 --causal";

    const profile = await json(`profile attention ${problem} --runs 3 --compare naive`);

    assertEquals(profile.operator, "attention");
    assertEquals(profile.problem, {
      ...{ batch: 1, qLen: 40, kvLen: 64, heads: 2, kvHeads: 1, headDim: 8, valueDim: 8 },
      ...{ dtype: "f32", inputs: "normal", seed: 1, lse: false, causal: true },
    });
    assertEquals(profile.adapter, adapter?.info.description);
    assert(typeof profile.schedule === "string" && profile.schedule !== "");
    const numbers = new Map(Object.entries(profile));
    const number = (name: string): number => {
      const value = numbers.get(name);
      assert(typeof value === "number" && Number.isFinite(value), `${name} is ${value}`);
      return value;
    };
    assertEquals(number("runs"), 3);
    // two heads of 40 rows that see 25 to 64 keys; two multiply-adds for each of 16 channels
    assertEquals(number("flops"), 2 * 2 * 40 * 44.5 * 16);
    assertEquals(number("bytes"), 4 * 16 * (40 * 2 + 64));
    assert(0 < number("minMs") && number("minMs") <= number("medianMs"));
    assert(number("medianMs") <= number("p90Ms"));
    assertAlmostEquals(number("gflops"), number("flops") / number("medianMs") / 1e6, 1e-9);
    assertAlmostEquals(number("gbps"), number("bytes") / number("medianMs") / 1e6, 1e-9);
    assertEquals(
      number("fractionOfCeiling"),
      Math.max(
        number("gflops") / number("ceilingGflops"),
        number("gbps") / number("ceilingGbps"),
      ),
    );
    assert(number("rmsErrorRatio") <= 2e-5);
    assert(number("peakBytes") >= 0);
    assert(number("compileMs") >= 0);
    assertAlmostEquals(number("speedup"), number("naiveMs") / number("medianMs"), 1e-9);
  },
});

Deno.test({
  name: "main() prints what the tile model allows beside a profile of a neighborhood",
  ignore,
  async fn() {
    const problem = "--layout 12x10 --window-size 5x4 --stride 1x2 --heads 2 --head-dim 8";

    const profile = await json(
      `profile neighborhoodAttention ${problem} --runs 3 --compare naive,unfused`,
    );

    assertEquals(profile.operator, "neighborhoodAttention");
    assertEquals(profile.problem, {
      ...{ batch: 1, layout: [12, 10], heads: 2, kvHeads: 2, headDim: 8, valueDim: 8 },
      ...{ dtype: "f32", inputs: "normal", seed: 1, lse: false },
      pattern: { windowSize: [5, 4], stride: [1, 2] },
    });
    const numbers = new Map(Object.entries(profile));
    const number = (name: string): number => Number(numbers.get(name));
    // two heads of 120 rows that see 20 keys; two multiply-adds for each of 16 channels
    assertEquals(number("flops"), 2 * 2 * 120 * 20 * 16);
    assertEquals(number("bytes"), 4 * 2 * 120 * 4 * 8);
    assertEquals(number("flopBound"), 6);
    assert(number("workBound") <= number("flopBound"));
    assertAlmostEquals(number("density"), number("workBound") / number("flopBound"), 1e-9);
    const { denseMs, medianMs, naiveMs, unfusedMs } = Object.fromEntries(numbers);
    assert([denseMs, naiveMs, unfusedMs].every((ms) => Number(ms) > 0));
    assertAlmostEquals(number("speedupOverDense"), Number(denseMs) / Number(medianMs), 1e-9);
    assertAlmostEquals(
      number("ratioToBound"),
      number("speedupOverDense") / number("workBound"),
      1e-9,
    );
    assert(number("rmsErrorRatio") <= 2e-5);
  },
});

Deno.test({
  name: "main() exits 1 with one sentence for a neighborhood that is refused",
  ignore,
  async fn() {
    const called = await tessera(
      words("profile neighborhoodAttention --layout 32x16 --window-size 7 --dilation 3 --json"),
    );

    const stderr =
      "Cannot profile neighborhood attention as windowSize times dilation must not exceed the axis: axis 1 has 16 tokens, windowSize is 7, dilation is 3\n";
    assertEquals(called, { code: 1, stdout: "", stderr });
  },
});

Deno.test({
  name: "main() prints the shaders of a neighborhood",
  ignore,
  async fn() {
    const flags = "--layout 12x10 --window-size 5 --heads 2 --head-dim 8";

    const tiled = await json(`show wgsl neighborhoodAttention ${flags}`);
    const naive = await json(`show wgsl neighborhoodAttention ${flags} --schedule naive`);

    assert(Array.isArray(tiled.programs) && Array.isArray(naive.programs));
    assertStringIncludes(tiled.programs[0].code, "fn window_first(");
    assertEquals(naive.programs.map(({ label }) => label), [
      "neighborhood attention (naive scores)",
      "neighborhood attention (naive softmax)",
      "neighborhood attention (naive values)",
    ]);
  },
});

Deno.test({
  name: "main() profiles the points of a sweep",
  ignore,
  async fn() {
    const problem = "--q-len 8 --heads 1 --head-dim 8 --dtype f16 --window 4,0 --schedule naive";

    const { operator, sweep, exponent, exponentOf, points } = await json(
      `profile attention ${problem} --runs 1 --sweep kv-len=1024..2k`,
    );

    assertEquals([operator, sweep, exponentOf], ["attention", "kv-len", "kv-len"]);
    assert(Array.isArray(points));
    const [first, second] = points.map(({ medianMs }) => medianMs);
    assertAlmostEquals(Number(exponent), Math.log2(second / first), 1e-9);
    assertEquals(points.map(({ problem }) => problem.kvLen), [1024, 2048]);
    for (const { problem, schedule, rmsErrorRatio, ...rest } of points) {
      assertEquals([problem.dtype, problem.window], ["f16", { left: 4, right: 0 }]);
      assertEquals(schedule, "naive");
      assert(rmsErrorRatio <= 2e-3);
      assertEquals("naiveMs" in rest || "speedup" in rest, false);
    }
  },
});

Deno.test({
  name: "main() profiles a recurrence beside its rivals",
  ignore,
  async fn() {
    const problem = "--length 64 --heads 2 --key-dim 8 --gate channel --mode chunk --chunk-size 16";

    const profile = await json(`profile recurrence ${problem} --runs 2 --compare naive,attention`);

    assertEquals(profile.operator, "recurrence");
    assertEquals(profile.problem, {
      ...{ batch: 1, length: 64, heads: 2, qHeads: 2, kHeads: 2, keyDim: 8, valueDim: 8 },
      ...{ dtype: "f32", gate: "channel", gates: "gentle", seed: 1, mode: "chunk", chunkSize: 16 },
    });
    const numbers = new Map(Object.entries(profile));
    const number = (name: string): number => Number(numbers.get(name));
    assertEquals(number("flops"), 6 * 64 * 2 * 8 * 8);
    assertEquals(number("bytes"), 4 * 64 * 2 * 5 * 8); // q, k, g, v and out
    assert(number("rmsErrorRatio") <= 1e-4);
    assertAlmostEquals(number("tokensPerSecond"), 64_000 / number("medianMs"), 1e-6);
    assertAlmostEquals(number("speedup"), number("naiveMs") / number("medianMs"), 1e-9);
    assert(number("attentionMs") > 0);
  },
});

Deno.test({
  name: "main() counts the state that a step reads and writes",
  ignore,
  async fn() {
    const step = await json("profile gla --length 1 --state --heads 2 --key-dim 8 --runs 2");

    // q, k, g, v and out, then a state twice
    const bytes = 4 * 2 * (5 * 8 + 2 * 8 * 8);
    assertEquals([step.bytes, step.bytesPerToken], [bytes, bytes]);
    assert(Number(step.rmsErrorRatio) <= 1e-4);
  },
});

Deno.test({
  name: "main() profiles a scan of channels beside its baseline",
  ignore,
  async fn() {
    const problem = "--length 64 --channels 8 --states 4 --layer --state";

    const profile = await json(`profile selectiveScan ${problem} --runs 2 --compare naive`);

    assertEquals(profile.operator, "selectiveScan");
    assertEquals(profile.problem, {
      ...{ batch: 1, length: 64, channels: 8, dtype: "f32", seed: 1, state: true },
      ...{ states: 4, layer: true },
    });
    assertEquals(profile.flops, 64 * 8 * (7 * 4 + 7));
    assert(Number(profile.rmsErrorRatio) <= 1e-4);
    assertAlmostEquals(Number(profile.speedup), Number(profile.naiveMs) / Number(profile.medianMs));
  },
});

Deno.test({
  name: "main() fits how the time of a sweep grows with the tokens",
  ignore,
  async fn() {
    const line = "profile gla --heads 1 --key-dim 8 --runs 1 --sweep t=64..128";

    const { operator, sweep, exponent, points } = await json(line);
    const { stdout } = await tessera(words(line));

    assertEquals([operator, sweep], ["gla", "t"]);
    assert(Array.isArray(points));
    assertEquals(points.map(({ operator, problem }) => [operator, problem.length, problem.gate]), [
      ["gla", 64, "channel"],
      ["gla", 128, "channel"],
    ]);
    assertAlmostEquals(
      Number(exponent),
      Math.log2(points[1].medianMs / points[0].medianMs),
      1e-9,
    );
    assert(/^time grows as t to the power of -?[\d.]+$/m.test(stdout), stdout);
    assert(/ tokens\/s$/m.test(stdout), stdout);
  },
});

Deno.test({
  name: "main() prints a profile as a table",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await tessera(
      words("profile attention --q-len 16 --heads 1 --head-dim 8 --runs 2 --compare naive"),
    );

    assertEquals([code, stderr], [0, ""]);
    const [ceilings, head, row, rest] = stdout.split("\n");
    assertStringIncludes(ceilings, `${adapter?.info.description}: ceilings `);
    assertEquals(
      head.split(/ {2,}/),
      [
        "problem",
        "median ms",
        "min",
        "p90",
        "GFLOP/s",
        "GB/s",
        "FLOP/byte",
        "bound by",
        "of ceiling",
        "error",
        "over naive",
      ],
    );
    assert(row.startsWith("B1 T16 S16 H1 D8 f32 "), row);
    assert(/^schedule \S+, 2 runs by (timestamps|wall clock), first call /.test(rest), rest);
  },
});

Deno.test({
  name: "main() writes a page of a sweep with the launcher's permissions",
  ignore,
  async fn() {
    const directory = Deno.makeTempDirSync({ prefix: "tessera-main-" });
    try {
      const path = `${directory}/page.html`;
      const line = "profile attention --heads 1 --head-dim 8 --causal --runs 1 --sweep t=8..16";

      const { code, stdout, stderr } = await tessera([...words(line), "--html", path]);

      assertEquals([code, stderr], [0, ""]);
      assert(stdout.endsWith(`\n${path}\n`), stdout);
      const page = Deno.readTextFileSync(path);
      assertEquals(page.match(/<svg /g)?.length, 2);
      assertEquals(page.match(/<img [^>]*src="data:image\/svg/g)?.length, 2);
      assertStringIncludes(page, "<td>B1 T16 S16 H1 D8 f32 causal</td>");
      assertStringIncludes(page, `<code>./tessera ${line} --html ${path}</code>`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});

Deno.test({
  name: "main() prints the shaders of a problem",
  ignore,
  async fn() {
    const line = "show wgsl attention --q-len 8 --head-dim 8 --schedule naive";

    const text = await tessera(words(line));
    const { operator, schedule, programs } = await json(line);

    assertEquals([operator, schedule], ["attention", "naive"]);
    assert(Array.isArray(programs));
    assertEquals(programs.length, 3);
    for (const { label, code } of programs) {
      assertStringIncludes(code, "@compute");
      assertStringIncludes(text.stdout, `// ${label}\n${code}`);
    }
  },
});

Deno.test({
  name: "main() prints the shaders of all passes of a recurrence",
  ignore,
  async fn() {
    const line = "show wgsl recurrence --length 100 --heads 2 --key-dim 8 --normalize";

    const naive = await json(`${line} --schedule naive`);
    const chunks = await json(`${line} --mode chunk`);

    assert(Array.isArray(naive.programs) && Array.isArray(chunks.programs));
    assertEquals([naive.operator, naive.schedule], ["recurrence", "naive"]);
    assertEquals(naive.programs.map(({ label }) => label), ["recurrence (naive)"]);
    // what chunks add, the pass over states, the outputs
    const texts = new Set(chunks.programs.map(({ code }) => code));
    assert(texts.size >= 3 && texts.size === chunks.programs.length, `${texts.size} texts`);
  },
});

Deno.test({
  name: "main() runs an operator on files with the launcher's permissions",
  ignore,
  async fn() {
    const outputs = Deno.makeTempDirSync({ prefix: "tessera-main-" });
    try {
      const inputs = `${ROOT}/tests/data/use-lite/layer0`;

      const called = await tessera(
        ["run", "attention", "--inputs", inputs, "--outputs", `${outputs}/new/results`],
      );

      assertEquals([called.code, called.stderr], [0, ""]);
      const names = [...Deno.readDirSync(`${outputs}/new/results`)].map(({ name }) => name);
      assertEquals(names.sort(), ["lse.npy", "out.npy"]);
    } finally {
      Deno.removeSync(outputs, { recursive: true });
    }
  },
});

Deno.test({
  name: "main() prints one document for check --json",
  ignore,
  async fn() {
    const { adapter: description, ...result } = await json("check platform");

    const name = "initialised variables start anew in each iteration";
    assertEquals(description, adapter?.info.description);
    assertEquals(result, {
      ok: true,
      problems: 1,
      groups: [
        {
          operator: "platform",
          group: "known traps",
          ok: true,
          outcomes: [{ name, ratio: 0, tolerance: 0, ok: true }],
        },
      ],
    });
  },
});

Deno.test({
  name: "main() prints the same for check with any number of jobs",
  ignore,
  async fn() {
    const [one, two] = [1, 2].map((jobs) =>
      tessera(words(`check platform retention --quick --jobs ${jobs}`))
    );

    const { code, stdout } = await one;
    assertEquals(code, 0);
    assertEquals(stdout.trimEnd().split("\n").length, 4);
    assertEquals(await two, await one);
  },
});

Deno.test({
  name: "main() refuses to check what does not exist",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await tessera(["check", "atention"]);

    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, 'Cannot check "atention": names must be among attention, ');
    for (const name of ["mergeAttention", "recurrence", "gla", "platform"]) {
      assertStringIncludes(stderr, ` ${name}, `);
    }
    assertStringIncludes(stderr, ', the nearest is "attention"\n');
  },
});

/** Runs check with more properties of the platform, in this process. */
async function checkWith(more: readonly CheckItem[], ...flags: string[]) {
  const properties = PROPERTIES[0].items as CheckItem[];
  const count = properties.length;
  const { log } = console;
  let stdout = "";
  properties.push(...more);
  console.log = (text: string) => stdout += `${text}\n`;
  try {
    return { code: await check.run(new Arguments(["platform", ...flags], check.flags)), stdout };
  } finally {
    console.log = log;
    properties.length = count;
  }
}

const BROKEN: readonly CheckItem[] = [
  {
    name: "is off by one",
    run: () => Promise.resolve({ name: "is off by one", ratio: 1, tolerance: 0, ok: false }),
  },
  { name: "throws", run: () => Promise.reject(new TypeError("Cannot go on")) },
];

Deno.test({
  name: "check.run() returns 1 and names what fails, after all the rest",
  ignore,
  async fn() {
    const { code, stdout } = await checkWith(BROKEN);

    assertEquals(code, 1);
    assertStringIncludes(stdout, "FAIL");
    assertStringIncludes(
      stdout,
      "platform known traps                     3 problems   worst 1.00 of 0",
    );
    assertStringIncludes(
      stdout,
      "     is off by one: error ratio 1.00\n     throws: Cannot go on\n",
    );
    assertStringIncludes(stdout, "3 problems on ");
  },
});

Deno.test({
  name: "check.run() stops at the first failure with --bail",
  ignore,
  async fn() {
    const { code, stdout } = await checkWith(BROKEN, "--bail", "--json");

    const { ok, problems, groups } = JSON.parse(stdout);
    assertEquals([code, ok, problems], [1, false, 2]);
    assertEquals(
      groups[0].outcomes[1],
      BROKEN[0] && {
        name: "is off by one",
        ratio: 1,
        tolerance: 0,
        ok: false,
      },
    );
  },
});
