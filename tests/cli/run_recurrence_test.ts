import { assertEquals } from "@std/assert";
import { main } from "../../cli.ts";
import { decodeNpy, encodeNpy, type NpyArray, type NpyData } from "../../cli/npy.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Runs `recurrence` on files of arrays and reads what it wrote; the messages where it failed. */
async function runOn(
  arrays: Record<string, readonly [NpyData, readonly number[]]>,
  options: object,
): Promise<Record<string, NpyArray> | string> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-run-" });
  const { log, error } = console;
  let messages = "";
  console.log = () => {};
  console.error = (text: string) => messages += text.replaceAll(folder, "DIR");
  try {
    for (const [name, [data, shape]] of Object.entries(arrays)) {
      Deno.writeFileSync(`${folder}/${name}.npy`, encodeNpy({ data, shape }));
    }
    const files = ["--inputs", folder, "--outputs", `${folder}/results`];
    const code = await main(["run", "recurrence", ...files, "--options", JSON.stringify(options)]);
    if (code !== 0) return messages;
    return Object.fromEntries(
      [...Deno.readDirSync(`${folder}/results`)].map(({ name }) => [
        name.replace(".npy", ""),
        decodeNpy(Deno.readFileSync(`${folder}/results/${name}`), name),
      ]),
    );
  } finally {
    Object.assign(console, { log, error });
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Three tokens of one head and one channel. */
function tokens(...data: number[]): [Float32Array, number[]] {
  return [Float32Array.from(data), [1, 3, 1, 1]];
}

const INPUTS = { q: tokens(1, 1, 2), k: tokens(1, 1, 1), v: tokens(8, 4, 2) };

/** The values of results by name, in the order of the names. */
function valuesOf(results: Record<string, NpyArray> | string): unknown {
  if (typeof results === "string") return results;
  const names = Object.keys(results).sort();
  return Object.fromEntries(names.map((name) => [name, [...results[name].data].map(Number)]));
}

Deno.test({
  name: "run() writes the final state of recurrence as finalState.npy",
  ignore,
  async fn() {
    const results = await runOn({
      ...INPUTS,
      initialState: [Float32Array.of(16), [1, 1, 1, 1]],
      g: [Float32Array.of(0, -Infinity, 0), [1, 3, 1]],
    }, { mode: "loop" });

    // the second token clears what stood there
    assertEquals(valuesOf(results), { finalState: [6], out: [24, 4, 12] });
  },
});

Deno.test({
  name: "run() takes cuSeqlens from a file of 32-bit integers",
  ignore,
  async fn() {
    const cuSeqlens = [Int32Array.of(0, 0, 1, 3), [4]] as const;

    const results = await runOn({ ...INPUTS, cuSeqlens }, { reverse: true });

    assertEquals(valuesOf(results), { finalState: [0, 8, 6], out: [8, 6, 4] });
  },
});

Deno.test({
  name: "run() takes and writes a state of two tensors by dotted names",
  ignore,
  async fn() {
    const results = await runOn({
      ...INPUTS,
      "initialState.s": [Float32Array.of(4), [1, 1, 1, 1]],
      "initialState.z": [Float32Array.of(1), [1, 1, 1]],
    }, { normalize: true, eps: 0 });

    // means of the values so far, of which the first is 4
    assertEquals(valuesOf(results), {
      "finalState.s": [18],
      "finalState.z": [4],
      out: [6, Math.fround(16 / 3), 4.5],
    });
  },
});

Deno.test({
  name: "run() refuses a state of one tensor where a record belongs, and options that are files",
  ignore,
  async fn() {
    const initialState = [Float32Array.of(4), [1, 1, 1, 1]] as const;

    assertEquals(
      await runOn({ ...INPUTS, initialState }, { normalize: true }),
      "Cannot compute a recurrence as initialState must be a record { s, z } where normalize is true: initialState is Tensor",
    );
    assertEquals(
      await runOn({ ...INPUTS, initialState, "initialState.z": initialState }, {}),
      "Cannot run recurrence as initialState must be one file or a record: DIR has initialState.npy and initialState.z.npy",
    );
    assertEquals(
      await runOn(INPUTS, { initialState: 1 }),
      "Cannot run recurrence as initialState must be a file: put initialState.npy into DIR",
    );
  },
});
