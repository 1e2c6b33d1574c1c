import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { encodeNpy, type NpyData } from "../../cli/npy.ts";
import { requestGpu } from "../../gpu/request.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  type BlockMap,
  blockMapFromIndices,
  blockMapFromMatrix,
  compileBlockMap,
} from "../../ops/block_map/mod.ts";
import { headWindow, prefixLm, stridedHeads } from "../../ops/hooks/mod.ts";
import { adapter } from "../adapter.ts";
import { type Called, called } from "./called.ts";

const ignore = adapter === null;
const gpu = adapter === null ? null : await requestGpu();

function i32(shape: readonly number[], ...data: number[]): Tensor<"i32"> {
  return gpu!.tensor(Int32Array.from(data), shape);
}

/** A directory for one test. */
class Folder implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "tessera-show-" });

  write(name: string, data: NpyData, shape: readonly number[]): string {
    const path = `${this.path}/${name}.npy`;
    Deno.writeFileSync(path, encodeNpy({ data, shape }));
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

function show(...flags: readonly string[]): Promise<Called> {
  return called("show", "pattern", "attention", ...flags);
}

/** The marks of a picture, row by row, those of each panel by themselves. */
async function marks(...flags: readonly string[]): Promise<string[][]> {
  const { code, stdout, stderr } = await show(...flags, "--json");
  assertEquals([code, stderr], [0, ""]);
  const { panels } = JSON.parse(stdout) as { panels: { rows: string[] }[] };
  return panels.map(({ rows }) => rows);
}

/** The states of blocks that a picture shows: 0 empty, 1 partial, 2 full, as `BlockMap.matrix()`. */
function statesOf(
  panels: readonly string[][],
  { queryBlock, keyBlock }: Pick<BlockMap, "queryBlock" | "keyBlock">,
): Uint8Array {
  const states = { "·": 0, "c": 1, "o": 1, "#": 2 } as const;
  return Uint8Array.from(
    panels.flatMap((rows) =>
      rows.filter((_, i) => i % queryBlock === 0).flatMap((row) =>
        [...row].filter((_, j) => j % keyBlock === 0)
      )
    ),
    (mark) => states[mark as keyof typeof states],
  );
}

Deno.test("show() draws a mask that reads files", async () => {
  await using folder = new Folder();
  folder.write("inputs.kind", Int32Array.of(0, 1, 0, 7, 7, 7), [2, 3]);
  folder.write("inputs.gain", Float16Array.of(0.5, 1, 1.5), [3]);
  const mask = "kind(h, i) == kind(h, j) && gain(j) < 1.5";

  assertEquals(
    await marks("--mask", mask, "--inputs", folder.path, "--q-len", "4", "--heads", "2"),
    // what lies behind the last element is the last element
    [["#···", "·#··", "#···", "#···"], ["##··", "##··", "##··", "##··"]],
  );
});

Deno.test("show() draws ready-made hooks, of which all apply", async () => {
  const mask = '{"slidingWindow": [1, 1], "headWindow": [[0, 2]]}';
  const score = '{"softcap": [2], "temperature": [0.5]}';

  assertEquals(await marks("--mask", mask, "--q-len", "3", "--heads", "2"), [
    ["#··", "·#·", "··#"],
    ["#··", "##·", "·##"],
  ]);
  assertEquals(await marks("--score", score, "--q-len", "2"), [["##", "##"]]);
  const { stdout } = await show("--mask", mask, "--score", score);
  assertStringIncludes(
    stdout,
    "mask slidingWindow(1,1) and headWindow([0,2]), score softcap(2) and temperature(0.5)\n",
  );
});

Deno.test("show() draws the batch entry that is asked for", async () => {
  const flags = ["--mask", '{"prefixLm": [[1, 3]]}', "--q-len", "3"];

  assertEquals(await marks(...flags), [["#··", "##·", "###"]]);
  assertEquals(await marks(...flags, "--batch-entry", "1"), [["###", "###", "###"]]);
});

Deno.test({
  name: "show() draws the map that the library compiles of a mask with inputs",
  ignore,
  async fn() {
    await using folder = new Folder();
    const kinds = Array.from({ length: 2 * 37 }, (_, at) => Math.floor(at / 11) % 3);
    folder.write("inputs.kind", Int32Array.from(kinds), [2, 37]);
    const mask = "kind(h, i) == kind(h, j) && j <= i + 9";
    const sizes = { qLen: 37, kvLen: 37, heads: 2, queryBlock: 8, keyBlock: 4 };
    const inputs = { kind: i32([2, 37], ...kinds) };
    using map = compileBlockMap(gpu!, mask, { ...sizes, inputs });

    const drawn = await marks(
      ...["--mask", mask, "--inputs", folder.path, "--map", "--key-block", "4"],
      ...["--q-len", "37", "--heads", "2"],
    );

    const expected = await map.matrix();
    assertEquals(statesOf(drawn, map), expected);
    assert([0, 1, 2].every((state) => expected.includes(state)));
  },
});

Deno.test({
  name: "show() draws the map that the library compiles of ready-made masks",
  ignore,
  async fn() {
    const mask = {
      stridedHeads: [{ strides: [2, 16], offsets: [0, 1], window: 9, offset: 2 }],
      prefixLm: [[19, 5]],
      headWindow: [[[9, 30], [40, 2]]],
    };
    using map = compileBlockMap(gpu!, [
      stridedHeads({
        ...{ strides: i32([2], 2, 16), offsets: i32([2], 0, 1), window: 9, offset: 2 },
      }),
      prefixLm(i32([2], 19, 5)),
      headWindow(i32([2, 2], 9, 30, 40, 2)),
    ], { qLen: 40, kvLen: 50, heads: 2, batch: 2, queryBlock: 4, keyBlock: 4 });
    const expected = await map.matrix();
    assert([0, 1, 2].every((state) => expected.includes(state)));

    for (const b of [0, 1]) {
      const drawn = await marks(
        ...["--mask", JSON.stringify(mask), "--map", "--query-block", "4", "--key-block", "4"],
        ...["--q-len", "40", "--kv-len", "50", "--heads", "2", "--batch-entry", String(b)],
      );

      assertEquals(statesOf(drawn, map), expected.subarray(b * 260, (b + 1) * 260));
    }
  },
});

/** 2 batch entries, 3 heads, 5 x 6 blocks of 8 x 4: 37 queries, 23 keys. */
const SHAPE = [2, 3, 5, 6];
const MATRIX = Int32Array.from({ length: 2 * 3 * 5 * 6 }, (_, at) => at * at % 7 < 3 ? -at : 0);
const SIZES = { qLen: 37, kvLen: 23, batch: 2, heads: 3, queryBlock: 8, keyBlock: 4 };
const FLAGS = ["--q-len", "37", "--kv-len", "23", "--key-block", "4"];

Deno.test({
  name: "show() draws the map that the library makes of a matrix, without and with a mask",
  ignore,
  async fn() {
    await using folder = new Folder();
    const path = folder.write("blocks", MATRIX, SHAPE);
    const matrix = i32(SHAPE, ...MATRIX);
    const flags = ["--matrix", path, ...FLAGS, "--batch-entry", "1"];
    using full = blockMapFromMatrix(matrix, SIZES);
    // hides no key of the first one, and all of some blocks
    using partial = blockMapFromMatrix(matrix, { ...SIZES, mask: "j < 4" });

    assertEquals(statesOf(await marks(...flags), full), (await full.matrix()).subarray(90));
    const drawn = await marks(...flags, "--mask", "j < 4");
    assertEquals(statesOf(drawn, partial), (await partial.matrix()).subarray(90));
    drawn.flat().forEach((row) => assertEquals(/o/.test(row.slice(4)), false));
  },
});

Deno.test({
  name: "show() draws the map that the library makes of indices",
  ignore,
  async fn() {
    await using folder = new Folder();
    const shape = [1, 2, 5, 3];
    const data = Int32Array.from({ length: 30 }, (_, at) => at % 9 - 2);
    using map = blockMapFromIndices(i32(shape, ...data), { ...SIZES, batch: 1, heads: 2 });

    const drawn = await marks("--indices", folder.write("lists", data, shape), ...FLAGS);

    assertEquals(drawn.length, 2);
    assertEquals(statesOf(drawn, map), await map.matrix());
  },
});

Deno.test("show() takes lengths and heads from what a file covers", async () => {
  await using folder = new Folder();
  const matrix = folder.write("blocks", Int32Array.of(1, 0, 0, 1, 1, 1), [1, 1, 2, 3]);
  const lists = folder.write("lists", Int32Array.of(0, -1, 7, 1), [1, 2, 2, 1]);
  const blocks = ["--query-block", "1", "--key-block", "2"];

  assertEquals(await marks("--matrix", matrix, ...blocks), [["##····", "######"]]);
  assertEquals(await marks("--matrix", matrix, ...blocks, "--heads", "2", "--mask", "j > h"), [
    ["co····", "cooooo"],
    ["cc····", "ccoooo"],
  ]);
  assertEquals(await marks("--indices", lists, ...blocks), [["##", "··"], ["··", "··"]]);
  assertEquals(await marks("--indices", lists, ...blocks, "--kv-len", "3"), [
    ["##·", "···"],
    ["···", "··#"],
  ]);
});

const SLIDING = '{"slidingWindow": [3, 0]}';

const REFUSALS: readonly [string, readonly string[], number, string][] = [
  [
    "a ready-made hook is unknown",
    ["--mask", '{"slidingWindw": [3, 0]}'],
    2,
    'Cannot make the mask as a ready-made one must be causal, slidingWindow, prefixLm, documentMask, headWindow, sinkWindow, dilatedWindow, stridedHeads, verticalSlash, everyNthBlock: "slidingWindw" is not, the nearest is "slidingWindow"',
  ],
  [
    "a mask stands for a score",
    ["--score", SLIDING],
    2,
    'Cannot make the score as a ready-made one must be alibi, softcap, temperature, relativeBias: "slidingWindow" is not, the nearest is "alibi"',
  ],
  [
    "JSON names no hook",
    ["--mask", " {}"],
    2,
    "Cannot make the mask as it must name a hook: it is {}",
  ],
  [
    "JSON does not parse",
    ["--mask", '{"causal": []'],
    2,
    "Cannot read --mask as it must be JSON: ",
  ],
  [
    "arguments are no list",
    ["--mask", '{"slidingWindow": 3}'],
    2,
    "Cannot make the mask slidingWindow as its arguments must be a list of at most 3, [left, right, options]: current value is 3",
  ],
  [
    "arguments are too many",
    ["--score", '{"softcap": [3, 4]}'],
    2,
    "Cannot make the score softcap as its arguments must be a list of at most 1, [cap]: current value is [3,4]",
  ],
  [
    "an array is no rectangle",
    ["--mask", '{"headWindow": [[[1, 2], [3]]]}'],
    2,
    "Cannot make the mask headWindow as an array must be a rectangle of numbers: current value is [[1,2],[3]]",
  ],
  [
    "an array of a mask holds other numbers than integers",
    ["--mask", '{"headWindow": [[1, 2.5]]}'],
    2,
    "Cannot make the mask headWindow as the numbers of an array must be integers of 32 bits: one is 2.5",
  ],
  [
    "the library refuses an argument",
    ["--mask", '{"slidingWindow": [-1, 0]}'],
    1,
    "Cannot make the mask slidingWindow as left must be an integer from 0 to 2^30: left is -1",
  ],
  [
    "hooks disagree about an input",
    ["--mask", '{"causal": [{"offset": 1}], "slidingWindow": [3, 0, {"offset": 2}]}'],
    1,
    "Cannot draw hooks as an input must be one thing in all hooks of a call: queryOffset is two",
  ],
  [
    "there is nothing that reads files",
    ["--inputs", "FOLDER"],
    2,
    "Cannot run the command: --inputs must come with --mask or --score",
  ],
  [
    "the folder of inputs is missing",
    ["--inputs", "FOLDER/none", "--mask", "j < 3"],
    1,
    "Cannot read FOLDER/none: there is no such folder",
  ],
  [
    "a mask reads what no file holds",
    ["--inputs", "FOLDER", "--mask", "kind(i) == kind(j)"],
    1,
    "Cannot compile the mask as kind is not declared",
  ],
  [
    "two maps are asked for",
    ["--map", "--mask", "j < 3", "--matrix", "FOLDER/blocks.npy"],
    2,
    "Cannot run the command: --map and --matrix must not both be given",
  ],
  [
    "blocks have sizes without a map",
    ["--key-block", "3"],
    2,
    "Cannot run the command: --key-block must come with --map or --matrix or --indices",
  ],
  [
    "a band stands beside a map",
    ["--causal", "--matrix", "FOLDER/blocks.npy"],
    2,
    "Cannot run the command: --causal must be part of --mask where there is --matrix",
  ],
  [
    "a file is missing",
    ["--matrix", "FOLDER/none.npy"],
    1,
    "Cannot read FOLDER/none.npy: there is no such file",
  ],
  [
    "a matrix has too few axes",
    ["--matrix", "FOLDER/flat.npy"],
    1,
    "Cannot draw a block map as matrix must be [B|1, Hq|1, blocks of queries, blocks of keys], and have an element: matrix is [4]",
  ],
  [
    "a matrix holds floats",
    ["--matrix", "FOLDER/floats.npy"],
    1,
    "Cannot draw a block map as matrix must be integers: matrix is f32",
  ],
  [
    "a matrix does not cover the tokens",
    ["--matrix", "FOLDER/blocks.npy", "--q-len", "17"],
    1,
    "Cannot draw a block map as matrix must be [B|1, Hq|1, 3, 2] for 17 queries and 16 keys in blocks of 8 x 8: matrix is [2,3,2,2]",
  ],
  [
    "indices have other rows",
    ["--indices", "FOLDER/blocks.npy", "--q-len", "8"],
    1,
    "Cannot draw a block map as indices must be [B|1, Hq|1, 1, any] for 8 queries and 8 keys in blocks of 8 x 8: indices is [2,3,2,2]",
  ],
  [
    "a file has fewer heads",
    ["--matrix", "FOLDER/blocks.npy", "--heads", "4"],
    1,
    "Cannot draw a block map as matrix must have the heads to draw: it has 3, 4 must be there",
  ],
  [
    "a file has fewer batch entries",
    ["--indices", "FOLDER/blocks.npy", "--batch-entry", "2"],
    1,
    "Cannot draw a block map as indices must have the batch entry to draw: it has 2, 3 must be there",
  ],
];

for (const [when, flags, code, message] of REFUSALS) {
  Deno.test(`show() refuses a pattern without a stack when ${when}`, async () => {
    await using folder = new Folder();
    folder.write("blocks", new Int32Array(24), [2, 3, 2, 2]);
    folder.write("flat", new Int32Array(4), [4]);
    folder.write("floats", new Float32Array(4), [1, 1, 2, 2]);

    const refused = await show(...flags.map((flag) => flag.replace("FOLDER", folder.path)));

    assertEquals([refused.code, refused.stdout], [code, ""]);
    const [first] = refused.stderr.replaceAll(folder.path, "FOLDER").split("\n");
    assertEquals(first.slice(0, message.length), message);
  });
}

Deno.test("profile and show wgsl refuse ready-made hooks by name", async () => {
  for (const command of [["profile"], ["show", "wgsl"]]) {
    assertEquals(await called(...command, "attention", "--mask", SLIDING), {
      code: 2,
      stdout: "",
      stderr:
        `Cannot run the command: --mask must be WGSL text here, only show pattern and run make hooks of JSON: current value is ${SLIDING}\n`,
    });
  }
});
