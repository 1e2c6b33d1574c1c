import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { CeilingMeter } from "./ceilings.ts";
import { type Arguments, type Command, commandLine, EXIT } from "./command.ts";
import { print, printJson, Progress } from "./output.ts";
import type { LeftOut, Profile, ProfileRun } from "./profile/document.ts";
import { growthOf } from "./profile/growth.ts";
import { measure } from "./profile/measure.ts";
import { rivalsOf, type Selection, selectionOf } from "./profile/selection.ts";
import { printProfiles } from "./profile/text.ts";
import { joinedFlags, PROFILED } from "./profiled.ts";
import { openReport } from "./report/report.ts";
import { TUNED, tunedOptions } from "./tuned.ts";
import type { Workload } from "./workload.ts";

/** Flags whatever is profiled. */
const COMMON: Command["flags"] = {
  runs: { value: "N", help: "timed calls, 20 by default" },
  html: { value: "FILE", help: "write a page with plots, which needs no network, to FILE" },
  ...TUNED,
};

const ALL: Command["flags"] = {
  all: { help: "time the built-in set of problems instead of one of an operator" },
};

/** `profile`: how fast, and how far from the ceiling. */
export const profile: Command = {
  summary: "Times a problem, after checking it, against this adapter's measured ceilings.",
  positional: "<operator>|--all",
  words: 1,
  flags: flagsOf(Object.values(PROFILED)),
  flagsFor(words) {
    if (words.includes("--all")) return { ...COMMON, ...ALL };
    // rivals are named as operators are
    const free = words.filter((_, i) => words[i - 1] !== "--compare");
    const named = Object.entries(PROFILED).filter(([name]) => free.includes(name));
    return named.length === 1 ? flagsOf(named.map(([, operator]) => operator)) : this.flags;
  },
  async run(args) {
    const selection = selectionOf(args);
    const runs = args.integer("runs", 20, 1);
    const path = args.text("html");
    using gpu = await requestGpu(await tunedOptions(args));
    const { workloads, leftOut } = planned(gpu, selection, args.has("all"));
    // a page that cannot be made is refused before any work
    const report = path === undefined ? undefined : await openReport(path);
    const measured = await measureAll(gpu, { ...selection, workloads }, runs);
    const run = { ...measured, command: commandLine("profile", args), leftOut };
    await report?.write(run, workloads);
    if (args.has("json")) printJson(documentOf(run, args, selection));
    else {
      printProfiles(run);
      if (path !== undefined) print(path);
    }
    return EXIT.fine;
  },
};

function flagsOf(operators: readonly { flags: Command["flags"] }[]): Command["flags"] {
  return {
    ...joinedFlags(operators),
    ...COMMON,
    compare: {
      value: "NAME,…",
      help:
        "time rivals too: naive; for hooks of attention plain; for neighborhoods also unfused (dense always is), for recurrences attention, for hgrn loop",
    },
    sweep: { value: "KEY=A..B", help: "doubles a size from A to B, for example t=1k..64k" },
    ...ALL,
  };
}

/** Plans problems before any work: what cannot run is refused, or of the built-in set left out. */
function planned(
  gpu: Gpu,
  selection: Selection,
  lenient: boolean,
): { workloads: Workload[]; leftOut: LeftOut[] } {
  const leftOut: LeftOut[] = [];
  const workloads = selection.workloads.filter((workload) => {
    try {
      workload.scheduleOn(gpu);
      rivalsOf(workload, selection).forEach((name) => workload.rivals[name]().scheduleOn(gpu));
      return true;
    } catch (error) {
      if (!(lenient && error instanceof Error)) throw error;
      const { operator, name } = workload;
      leftOut.push({ operator, name, reason: error.message });
      return false;
    }
  });
  return { workloads, leftOut };
}

async function measureAll(
  gpu: Gpu,
  selection: Selection,
  runs: number,
): Promise<Omit<ProfileRun, "command" | "leftOut">> {
  const { workloads, sweep } = selection;
  const date = new Date().toISOString();
  using meter = await CeilingMeter.open(gpu);
  const progress = new Progress(workloads.length);
  const profiles: Profile[] = [];
  for (const workload of workloads) {
    progress.step(`${workload.operator} ${workload.name}`);
    const rivals = rivalsOf(workload, selection);
    profiles.push(await measure(gpu, workload, { meter, runs, rivals }));
    progress.clear();
  }
  const growth = sweep ? growthOf(sweep, profiles.map(({ medianMs }) => medianMs)) : undefined;
  const ceilings = meter.ceilings();
  return { date, adapter: gpu.adapter.description, ceilings, profiles, growth };
}

/** The document of `--json`: one profile, the points of a sweep, or the profiles of the set. */
function documentOf(
  { command, date, adapter, ceilings, profiles, growth, leftOut }: ProfileRun,
  args: Arguments,
  { sweep }: Selection,
): object {
  if (args.has("all")) {
    const { gflops: ceilingGflops, gbps: ceilingGbps } = ceilings;
    return { command, date, adapter, ceilingGflops, ceilingGbps, profiles, leftOut };
  }
  if (sweep === null) return profiles[0];
  return {
    operator: args.positional[0],
    sweep: sweep.key,
    ...(growth && { exponent: growth.law.exponent, exponentOf: growth.variable }),
    points: profiles,
  };
}
