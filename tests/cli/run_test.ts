import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RUNNABLE } from "../../cli/runnable.ts";
import { decodeNpy, encodeNpy, type NpyArray, type NpyData } from "../../cli/npy.ts";
import { attention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { type Called, called } from "./called.ts";

const OPERATORS = Object.keys(RUNNABLE).join(", ");

const ignore = adapter === null;
const USE_LITE = `${import.meta.dirname}/../data/use-lite`;

/** Runs the command in this process. */
async function call(...args: string[]): Promise<Called> {
  return await called("run", ...args);
}

/** A directory for one test, removed after it. */
class Folder implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "tessera-run-" });

  /** Writes an array where `run` finds it. */
  write(name: string, data: NpyData, shape: readonly number[]): void {
    Deno.writeFileSync(`${this.path}/${name}.npy`, encodeNpy({ data, shape }));
  }

  /** Writes q, k and v of B 1, T 3, S 5, H 2, D 4 with the given element type. */
  writeInputs(list: typeof Float32Array | typeof Float16Array): void {
    const wave = (length: number, step: number) =>
      new list(Array.from({ length }, (_, i) => Math.sin(step * i)));
    this.write("q", wave(24, 1), [1, 3, 2, 4]);
    this.write("k", wave(40, 2), [1, 5, 2, 4]);
    this.write("v", wave(40, 3), [1, 5, 2, 4]);
  }

  /** Reads an array back. */
  read(name: string): NpyArray {
    return readNpy(`${this.path}/${name}.npy`);
  }

  /** The float64 result of the files. */
  expected(options: Parameters<typeof reference>[3]) {
    return reference(this.read("q"), this.read("k"), this.read("v"), options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

function readNpy(path: string): NpyArray {
  return decodeNpy(Deno.readFileSync(path), path);
}

/** Whether anything lies at a path. */
function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name: "run() agrees with TensorFlow.js on both layers of a sentence encoder in one process",
  ignore,
  async fn() {
    await using folder = new Folder();
    const jobs = ["layer0", "layer1"].map((layer) =>
      JSON.stringify({
        operator: "attention",
        inputs: `${USE_LITE}/${layer}`,
        options: {},
        outputs: `${folder.path}/${layer}`,
      })
    );
    Deno.writeTextFileSync(`${folder.path}/jobs.jsonl`, jobs.join("\n") + "\n");

    const { code, stdout, stderr } = await call("--repeat", `${folder.path}/jobs.jsonl`);

    assertEquals(stdout, '{"job":0,"ok":true}\n{"job":1,"ok":true}\n');
    assertEquals([code, stderr], [0, ""]);
    for (const layer of ["layer0", "layer1"]) {
      const expected = readNpy(`${USE_LITE}/${layer}/expected_out.npy`);
      const out = folder.read(`${layer}/out`);
      const lse = folder.read(`${layer}/lse`);
      assertEquals([out.shape, out.dtype], [expected.shape, "f32"]);
      assertClose(`out of ${layer}`, out.data, expected.data, { ratio: 1e-5 });
      assertEquals([lse.shape, lse.dtype], [[1, 128, 4], "f32"]);
      const [q, k, v] = ["q", "k", "v"].map((name) => readNpy(`${USE_LITE}/${layer}/${name}.npy`));
      assertClose(`lse of ${layer}`, lse.data, reference(q, k, v).lse.data, { ratio: 1e-5 });
    }
  },
});

Deno.test({
  name: "run() takes tensor-valued options from files and the others from JSON",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.writeInputs(Float32Array);
    folder.write("bias", Float32Array.of(0, 1, -Infinity, 2, -1), [1, 1, 1, 5]);
    folder.write("sinks", Float32Array.of(0.5, -2), [2]);
    const options = { causal: true, window: { left: 3 }, softcap: 1.5, scale: 2 };

    const { code, stdout } = await call(
      ...["attention", "--inputs", folder.path, "--outputs", `${folder.path}/results`],
      ...["--options", JSON.stringify(options)],
    );

    const expected = folder.expected({
      ...options,
      bias: folder.read("bias"),
      sinks: folder.read("sinks"),
    });
    assertEquals(code, 0);
    assertEquals(
      stdout,
      `${folder.path}/results/out.npy [1, 3, 2, 4] f32\n${folder.path}/results/lse.npy [1, 3, 2] f32\n`,
    );
    assertClose("out", folder.read("results/out").data, expected.out.data, { ratio: 1e-6 });
    assertClose("lse", folder.read("results/lse").data, expected.lse.data, { ratio: 1e-6 });
  },
});

Deno.test({
  name: "run() writes f2 for inputs of f2, and lse as f4",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.writeInputs(Float16Array);

    const { code, stdout } = await call(
      ...["attention", "--inputs", `${folder.path}/`, "--outputs", folder.path, "--json"],
    );

    const [out, lse, expected] = [folder.read("out"), folder.read("lse"), folder.expected({})];
    assertEquals(code, 0);
    assertEquals(JSON.parse(stdout), {
      ok: true,
      operator: "attention",
      outputs: [
        { file: `${folder.path}/out.npy`, shape: [1, 3, 2, 4], dtype: "f16" },
        { file: `${folder.path}/lse.npy`, shape: [1, 3, 2], dtype: "f32" },
      ],
    });
    assertEquals([out.dtype, lse.dtype], ["f16", "f32"]);
    assertClose("out", out.data, expected.out.data, { ratio: 1e-3 });
    assertClose("lse", lse.data, expected.lse.data, { ratio: 1e-6 });
  },
});

/** What makes a job impossible, its message, and the exit code of `run` with these arguments. */
interface Refusal {
  readonly when: string;
  readonly message: string;
  readonly code: number;
  readonly args?: readonly string[];
  prepare?(folder: Folder): void;
}

const REFUSALS: readonly Refusal[] = [
  {
    when: "an input file is missing",
    prepare: ({ path }) => Deno.removeSync(`${path}/v.npy`),
    message: "Cannot read FOLDER/v.npy: there is no such file",
    code: 1,
  },
  {
    when: "an input file is no .npy file",
    prepare: ({ path }) => Deno.writeTextFileSync(`${path}/k.npy`, "hello"),
    message:
      'Cannot read "FOLDER/k.npy" as a .npy file must begin with the bytes "\\x93NUMPY": current bytes are [68 65 6c 6c 6f]',
    code: 1,
  },
  {
    when: "the options are not JSON",
    args: ["--options", "{causal: true}"],
    message: "Cannot read --options as it must be JSON: ",
    code: 2,
  },
  {
    when: "the options are no object",
    args: ["--options", "[true]"],
    message: "Cannot read --options as it must be a JSON object: it is [true]",
    code: 2,
  },
  {
    when: "an option is unknown",
    args: ["--options", '{"casual":true}'],
    message:
      'Cannot compute attention as options must be known: "casual" is not, the nearest is "causal"',
    code: 1,
  },
  {
    when: "a tensor-valued option stands in the JSON",
    args: ["--options", '{"sinks":[0,0]}'],
    message: "Cannot run attention as sinks must be a file: put sinks.npy into FOLDER",
    code: 1,
  },
  {
    when: "the head dims of the files differ",
    prepare: (folder) => folder.write("k", new Float32Array(30), [1, 5, 2, 3]),
    message:
      "Cannot compute attention as q and k must share a head dim: current values are q=4, k=3",
    code: 1,
  },
  {
    when: "a bias does not broadcast",
    prepare: (folder) => folder.write("bias", new Float32Array(6), [1, 2, 3, 1]),
    message: "Cannot compute attention as bias must broadcast to [B, Hq, T, S] = [1,2,3,5]: ",
    code: 1,
  },
  {
    when: "the files hold integers",
    prepare: (folder) => folder.write("q", new Int32Array(24), [1, 3, 2, 4]),
    message: "Cannot compute attention as q must be f32 or f16: q is i32",
    code: 1,
  },
];

for (const { when, message, code, args = [], prepare } of REFUSALS) {
  Deno.test({
    name: `run() refuses and writes nothing when ${when}`,
    ignore,
    async fn() {
      await using folder = new Folder();
      folder.writeInputs(Float32Array);
      prepare?.(folder);
      const outputs = `${folder.path}/results`;

      const job = await call(
        ...["attention", "--inputs", folder.path, "--outputs", outputs, "--json", ...args],
      );

      assertEquals([job.code, job.stdout], [code, ""]);
      const stderr = job.stderr.replaceAll(folder.path, "FOLDER");
      assert(stderr.startsWith(message), stderr);
      assertEquals(stderr.trimEnd().split("\n").length, 1);
      assertEquals(exists(outputs), false);
    },
  });
}

Deno.test("run() refuses an operator that does not exist without touching a device", async () => {
  for (const [operator, near] of [["atention", "attention"], ["toString", "hgrn2"]]) {
    const job = await call(operator, "--inputs", "/nowhere", "--outputs", "/nowhere");

    assertEquals(job, {
      code: 2,
      stdout: "",
      stderr: `Cannot run "${operator}": operators are ${OPERATORS}, the nearest is "${near}"\n`,
    });
  }
});

Deno.test("run() asks for --inputs and --outputs", async () => {
  const missing = async (...args: string[]) => (await call("attention", ...args)).stderr;

  assertEquals(await missing(), "Cannot run the command: --inputs must be given\n");
  assertEquals(
    await missing("--inputs", "."),
    "Cannot run the command: --outputs must be given\n",
  );
});

Deno.test("run() refuses what it would ignore beside a list of jobs", async () => {
  const { code, stdout, stderr } = await call("attention", "--repeat", "jobs", "--inputs", ".");

  assertEquals([code, stdout], [2, ""]);
  assertEquals(
    stderr,
    "Cannot run the command: --repeat must come alone, as its lines say the rest: attention, inputs is given\n",
  );
});

Deno.test("run() refuses a list of jobs that is not there", async () => {
  const { code, stdout, stderr } = await call("--repeat", "/nowhere/jobs.jsonl");

  assertEquals([code, stdout], [1, ""]);
  assertEquals(stderr, "Cannot read /nowhere/jobs.jsonl: there is no such file\n");
});

Deno.test({
  name: "run() prints one JSON line for each job and goes on after a failed one",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.writeInputs(Float32Array);
    const job = { operator: "attention", inputs: folder.path, outputs: `${folder.path}/last` };
    const jobs = [
      { ...job, outputs: `${folder.path}/0`, operator: "atention" },
      { ...job, outputs: `${folder.path}/1`, options: { scal: 1 } },
      { ...job, outputs: `${folder.path}/2`, inputs: "/nowhere" },
      { operator: "attention", outputs: `${folder.path}/3` },
    ].map((line) => JSON.stringify(line));
    const lines = [...jobs, "{", "", "7", JSON.stringify({ ...job, options: { scale: 0.5 } })];
    Deno.writeTextFileSync(`${folder.path}/jobs.jsonl`, lines.join("\n"));

    const { code, stdout, stderr } = await call("--repeat", `${folder.path}/jobs.jsonl`);

    const errors = [
      `Cannot run "atention": operators are ${OPERATORS}, the nearest is "attention"`,
      'Cannot compute attention as options must be known: "scal" is not, the nearest is "scale"',
      "Cannot read /nowhere/q.npy: there is no such file",
      "Cannot run a job as inputs must be text: inputs is undefined",
      "Cannot read a job as it must be JSON: ",
      "Cannot read a job as it must be a JSON object: it is 7",
    ];
    const results = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals([code, stderr, results.length], [1, "", 7]);
    errors.forEach((error, job) => {
      assertEquals([results[job].job, results[job].ok], [job, false]);
      assertStringIncludes(results[job].error, error);
      assertEquals(exists(`${folder.path}/${job}`), false);
    });
    assertEquals(results[6], { job: 6, ok: true });
    const expected = folder.expected({ scale: 0.5 });
    assertClose("out", folder.read("last/out").data, expected.out.data, { ratio: 1e-6 });
  },
});
