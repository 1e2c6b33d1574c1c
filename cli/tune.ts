import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { adapterKey, type Tuning } from "../gpu/tuning.ts";
import { builtinWorkloads } from "./builtin_set.ts";
import { measureCeilings } from "./ceilings.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import { checkWritable, print, printJson, Progress } from "./output.ts";
import { joinedFlags, PROFILED, profiledOperator } from "./profiled.ts";
import { readSaved, withChoice, writeTuning } from "./tune/document.ts";
import { race, type RaceOptions } from "./tune/race.ts";
import { type ProblemReport, problemReport, reportText } from "./tune/report.ts";
import { choose } from "./tune/standing.ts";
import type { Workload } from "./workload.ts";

/** The flags that are not about a problem. */
const OWN_FLAGS: Command["flags"] = {
  runs: { value: "N", help: "timed calls of a schedule that is not stopped early, 10 by default" },
  exhaustive: { help: "prune nothing by the model and stop nothing early" },
  save: { value: "FILE", help: "write what was chosen, or add it to what the file has" },
};

/** `tune`: measures schedules, and remembers the fastest. */
export const tune: Command = {
  summary: "Measures the schedules that fit a problem, or a built-in set, and saves the fastest.",
  positional: "[operator]",
  words: 1,
  flags: { ...problemFlags(Object.keys(PROFILED)), ...OWN_FLAGS },
  flagsFor(words) {
    const named = Object.keys(PROFILED).filter((name) => words.includes(name));
    return named.length === 1 ? { ...problemFlags(named), ...OWN_FLAGS } : this.flags;
  },
  async run(args) {
    const workloads = workloadsOf(args);
    const runs = args.integer("runs", 10, 1);
    const path = args.text("save");
    const tuning = path === undefined ? null : await readSaved(path);
    using gpu = await requestGpu();
    if (path !== undefined) await checkWritable(path);
    const bar = new Progress(workloads.length);
    const ceilings = await measureCeilings(gpu);
    const exhaustive = args.has("exhaustive");
    const saved: Saved | null = path !== undefined && tuning ? { path, tuning } : null;
    const problems: ProblemReport[] = [];
    for (const workload of workloads) {
      bar.step(workload.name);
      const report = await tuned(gpu, workload, saved, {
        ...{ ceilings, runs, exhaustive },
        progress: (what) => bar.show(`${workload.operator} ${what}`),
      });
      bar.clear();
      if (!args.has("json")) print(`${reportText(report)}\n`);
      problems.push(report);
    }
    const adapter = adapterKey(gpu.adapter, gpu.features);
    if (args.has("json")) {
      const { gflops: ceilingGflops, gbps: ceilingGbps } = ceilings;
      const saved = path ?? null;
      printJson({ adapter, ceilingGflops, ceilingGbps, runs, exhaustive, saved, problems });
    } else if (path !== undefined) print(`saved to ${path} for ${adapter}`);
    const sound = problems.every(({ chosen, problemClass, candidates }) =>
      (chosen !== null || problemClass === null) &&
      candidates.every(({ status }) => status !== "wrong" && status !== "failed")
    );
    return sound ? EXIT.fine : EXIT.failed;
  },
};

/** A file and what it holds by now. */
interface Saved {
  readonly path: string;
  tuning: Tuning;
}

/** Measures a problem, and writes what was chosen at once: a long run may be interrupted. */
async function tuned(
  gpu: Gpu,
  workload: Workload,
  saved: Saved | null,
  options: RaceOptions,
): Promise<ProblemReport> {
  const choices = workload.choices(gpu);
  const { problemClass } = choices;
  const standings = await race(gpu, choices, options);
  const chosen = choose(standings);
  if (saved && problemClass !== null && chosen?.choice) {
    const place = [adapterKey(gpu.adapter, gpu.features), problemClass] as const;
    saved.tuning = withChoice(saved.tuning, place, chosen.choice);
    await writeTuning(saved.path, saved.tuning);
  }
  return problemReport(workload, [workload.scheduleOn(gpu), problemClass], standings);
}

/** The flags of the problems of operators; a schedule is what is looked for. */
function problemFlags(operators: readonly string[]): Command["flags"] {
  const { schedule: _, ...flags } = joinedFlags(operators.map((name) => PROFILED[name]));
  return flags;
}

/** The problem of the named operator, or the built-in set. */
function workloadsOf(args: Arguments): readonly Workload[] {
  const [operator] = args.positional;
  if (operator !== undefined) return profiledOperator(operator).workloads(args).workloads;
  const given = Object.keys(problemFlags(Object.keys(PROFILED))).find((name) => args.has(name));
  if (given === undefined) return builtinWorkloads();
  throw new UsageError(
    `Cannot run the command: --${given} must come with an operator, among ${
      Object.keys(PROFILED).join(", ")
    }`,
  );
}
