// The toolkit beside other libraries, in one process and on one adapter: `deno task peers`, or some
// problems only, `deno task peers full-1024 window`; `--markdown` for the tables of the documents,
// `--tuning FILE` to compute with what `tessera tune --save FILE` chose.
// Inputs and outputs stay where a library keeps them.
import { Arguments, type Command, commandHelp, EXIT, UsageError } from "../../cli/command.ts";
import { note, print, table } from "../../cli/output.ts";
import { reasonOf } from "../../cli/reason.ts";
import { TUNED, tunedOptions } from "../../cli/tuned.ts";
import { type GpuOptions, requestGpu } from "../../mod.ts";
import { compete, type Result } from "./contest.ts";
import type { Library } from "./contestant.ts";
import { openJax } from "./jax.ts";
import { openNative, openWasm } from "./ort_host.ts";
import { openWebGpu } from "./ort_webgpu.ts";
import { installPackages } from "./packages.ts";
import { PROBLEMS, titleOf } from "./problems.ts";
import { BASE, markdown, problemRows, ratioRows } from "./table.ts";
import { openTessera } from "./tessera.ts";
import { openTfjs } from "./tfjs.ts";

/** The command, as those of the command line are described. */
const peers: Omit<Command, "run"> = {
  summary: "Times the toolkit beside other libraries, each checked against float64 first.",
  positional: "[problem…]",
  flags: { markdown: { help: "print the tables as Markdown" }, ...TUNED },
};

Deno.exit(await main(Deno.args)); // devices of the libraries would keep the process alive

async function main(args: readonly string[]): Promise<number> {
  try {
    const given = new Arguments(args, peers.flags);
    if (given.has("help")) {
      print(commandHelp("task peers", peers));
      return EXIT.fine;
    }
    if (given.has("json")) {
      throw new UsageError("Cannot run the command: task peers prints tables, it has no --json");
    }
    const names = chosenOf(given.positional);
    await comparePeers(names, await tunedOptions(given), given.has("markdown"));
    return EXIT.fine;
  } catch (error) {
    note(reasonOf(error));
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

/** The problems whose names begin with a word; all of them without words. */
function chosenOf(words: readonly string[]): string[] {
  const all = Object.keys(PROBLEMS);
  const unknown = words.find((word) => !all.some((name) => name.startsWith(word)));
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot compare the libraries on "${unknown}": the problems are ${all.join(", ")}`,
    );
  }
  return all.filter((name) => words.length === 0 || words.some((word) => name.startsWith(word)));
}

async function comparePeers(
  names: readonly string[],
  tuned: GpuOptions,
  asMarkdown: boolean,
): Promise<void> {
  await installPackages();
  using gpu = await requestGpu(tuned);
  const libraries = await openLibraries({
    [BASE]: () => Promise.resolve(openTessera(gpu)),
    "onnxruntime-web": () => openWebGpu(gpu.features.subgroups !== null),
    "onnxruntime-web Wasm": openWasm,
    "onnxruntime-node": openNative,
    "jax-js": openJax,
    "tfjs": openTfjs,
  });
  const versions = [...libraries].map(([name, { version }]) => `${name} ${version}`);
  const cores = `${navigator.hardwareConcurrency} cores`;
  const host = `${gpu.adapter.description}, ${cores}, Deno ${Deno.version.deno}`;
  print(`${host}, ${versions.join(", ")}\n`);
  const byOperator = new Map<string, Map<string, Result[]>>();
  for (const name of names) {
    const problem = PROBLEMS[name];
    const results = await compete(problem, libraries);
    const ofOperator = byOperator.get(problem.operator) ?? new Map<string, Result[]>();
    byOperator.set(problem.operator, ofOperator.set(name, results));
    print(table(problemRows(`${name}: ${titleOf(problem)}`, results)));
    for (const { name, failure } of results) if (failure) print(`${name}: ${failure}`);
    print("");
  }
  const format = asMarkdown ? markdown : table;
  for (const ofOperator of byOperator.values()) print(`${format(ratioRows(ofOperator))}\n`);
}

/** Opens what runs here; says of the others why not. */
async function openLibraries(
  openers: Readonly<Record<string, () => Promise<Library>>>,
): Promise<Map<string, Library>> {
  const libraries = new Map<string, Library>();
  for (const [name, open] of Object.entries(openers)) {
    try {
      libraries.set(name, await open());
    } catch (error) {
      print(`${name} does not run here: ${reasonOf(error)}`);
    }
  }
  return libraries;
}
