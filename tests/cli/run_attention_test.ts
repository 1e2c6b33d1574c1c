import { assertEquals, assertMatch } from "@std/assert";
import { decodeNpy, encodeNpy, type NpyArray, type NpyData } from "../../cli/npy.ts";
import { RUN_ATTENTION } from "../../cli/run_attention.ts";
import { requestGpu } from "../../gpu/request.ts";
import { attention as reference, type AttentionOptions } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { type Called, called } from "./called.ts";

const ignore = adapter === null;

/** A directory for one test, with q, k and v of B 1, T 6, S 8, H 2, D 4. */
class Folder implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "tessera-run-" });

  constructor() {
    this.write("q", wave(48, 1), [1, 6, 2, 4]);
    this.write("k", wave(64, 2), [1, 8, 2, 4]);
    this.write("v", wave(64, 3), [1, 8, 2, 4]);
  }

  write(name: string, data: NpyData, shape: readonly number[]): void {
    Deno.writeFileSync(`${this.path}/${name}.npy`, encodeNpy({ data, shape }));
  }

  read(name: string): NpyArray {
    const path = `${this.path}/${name}.npy`;
    return decodeNpy(Deno.readFileSync(path), path);
  }

  /** The names of the files that a job wrote. */
  written(): string[] {
    return [...Deno.readDirSync(`${this.path}/results`)].map(({ name }) => name).sort();
  }

  /** Runs an operator on the files. */
  async run(options: object, operator = "attention"): Promise<Called> {
    const { stderr, ...printed } = await called(
      ...["run", operator, "--inputs", this.path, "--outputs", `${this.path}/results`],
      ...["--options", JSON.stringify(options)],
    );
    return { ...printed, stderr: stderr.replaceAll(this.path, "FOLDER") };
  }

  /** Asserts that `out.npy` is the float64 result. */
  assertOut(options: AttentionOptions, [q, k, v] = ["q", "k", "v"].map((n) => this.read(n))): void {
    const { data } = this.read("results/out");
    assertClose("out", data, reference(q, k, v, { weight: "softmax", ...options }).out.data, {
      ratio: 1e-5,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

function wave(length: number, step: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(step * i));
}

Deno.test({
  name: "run() takes hooks as texts, and what they read from files and from the JSON",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.write("inputs.slope", Float32Array.of(0.5, 0.125), [2]);
    folder.write("inputs.reach", Int32Array.of(3, 5), [2]);

    const job = await folder.run({
      score: ["s - slope(h) * f32(abs(i - j))", "tau * s"],
      mask: "abs(i - j) <= reach(h)",
      inputs: { tau: 0.5 },
    });

    assertEquals([job.code, job.stderr], [0, ""]);
    assertEquals(folder.written(), ["lse.npy", "out.npy"]);
    folder.assertOut({
      score: (s, { h, i, j }) => 0.5 * (s - [0.5, 0.125][h] * Math.abs(i - j)),
      mask: ({ h, i, j }) => Math.abs(i - j) <= [3, 5][h],
    });
  },
});

Deno.test({
  name: "run() writes aux.npy of weights that have one",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.write("gates", Float32Array.from({ length: 12 }, (_, row) => 1.5 - row / 8), [1, 6, 2]);

    assertEquals((await folder.run({ weight: "s * s" })).code, 0);

    assertEquals(folder.written(), ["aux.npy", "out.npy"]);
    const weight = { weight: (s: number) => s * s, normalize: true };
    const [q, k, v] = ["q", "k", "v"].map((name) => folder.read(name));
    const { out, aux } = reference(q, k, v, { weight });
    assertClose("aux", folder.read("results/aux").data, aux?.data ?? [], { ratio: 1e-5 });
    const gated = out.data.map((x, at) => x * (1.5 - Math.floor(at / 4) / 8));
    assertClose("out", folder.read("results/out").data, gated, { ratio: 1e-5 });
  },
});

Deno.test({
  name: "run() writes neither lse nor aux of weights that have none",
  ignore,
  async fn() {
    await using folder = new Folder();

    assertEquals((await folder.run({ normalizer: "sigmoid" })).code, 0);

    assertEquals(folder.written(), ["out.npy"]);
    folder.assertOut({ weight: "sigmoid" });
  },
});

Deno.test({
  name: "run() compiles a block map of its mask before the call",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.write("inputs.reach", Int32Array.of(1, 4), [2]);
    const blockMap = { mask: "abs(i - j) <= reach(h)", queryBlock: 4, keyBlock: 2, heads: 2 };

    const job = await folder.run({ blockMap });

    assertEquals([job.code, job.stderr], [0, ""]);
    folder.assertOut({ mask: ({ h, i, j }) => Math.abs(i - j) <= [1, 4][h] });
  },
});

Deno.test({
  name: "run() makes hooks of the names of ready-made ones, beside texts",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.write("inputs.slope", Float32Array.of(0.5, 0.125), [2]);

    const job = await folder.run({
      score: [{ temperature: [[2, 0.5]], softcap: [3] }, "s - slope(h) * f32(abs(i - j))"],
      mask: [
        { headWindow: [[[1, 4], [3, 2]]] },
        "j != 2",
        { code: "j < i32(n)", inputs: { n: 7 } },
      ],
    });

    assertEquals([job.code, job.stderr], [0, ""]);
    folder.assertOut({
      score: (s, { h, i, j }) =>
        3 * Math.tanh(s / [2, 0.5][h] / 3) - [0.5, 0.125][h] * Math.abs(i - j),
      mask: ({ h, i, j }) => i - j <= [1, 3][h] && j - i <= [4, 2][h] && j !== 2 && j < 7,
    });
  },
});

Deno.test({
  name: "run() compiles a block map of ready-made masks, and asks statistics of them",
  ignore,
  async fn() {
    await using folder = new Folder();
    const mask = { stridedHeads: [{ strides: [2, 3] }], slidingWindow: [4, 0] };
    const sees = ({ h, i, j }: { h: number; i: number; j: number }): boolean =>
      j <= i && i - j <= 4 && (i - j) % [2, 3][h] === 0;

    const mapped = await folder.run({ blockMap: { mask, queryBlock: 2, keyBlock: 2, heads: 2 } });
    assertEquals([mapped.code, mapped.stderr], [0, ""]);
    folder.assertOut({ mask: sees });

    const asked = await folder.run({ mask }, "attentionStatistics");
    assertEquals([asked.code, asked.stderr], [0, ""]);
    const [q, k, v] = ["q", "k", "v"].map((name) => folder.read(name));
    const { lse } = reference(q, k, v, { weight: "softmax", mask: sees });
    assertClose("lse", folder.read("results/lse").data, lse?.data ?? [], { ratio: 1e-5 });
  },
});

Deno.test({
  name: "run() frees what ready-made hooks and block maps hold",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(wave(24, 1), [1, 6, 1, 4]));
    const mask = { headWindow: [[2]] };

    RUN_ATTENTION.call([q, k, v], { mask });
    RUN_ATTENTION.call([q, k, v], { blockMap: { mask } });

    assertEquals(gpu.memory().tensors, 3 + 2 * 2);
  },
});

Deno.test({
  name: "run() takes packed sequences and key lists from files",
  ignore,
  async fn() {
    await using folder = new Folder();
    folder.write("cuSeqlensQ", Int32Array.of(0, 2, 2, 6), [4]);
    folder.write("cuSeqlensKv", Int32Array.of(0, 5, 7, 8), [4]);

    assertEquals((await folder.run({})).code, 0);
    folder.assertOut({ mask: ({ i, j }) => i < 2 ? j < 5 : j >= 7 });

    Deno.removeSync(`${folder.path}/cuSeqlensQ.npy`);
    Deno.removeSync(`${folder.path}/cuSeqlensKv.npy`);
    folder.write("keyIndices", Int32Array.of(6, 1, 3, 0), [1, 4]);
    folder.write("kvLengths", Int32Array.of(3), [1]);
    assertEquals((await folder.run({})).code, 0);
    folder.assertOut({ mask: ({ j }) => [6, 1, 3].includes(j) });
  },
});

Deno.test({
  name: "run() takes pages from a table",
  ignore,
  async fn() {
    await using folder = new Folder();
    const [k, v] = ["k", "v"].map((name) => folder.read(name));
    folder.write("k", k.data, [4, 2, 2, 4]);
    folder.write("v", v.data, [4, 2, 2, 4]);
    folder.write("pageTable", Int32Array.of(2, 0), [1, 2]);

    assertEquals((await folder.run({})).code, 0);

    folder.assertOut(
      { mask: ({ j }) => [4, 5, 0, 1].includes(j) },
      [folder.read("q"), { ...k, shape: [1, 8, 2, 4] }, { ...v, shape: [1, 8, 2, 4] }],
    );
  },
});

Deno.test({
  name: "run() exits 2 for ready-made hooks that are none",
  ignore,
  async fn() {
    await using folder = new Folder();

    for (const options of [{ mask: { slidng: [] } }, { blockMap: { mask: [{ causal: 1 }] } }]) {
      const { code, stdout, stderr } = await folder.run(options);

      assertEquals([code, stdout], [2, ""]);
      assertMatch(
        stderr,
        /^Cannot make the mask (as a ready-made one|causal as its arguments) must/,
      );
    }
  },
});

const REFUSALS: readonly [string, object, string][] = [
  [
    "a hook does not compile",
    { score: "s +\n  slopes(h)" },
    'Cannot compile the score as slopes is not declared, the nearest is "slope": line 2, column 3\n    slopes(h)\n    ^\n',
  ],
  [
    "a mask of a block map does not compile",
    { blockMap: { mask: "j <= x" } },
    'Cannot compile the mask as x is not declared, the nearest is "b": line 1, column 6\n  j <= x\n       ^\n',
  ],
  [
    "an option of a block map is unknown",
    { blockMap: { mask: "j <= i", block: 4 } },
    'Cannot run attention with a block map as options must be known: "block" is not, the nearest is "batch"\n',
  ],
  [
    "a block map is no object",
    { blockMap: 64 },
    "Cannot run attention with a block map as options must be an object: options is 64\n",
  ],
  [
    "an input is a number and a file",
    { inputs: { slope: 2 } },
    "Cannot run attention as inputs.slope must be a number or a file: it is both\n",
  ],
  [
    "inputs are no object",
    { inputs: [2] },
    "Cannot read the option inputs as it must be a JSON object: it is [2]\n",
  ],
  [
    "the table of pages stands in the JSON",
    { pageTable: [0, 1] },
    "Cannot run attention as pageTable must be a file: put pageTable.npy into FOLDER\n",
  ],
];

for (const [when, options, message] of REFUSALS) {
  Deno.test({
    name: `run() refuses attention without a stack when ${when}`,
    ignore,
    async fn() {
      await using folder = new Folder();
      folder.write("inputs.slope", Float32Array.of(0.5, 0.125), [2]);

      const { code, stdout, stderr } = await folder.run(options);

      assertEquals([code, stdout, stderr], [1, "", message]);
    },
  });
}
