import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Ceilings } from "../../cli/ceilings.ts";
import type { Candidate } from "../../cli/tune/choices.ts";
import { predictedMs } from "../../cli/tune/cost_model.ts";
import type { Demand } from "../../cli/tune/demand.ts";
import { readSaved, readTuning, withChoice, writeTuning } from "../../cli/tune/document.ts";
import { race } from "../../cli/tune/race.ts";
import { choose, ranked, type Standing } from "../../cli/tune/standing.ts";
import type { Workload } from "../../cli/workload.ts";
import { builtinWorkloads } from "../../cli/builtin_set.ts";
import { recurrenceWorkload } from "../../cli/recurrence_workload.ts";
import { type Gpu, requestGpu } from "../../mod.ts";
import { adapterKey } from "../../gpu/tuning.ts";
import { adapter } from "../adapter.ts";
import { planDevice } from "../ops/plan_device.ts";
import { called } from "./called.ts";

const ignore = adapter === null;
const CEILINGS: Ceilings = { gflops: 100, gbps: 10, commandGbps: 10 };

/** Runs a test with a path of a file that does not exist yet. */
async function withPath(body: (path: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "tessera-tune-" });
  try {
    await body(`${directory}/tuning.json`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const MISTAKES: Readonly<Record<string, string>> = {
  "tune atention": "an operator must be named, among attention, neighborhoodAttention",
  "tune attention --runs 0": '--runs must be an integer >= 1, current value is "0"',
  "tune attention --schedule naive": 'unknown flag "--schedule"',
  "tune attention --channels 8": 'unknown flag "--channels"',
  "tune attention --save": "--save needs a value, FILE",
  "tune --q-len 8": "--q-len must come with an operator, among attention",
  "tune hgrn --mode fast": '--mode must be one of auto, loop, chunk, current value is "fast"',
};

for (const [line, message] of Object.entries(MISTAKES)) {
  Deno.test(`tune exits 2 with one sentence for ${line}`, async () => {
    const { code, stdout, stderr } = await called(...line.split(" "));

    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, `Cannot run the command: ${message}`);
    assertEquals(stderr.trim().split("\n").length, 1);
  });
}

const BROKEN: Readonly<Record<string, string>> = {
  "{": "as it must hold a tuning or nothing: ",
  "[]": "as tuning must be an object: it is Array",
  '{ "version": 2, "adapters": {} }': "as tuning.version must be 1: it is 2",
};

for (const [text, message] of Object.entries(BROKEN)) {
  Deno.test(`tune exits 1 and leaves a file alone that holds ${text}`, async () => {
    await withPath(async (path) => {
      Deno.writeTextFileSync(path, text);

      const { code, stdout, stderr } = await called("tune", "hgrn", "--save", path);

      assertEquals([code, stdout], [1, ""]);
      assertStringIncludes(stderr, `Cannot save to ${path} ${message}`);
      assertEquals(Deno.readTextFileSync(path), text);
    });
  });
}

Deno.test({
  name: "tune exits 1 for a problem that it cannot tune, and a file that it cannot write",
  ignore,
  async fn() {
    const dense = "tune neighborhoodAttention --layout 8 --window-size 8".split(" ");
    const lost = "tune hgrn --length 8 --save never-written/tuning.json".split(" ");

    const [first, second] = [await called(...dense), await called(...lost)];

    assertEquals([first.code, first.stdout, second.code, second.stdout], [1, "", 1, ""]);
    assertStringIncludes(first.stderr, "Cannot tune neighborhood attention as its windows must");
    assertStringIncludes(second.stderr, "Cannot write to never-written/tuning.json: ");
  },
});

Deno.test({
  name: "tune --json --save prints one document and adds to what a file has",
  ignore,
  async fn() {
    await withPath(async (path) => {
      const other = { "attention f32 D64 full": { schedule: "split-8x1-buffer" } };
      Deno.writeTextFileSync(path, JSON.stringify({ version: 1, adapters: { other } }));
      const line = "tune hgrn --length 64 --channels 8 --runs 2 --json --save".split(" ");

      const { code, stdout, stderr } = await called(...line, path);

      assertEquals([code, stderr], [0, ""]);
      const document = JSON.parse(stdout);
      const [problem] = document.problems;
      assertEquals(document.problems.length, 1);
      assertEquals([document.saved, document.runs, document.exhaustive], [path, 2, false]);
      assertEquals([problem.operator, problem.problemClass], ["hgrn", "scan hgrn f32"]);
      assertEquals(names(problem).toSorted(), ["chunk-16", "loop"]);
      const [first] = problem.candidates;
      assertEquals([first.status, first.runs, problem.chosen], ["chosen", 2, first.schedule]);
      assert(first.medianMs >= first.minMs && first.minMs > 0 && first.compileMs >= 0);
      assert(first.predictedMs > 0 && first.rmsErrorRatio < 1e-4);
      const choice = first.schedule === "loop"
        ? { mode: "loop" }
        : { mode: "chunk", chunkSize: 16 };
      assertEquals(JSON.parse(Deno.readTextFileSync(path)), {
        version: 1,
        adapters: { other, [document.adapter]: { "scan hgrn f32": choice } },
      });
    });
  },
});

function names(problem: { readonly candidates: readonly { readonly schedule: string }[] }) {
  return problem.candidates.map(({ schedule }) => schedule);
}

Deno.test({
  name: "tune chooses a schedule that requestGpu({ tuning }) takes at any length",
  ignore,
  async fn() {
    await withPath(async (path) => {
      const line = "tune simpleGla --heads 1 --length 16 --key-dim 4 --runs 1 --save".split(" ");

      const { code, stdout, stderr } = await called(...line, path);

      assertEquals([code, stderr], [0, ""]);
      const tuning = await readTuning(path);
      using gpu = await requestGpu({ tuning });
      const key = adapterKey(gpu.adapter, gpu.features);
      const { schedule = "" } = tuning.adapters[key]["recurrence f32 K4 gate by token"];
      assertStringIncludes(stdout, `\n${schedule} `);
      assertStringIncludes(stdout, `saved to ${path} for ${key}`);
      const heads = { heads: 2, qHeads: 2, kHeads: 2, keyDim: 4, valueDim: 4 };
      const gates = { dtype: "f32", gate: "token", gates: "gentle", seed: 1 } as const;
      const longer = recurrenceWorkload({ batch: 1, length: 100, ...heads, ...gates });
      assertEquals(longer.scheduleOn(gpu), schedule);
    });
  },
});

Deno.test({
  name:
    "every problem of the built-in set has a class of its own, and its default among its choices",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const classes: string[] = [];
    for (const workload of builtinWorkloads()) {
      const { problemClass, candidates } = workload.choices(gpu);
      const standard = workload.scheduleOn(gpu);
      assert(candidates[0].name.startsWith(standard), `${workload.name}: ${standard}`);
      if (problemClass !== null) classes.push(problemClass);
    }
    assertEquals(new Set(classes).size, classes.length, classes.join("\n"));
    assert(classes.length >= 16);
  },
});

const LIGHT: Demand = {
  ...{ multiplies: 1e6, loads: 0, source: "buffer", exchanges: 0, exchange: "shuffle" },
  ...{ registers: 8, workgroupBytes: 0, threads: 64, workgroups: 1000, bytes: 0 },
};

/** A candidate that copies no data, with an error ratio. */
function candidate(gpu: Gpu, name: string, part: Partial<Candidate> & { error?: number } = {}) {
  const { error = 0, ...rest } = part;
  const workload: Pick<Workload, "tolerance" | "load"> = {
    tolerance: 1e-5,
    load: () => ({
      compute: () => [gpu.tensor(new Float32Array(4), [4])],
      errorOf: () => error,
      [Symbol.dispose]: () => {},
    }),
  };
  return {
    ...{ name, choice: { schedule: name }, demand: LIGHT },
    ...{ workload: () => workload as Workload, ...rest },
  };
}

Deno.test({
  name: "race() prunes by the model, refuses wrong results and goes on behind failures",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const heavy = { ...LIGHT, multiplies: 5e6 };
    const failing = (): Workload => {
      throw new RangeError("No room");
    };
    const candidates = [
      candidate(gpu, "default", { demand: heavy }),
      candidate(gpu, "good", { variants: [candidate(gpu, "variant")] }),
      candidate(gpu, "wrong", { error: 1 }),
      candidate(gpu, "failing", { workload: failing }),
      candidate(gpu, "heavy", { demand: heavy }),
    ];
    const said: string[] = [];
    const standings = await race(gpu, { problemClass: "c", candidates }, {
      ...{ ceilings: CEILINGS, runs: 1, exhaustive: false },
      progress: (what) => said.push(what),
    });
    const states = Object.fromEntries(standings.map(({ name, status }) => [name, status]));

    assertEquals([states.wrong, states.failing, states.heavy], ["wrong", "failed", "pruned"]);
    const reasons = Object.fromEntries(standings.map(({ name, reason }) => [name, reason]));
    assertEquals(reasons.wrong, "error ratio 1.00, tolerance 1.0e-5");
    assertEquals([reasons.failing, reasons.heavy], ["No room", "predicted 5.00 times the best"]);
    assert(["timed", "stopped"].includes(states.default) && said.includes("default"));
    assertEquals(said.includes("heavy"), false);
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "race() prunes and stops nothing where it is to be exhaustive",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const heavy = { ...LIGHT, multiplies: 1e9 };
    const candidates = [candidate(gpu, "light"), candidate(gpu, "heavy", { demand: heavy })];
    const standings = await race(gpu, { problemClass: "c", candidates }, {
      ...{ ceilings: CEILINGS, runs: 6, exhaustive: true, progress: () => {} },
    });

    assertEquals(standings.map(({ status, times }) => [status, times.length]), [
      ["timed", 6],
      ["timed", 6],
    ]);
  },
});

/** A timed candidate. */
function standing(name: string, ms: number, part: Partial<Standing> = {}): Standing {
  return {
    ...{ name, choice: { schedule: name }, predictedMs: 1, status: "timed", times: [ms] },
    ...{ compileMs: 100, ...part },
  };
}

Deno.test("choose() takes the fastest, or of equals the default, or what compiles fastest", () => {
  const chosenOf = (...list: Standing[]): string | undefined => choose(list)?.name;

  assertEquals(chosenOf(standing("default", 2), standing("fast", 1)), "fast");
  assertEquals(chosenOf(standing("default", 1.02), standing("fast", 1)), "default");
  assertEquals(
    chosenOf(standing("default", 2), standing("a", 1), standing("b", 1.02, { compileMs: 5 })),
    "b",
  );
  const naive = standing("naive", 0.1, { choice: null });
  assertEquals(chosenOf(standing("default", 2), naive), "default");
  assertEquals(chosenOf(standing("default", 2, { status: "wrong" })), undefined);
});

Deno.test("ranked() puts what was timed before what was not", () => {
  const list = [
    standing("pruned", 1, { status: "pruned", times: [] }),
    standing("stopped", 1, { status: "stopped" }),
    standing("slow", 3),
    standing("fast", 2, { status: "chosen" }),
    standing("wrong", 1, { status: "wrong", times: [] }),
  ];

  assertEquals(ranked(list).map(({ name }) => name), [
    ...["fast", "slow", "stopped", "pruned", "wrong"],
  ]);
});

/** What the model says of a demand on a driver with 32 KiB of workgroup memory. */
function modelled(driver: "llvmpipe" | "nvidia", part: Partial<Demand>): number {
  const device = planDevice(driver, { maxComputeWorkgroupStorageSize: 32768 });
  return predictedMs({ ...LIGHT, ...part }, device, CEILINGS);
}

Deno.test("predictedMs() is the larger of instructions and bytes at the ceilings", () => {
  assertEquals(modelled("nvidia", { multiplies: 1e9 }), 80);
  assertEquals(modelled("nvidia", { bytes: 1e9 }), 100);
  assertEquals(modelled("nvidia", { multiplies: 1e9, bytes: 1e9 }), 100);
});

Deno.test("predictedMs() grows with loads, idle cores, spilled registers and full memory", () => {
  const plain = modelled("nvidia", {});
  const slower: readonly Partial<Demand>[] = [
    { loads: 1e6 },
    { exchanges: 1e6 },
    { workgroups: 16 },
    { registers: 80 },
    { workgroupBytes: 32768 },
  ];
  for (const part of slower) {
    const ratio = modelled("nvidia", part) / plain;
    assert(ratio > 1.5, `${JSON.stringify(part)}: ${ratio}`);
  }
  assert(modelled("llvmpipe", { loads: 1e5 }) > 5 * modelled("nvidia", { loads: 1e5 }));
  assertEquals(modelled("llvmpipe", { registers: 80 }), modelled("llvmpipe", {}));
});

Deno.test("withChoice() replaces a class and keeps the others; files hold classes in order", async () => {
  await withPath(async (path) => {
    const empty = await readSaved(path);
    assertEquals(empty, { version: 1, adapters: {} });
    const both = withChoice(withChoice(empty, ["a", "y"], { mode: "loop" }), ["a", "x"], {
      schedule: "old",
    });
    const merged = withChoice(both, ["a", "x"], { schedule: "new" });
    assertEquals(merged.adapters, { a: { x: { schedule: "new" }, y: { mode: "loop" } } });

    await writeTuning(path, merged);

    assertEquals(await readTuning(path), merged);
    const text = Deno.readTextFileSync(path);
    assert(text.indexOf('"x"') < text.indexOf('"y"') && text.endsWith("}\n"));
  });
});
