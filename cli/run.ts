import type { Gpu } from "../gpu/device.ts";
import { type GpuOptions, requestGpu } from "../gpu/request.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { nearest } from "../gpu/nearest.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { encodeNpy } from "./npy.ts";
import { print, printJson } from "./output.ts";
import { parseJson } from "./parse_json.ts";
import { flattened } from "./records.ts";
import { reasonOf } from "./reason.ts";
import { npyPath, readInputs } from "./run_inputs.ts";
import { RUNNABLE, type Runnable } from "./runnable.ts";
import { TUNED, tunedOptions } from "./tuned.ts";

/** One job: an operator on the files of a directory. */
interface Job {
  readonly operator: string;
  readonly inputs: string;
  readonly options: Record<string, unknown>;
  readonly outputs: string;
}

/** The flags that say what a job is. */
const JOB_FLAGS = ["inputs", "options", "outputs"];

/** `run`: an operator on .npy files. */
export const run: Command = {
  summary: "Runs an operator on .npy files, or a list of such jobs.",
  positional: "<operator>",
  words: 1,
  flags: {
    inputs: {
      value: "DIR",
      help:
        "holds q.npy, k.npy, …, tensor-valued options by name, inputs.NAME.npy of hooks, parts.N.out.npy of merges",
    },
    options: {
      value: "JSON",
      help:
        'the other options, exactly the library\'s object; ready-made hooks by name, {"softcap": [30]}',
    },
    outputs: { value: "DIR", help: "receives out.npy, lse.npy, …" },
    repeat: {
      value: "FILE",
      help: "jobs, a JSON object with operator, inputs, options, outputs a line",
    },
    ...TUNED,
  },
  async run(args) {
    const list = args.text("repeat");
    if (list !== undefined) {
      const given = [...args.positional, ...JOB_FLAGS.filter((name) => args.has(name))];
      if (given.length > 0) {
        throw new UsageError(
          `Cannot run the command: --repeat must come alone, as its lines say the rest: ${
            given.join(", ")
          } is given`,
        );
      }
      return await runJobs(await readText(list), await tunedOptions(args));
    }
    const job: Job = {
      operator: args.positional[0] ?? "",
      inputs: args.required("inputs"),
      options: parseOptions(args.text("options") ?? "{}"),
      outputs: args.required("outputs"),
    };
    runnable(job.operator);
    using gpu = await requestGpu(await tunedOptions(args));
    const written = await runJob(gpu, job);
    if (args.has("json")) printJson({ ok: true, operator: job.operator, outputs: written });
    else {written.forEach(({ file, shape, dtype }) =>
        print(`${file} [${shape.join(", ")}] ${dtype}`)
      );}
    return EXIT.fine;
  },
};

/** Runs every job and prints a JSON line for each; a failed job does not stop the others. */
async function runJobs(text: string, tuned: GpuOptions): Promise<number> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  using gpu = await requestGpu(tuned);
  let failed = 0;
  for (const [job, line] of lines.entries()) {
    try {
      await runJob(gpu, parseJob(line));
      print(JSON.stringify({ job, ok: true }));
    } catch (error) {
      failed++;
      const message = reasonOf(error);
      print(JSON.stringify({ job, ok: false, error: message }));
    }
  }
  return failed === 0 ? EXIT.fine : EXIT.failed;
}

interface Written {
  readonly file: string;
  readonly shape: readonly number[];
  readonly dtype: string;
}

async function runJob(gpu: Gpu, job: Job): Promise<Written[]> {
  const operator = runnable(job.operator);
  const owned: Tensor[] = [];
  try {
    const { positional, options } = await readInputs(gpu, operator, job, owned);
    const results = flattened<Tensor>(
      operator.call(positional, { ...options, ...operator.allOutputs }),
    );
    owned.push(...Object.values(results));
    return await writeOutputs(job.outputs, results);
  } finally {
    for (const tensor of owned) tensor.dispose();
  }
}

async function writeOutputs(
  directory: string,
  results: Readonly<Record<string, Tensor>>,
): Promise<Written[]> {
  const written: Written[] = [];
  const contents: [string, Uint8Array][] = [];
  for (const [name, tensor] of Object.entries(results)) {
    const file = npyPath(directory, name);
    const data = await tensor.read() as Float32Array | Float16Array | Int32Array;
    contents.push([file, encodeNpy({ data, shape: [...tensor.shape] })]);
    written.push({ file, shape: tensor.shape, dtype: tensor.dtype });
  }
  try {
    await Deno.mkdir(directory, { recursive: true });
    for (const [file, bytes] of contents) await Deno.writeFile(file, bytes);
  } catch (error) {
    throw new TypeError(`Cannot write to ${directory}: ${reasonOf(error)}`);
  }
  return written;
}

function runnable(operator: string): Runnable {
  if (Object.hasOwn(RUNNABLE, operator)) return RUNNABLE[operator];
  const names = Object.keys(RUNNABLE);
  throw new UsageError(
    `Cannot run "${operator}": operators are ${names.join(", ")}, the nearest is "${
      nearest(operator, names)
    }"`,
  );
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new TypeError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
}

function parseOptions(text: string): Record<string, unknown> {
  return objectOf(parseJson(text, "--options"), "--options");
}

function parseJob(line: string): Job {
  const job = objectOf(parseJson(line, "a job"), "a job");
  const { operator, inputs, outputs, options = {} } = job;
  for (const [name, value] of Object.entries({ operator, inputs, outputs })) {
    if (typeof value !== "string") {
      throw new UsageError(`Cannot run a job as ${name} must be text: ${name} is ${value}`);
    }
  }
  return {
    operator: String(operator),
    inputs: String(inputs),
    outputs: String(outputs),
    options: objectOf(options, "options"),
  };
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new UsageError(
    `Cannot read ${what} as it must be a JSON object: it is ${JSON.stringify(value)}`,
  );
}
