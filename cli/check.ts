import type { Gpu } from "../gpu/device.ts";
import { nearest } from "../gpu/nearest.ts";
import { type GpuOptions, requestGpu } from "../gpu/request.ts";
import { chooseGroups, OPERATORS, type Selection } from "./check_groups.ts";
import { localRunner, WorkerRunner } from "./check_runners.ts";
import { spread } from "./check_spread.ts";
import { type Arguments, type Command, EXIT, UsageError } from "./command.ts";
import type { Outcome } from "./outcome.ts";
import { TUNED, tunedOptions } from "./tuned.ts";
import { figure, paint, print, printJson, Progress } from "./output.ts";

interface GroupOutcome {
  readonly operator: string;
  readonly group: string;
  readonly ok: boolean;
  readonly outcomes: readonly Outcome[];
}

const DEFAULT_CASES = 24;
const MOST_JOBS = 4;

/** `check`: every operator, schedule and dtype against float64. */
export const check: Command = {
  summary: "Compares every operator, schedule and dtype with float64 on this adapter.",
  positional: "[names…]",
  flags: {
    quick: { help: "leave out the long and the rare problems" },
    cases: { value: "N", help: `seeded random problems, ${DEFAULT_CASES} by default` },
    seed: { value: "N", help: "seed of the random problems, 1 by default" },
    dtype: { value: "f32|f16", help: "only problems of one dtype" },
    bail: { help: "stop at the first failure" },
    jobs: {
      value: "N",
      help: `devices to work on at once, by default one a core up to ${MOST_JOBS}, one on a GPU`,
    },
    ...TUNED,
  },
  async run(args) {
    const selection = parseSelection(args);
    const settings = {
      ...{ bail: args.has("bail"), json: args.has("json") },
      jobs: args.integer("jobs", 0, 1),
      device: { poison: true, ...await tunedOptions(args) },
    };
    using gpu = await requestGpu(settings.device);
    const results = await runAll(gpu, selection, settings);
    const failed = results.filter(({ ok }) => !ok).length;
    const problems = results.reduce((sum, { outcomes }) => sum + outcomes.length, 0);
    if (settings.json) {
      printJson({ ok: failed === 0, adapter: gpu.adapter.description, problems, groups: results });
    } else {
      const verdict = failed === 0
        ? paint("all agree", "green")
        : paint(`${counted(failed, "group")} failed`, "red");
      print(`${counted(problems, "problem")} on ${gpu.adapter.description}: ${verdict}`);
    }
    return failed === 0 ? EXIT.fine : EXIT.failed;
  },
};

function parseSelection(args: Arguments): Selection {
  for (const name of args.positional) {
    if (OPERATORS.some((operator) => operator === name)) continue;
    throw new UsageError(
      `Cannot check "${name}": names must be among ${OPERATORS.join(", ")}, the nearest is "${
        nearest(name, OPERATORS)
      }"`,
    );
  }
  return {
    operators: args.positional.length > 0 ? args.positional : OPERATORS,
    quick: args.has("quick"),
    dtype: args.choice("dtype", ["f32", "f16"]),
    cases: args.integer("cases", DEFAULT_CASES),
    seed: args.integer("seed", 1),
  };
}

/** How the groups are run and reported. */
interface Settings {
  readonly bail: boolean;
  readonly json: boolean;
  /** Devices to work on at once, or 0 to choose their number. */
  readonly jobs: number;
  /** What each of them is opened with. */
  readonly device: GpuOptions;
}

async function runAll(
  gpu: Gpu,
  selection: Selection,
  { bail, json, jobs, device }: Settings,
): Promise<GroupOutcome[]> {
  const groups = chooseGroups(selection, gpu);
  const progress = new Progress(groups.reduce((sum, { items }) => sum + items.length, 0));
  const options = { bail, step: (what: string) => progress.step(what) };
  const devices = Math.min(jobs || defaultJobs(gpu), groups.length);
  using stack = new DisposableStack();
  const runners = devices <= 1
    ? [localRunner(gpu, groups, options)]
    : Array.from({ length: devices }, () =>
      stack.use(new WorkerRunner({ selection, bail, device }, options.step)));
  const results: GroupOutcome[] = [];
  await spread(groups.length, runners, {
    bail,
    report: (index, outcomes) => {
      const { operator, group } = groups[index];
      const result = { operator, group, ok: outcomes.every(({ ok }) => ok), outcomes };
      results.push(result);
      progress.clear();
      if (!json) printGroup(result);
    },
  });
  return results;
}

/** Compilers of software drivers keep one core busy each. */
function defaultJobs(gpu: Gpu): number {
  return gpu.adapter.software ? Math.min(MOST_JOBS, navigator.hardwareConcurrency) : 1;
}

/** `"1 problem"`, `"2 problems"`. */
function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function printGroup({ operator, group, ok, outcomes }: GroupOutcome): void {
  const worst = outcomes.reduce((a, b) => excess(b) > excess(a) ? b : a);
  const mark = ok ? paint("ok  ", "green") : paint("FAIL", "red");
  const count = counted(outcomes.length, "problem");
  const error = worst.ratio === 0 ? "exact" : `${figure(worst.ratio)} of ${worst.tolerance}`;
  print(`${mark} ${`${operator} ${group}`.padEnd(38)} ${count.padStart(12)}   worst ${error}`);
  for (const outcome of outcomes.filter((outcome) => !outcome.ok)) {
    print(`     ${outcome.name}: ${outcome.error ?? `error ratio ${figure(outcome.ratio)}`}`);
  }
}

/** The error as a share of the tolerance, which is 0 for what must be exact. */
function excess({ ratio, tolerance }: Outcome): number {
  return ratio === 0 ? 0 : ratio / tolerance;
}
