import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { runtimeOf } from "../gpu/runtime.ts";
import { timeRuns } from "../gpu/timing.ts";
import { type Ceilings, measureCeilings } from "./ceilings.ts";
import { type Arguments, type Command, EXIT, type Flag, UsageError } from "./command.ts";
import { fittedExponent } from "./exponent.ts";
import { figure, print, printJson, Progress, table } from "./output.ts";
import { PROFILED, profiledOperator } from "./profiled.ts";
import { callOnce, type LoadedWorkload, type Workload } from "./workload.ts";

/** What `profile --json` prints for one problem. */
export interface Profile {
  readonly operator: string;
  readonly problem: object;
  readonly adapter: string;
  readonly schedule: string;
  readonly minMs: number;
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly runs: number;
  readonly timer: "timestamps" | "wall clock";
  readonly flops: number;
  readonly bytes: number;
  readonly gflops: number;
  readonly gbps: number;
  readonly ceilingGflops: number;
  readonly ceilingGbps: number;
  readonly fractionOfCeiling: number;
  readonly rmsErrorRatio: number;
  readonly peakBytes: number;
  readonly compileMs: number;
  readonly naiveMs?: number;
  readonly speedup?: number;
  readonly unfusedMs?: number;
  readonly denseMs?: number;
  readonly attentionMs?: number;
  readonly loopMs?: number;
  /** The same call without hooks. */
  readonly plainMs?: number;
  /** Compiling the block map. */
  readonly mapMs?: number;
  /** Share of visible pairs. */
  readonly density?: number;
  /** Share of visited tiles. */
  readonly tileDensity?: number;
  /** Against the own dense kernel on the same tokens. */
  readonly speedupOverDense?: number;
  /** What the tile model allows. */
  readonly workBound?: number;
  readonly ratioToBound?: number;
  /** Of operators whose time grows with the tokens alone. */
  readonly tokensPerSecond?: number;
  readonly bytesPerToken?: number;
}

/** Slow as rivals are, a few runs tell their times. */
const RIVAL_RUNS = 5;

/** `profile`: how fast, and how far from the ceiling. */
export const profile: Command = {
  summary: "Times a problem, after checking it, against this adapter's measured ceilings.",
  positional: "<operator>",
  flags: flagsOf(Object.values(PROFILED)),
  flagsFor(words) {
    // rivals are named as operators are
    const free = words.filter((_, i) => words[i - 1] !== "--compare");
    const named = Object.entries(PROFILED).filter(([name]) => free.includes(name));
    return named.length === 1 ? flagsOf(named.map(([, operator]) => operator)) : this.flags;
  },
  async run(args) {
    const operator = profiledOperator(args.positional[0]);
    const { sweep, workloads } = operator.workloads(args);
    const runs = args.integer("runs", 20, 1);
    const rivals = rivalsOf(args, workloads[0]);
    using gpu = await requestGpu();
    // a problem that cannot be planned is refused before any work
    for (const workload of workloads) {
      workload.scheduleOn(gpu);
      rivals.forEach((name) => workload.rivals[name]().scheduleOn(gpu));
    }
    const ceilings = await measureCeilings(gpu);
    const progress = new Progress(workloads.length);
    const profiles: Profile[] = [];
    for (const workload of workloads) {
      progress.step(workload.name);
      profiles.push(await profileWorkload(gpu, workload, ceilings, { runs, rivals }));
      progress.clear();
    }
    const exponent = sweep?.key === "t"
      ? fittedExponent(profiles.map(({ medianMs }, i) => [sweep.sizes[i], medianMs]))
      : undefined;
    const [operatorName] = args.positional;
    const summary = { operator: operatorName, sweep: sweep?.key, exponent };
    if (args.has("json")) printJson(sweep ? { ...summary, points: profiles } : profiles[0]);
    else {
      printProfiles(gpu, workloads, profiles, ceilings);
      if (exponent !== undefined) print(`time grows as t to the power of ${figure(exponent)}`);
    }
    return EXIT.fine;
  },
};

function flagsOf(operators: readonly { flags: Command["flags"] }[]): Command["flags"] {
  return {
    ...merged(operators.map(({ flags }) => flags)),
    runs: { value: "N", help: "timed calls, 20 by default" },
    compare: {
      value: "NAME,…",
      help:
        "time rivals too: naive; for hooks of attention plain; for neighborhoods also unfused (dense always is), for recurrences attention, for hgrn loop",
    },
    sweep: { value: "KEY=A..B", help: "doubles a size from A to B, for example t=1k..64k" },
  };
}

/** The flags of several operators; where they differ in their help, a flag has all of it. */
function merged(lists: readonly Command["flags"][]): Record<string, Flag> {
  const flags = lists.flatMap((list) => Object.entries(list));
  return Object.fromEntries(flags.map(([name, flag]) => {
    const helps = flags.filter(([other]) => other === name).map(([, { help }]) => help);
    return [name, { ...flag, help: [...new Set(helps)].join("; or ") }];
  }));
}

/** The rivals that the arguments name, and those that are always timed. */
function rivalsOf(args: Arguments, { operator, rivals, always }: Workload): string[] {
  const named = args.text("compare")?.split(",") ?? [];
  const names = Object.keys(rivals);
  for (const name of named) {
    if (names.includes(name)) continue;
    const rule = names.length > 0
      ? `--compare must name one of ${names.join(", ")}`
      : `--compare must be left out as ${operator} has no rivals`;
    throw new UsageError(`Cannot run the command: ${rule}, current value is "${name}"`);
  }
  return [...new Set([...always, ...named])];
}

async function profileWorkload(
  gpu: Gpu,
  workload: Workload,
  ceilings: Ceilings,
  { runs, rivals }: { runs: number; rivals: readonly string[] },
): Promise<Profile> {
  using loaded = workload.load(gpu);
  const started = performance.now();
  const [out, ...others] = loaded.compute();
  await gpu.submit();
  const firstMs = performance.now() - started;
  const rmsErrorRatio = loaded.errorOf(await out.read() as ArrayLike<number>);
  [out, ...others].forEach((tensor) => tensor.dispose());
  if (!(rmsErrorRatio <= workload.tolerance)) {
    throw new RangeError(
      `Cannot profile ${workload.name} as its result must agree with float64 first: the error ratio is ${rmsErrorRatio}, the tolerance is ${workload.tolerance}`,
    );
  }
  using opponents = loadAll(gpu, rivals.map((name) => workload.rivals[name]()));
  const [times, ...rivalTimes] = await timeTogether(gpu, [loaded, ...opponents.loaded], runs);
  const medianMs = quantile(times, 0.5);
  const rivalMs = Object.fromEntries(
    rivals.map((name, i) => [name, quantile(rivalTimes[i], 0.5)]),
  );
  const { flops, bytes } = workload;
  const [gflops, gbps] = [flops / medianMs / 1e6, bytes / medianMs / 1e6];
  return {
    operator: workload.operator,
    problem: workload.problem,
    adapter: gpu.adapter.description,
    schedule: workload.scheduleOn(gpu),
    minMs: times[0],
    medianMs,
    p90Ms: quantile(times, 0.9),
    runs: times.length,
    timer: gpu.features.timestamps ? "timestamps" : "wall clock",
    flops,
    bytes,
    gflops,
    gbps,
    ceilingGflops: ceilings.gflops,
    ceilingGbps: ceilings.gbps,
    fractionOfCeiling: Math.max(gflops / ceilings.gflops, gbps / ceilings.gbps),
    rmsErrorRatio,
    peakBytes: await scratchBytes(gpu, loaded),
    compileMs: Math.max(0, firstMs - medianMs),
    ...Object.fromEntries(Object.entries(rivalMs).map(([name, ms]) => [`${name}Ms`, ms])),
    ...("naive" in rivalMs && { speedup: rivalMs.naive / medianMs }),
    ...await workload.model?.(gpu, medianMs, rivalMs),
  };
}

function loadAll(
  gpu: Gpu,
  workloads: readonly Workload[],
): Disposable & { readonly loaded: readonly LoadedWorkload[] } {
  const stack = new DisposableStack();
  const loaded = workloads.map((workload) => stack.use(workload.load(gpu)));
  return { loaded, [Symbol.dispose]: () => stack.dispose() };
}

/**
 * Times calls in turn, so that a machine that slows down slows all of them: the first `runs` times,
 * its rivals a few.
 */
async function timeTogether(
  gpu: Gpu,
  workloads: readonly LoadedWorkload[],
  runs: number,
): Promise<number[][]> {
  const times: number[][] = workloads.map(() => []);
  const rounds = workloads.length === 1 ? 1 : Math.min(runs, RIVAL_RUNS);
  for (let round = 0; round < rounds; round++) {
    for (const [i, loaded] of workloads.entries()) {
      const share = i === 0 ? Math.ceil((runs - times[0].length) / (rounds - round)) : 1;
      const warmups = round > 0 ? 0 : i === 0 ? 2 : 1;
      times[i].push(...await timeRuns(gpu, () => callOnce(loaded), { runs: share, warmups }));
    }
  }
  return times.map((list) => list.toSorted((a, b) => a - b));
}

/** Bytes beyond inputs and outputs that one call held at its peak. */
async function scratchBytes(gpu: Gpu, loaded: LoadedWorkload): Promise<number> {
  await gpu.submit();
  const { meter } = runtimeOf(gpu);
  meter.resetPeak();
  const before = gpu.memory().bytes;
  const outputs = loaded.compute();
  const bytes = outputs.reduce((sum, { buffer }) => sum + buffer.size, 0);
  outputs.forEach((tensor) => tensor.dispose());
  await gpu.submit();
  return gpu.memory().peakBytes - before - bytes;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Columns that only some profiles have. */
const EXTRA_COLUMNS: readonly (readonly [string, (p: Profile) => string | undefined])[] = [
  ["over naive", (p) => cell(p.speedup, "x")],
  ["over unfused", (p) => cell(p.unfusedMs && p.unfusedMs / p.medianMs, "x")],
  ["over dense", (p) => cell(p.speedupOverDense, "x")],
  ["over attention", (p) => cell(p.attentionMs && p.attentionMs / p.medianMs, "x")],
  ["over a loop", (p) => cell(p.loopMs && p.loopMs / p.medianMs, "x")],
  ["over plain", (p) => cell(p.plainMs && p.plainMs / p.medianMs, "x")],
  ["map ms", (p) => cell(p.mapMs, "")],
  ["density", (p) => cell(p.density && 100 * p.density, "%")],
  ["tiles", (p) => cell(p.tileDensity && 100 * p.tileDensity, "%")],
  ["bytes/token", (p) => cell(p.bytesPerToken, "")],
  ["tokens/s", (p) => cell(p.tokensPerSecond, "")],
  ["work bound", (p) => cell(p.workBound, "x")],
  ["of bound", (p) => cell(p.ratioToBound && 100 * p.ratioToBound, "%")],
];

function cell(value: number | undefined, unit: string): string | undefined {
  return value === undefined ? undefined : figure(value) + unit;
}

function printProfiles(
  gpu: Gpu,
  workloads: readonly Workload[],
  profiles: readonly Profile[],
  ceilings: Ceilings,
): void {
  const extra = EXTRA_COLUMNS.filter(([, of]) => profiles.some((p) => of(p) !== undefined));
  const head = ["problem", "median ms", "min", "p90", "GFLOP/s", "GB/s", "of ceiling", "error"];
  const rows = profiles.map((p, i) => [
    workloads[i].name,
    figure(p.medianMs),
    figure(p.minMs),
    figure(p.p90Ms),
    figure(p.gflops),
    figure(p.gbps),
    `${figure(100 * p.fractionOfCeiling)}%`,
    figure(p.rmsErrorRatio),
    ...extra.map(([, of]) => of(p) ?? ""),
  ]);
  print(
    `${gpu.adapter.description}: ceilings ${figure(ceilings.gflops)} GFLOP/s, ${
      figure(ceilings.gbps)
    } GB/s`,
  );
  print(table([[...head, ...extra.map(([name]) => name)], ...rows]));
  const [{ schedule, runs, timer, compileMs, peakBytes }] = profiles;
  print(
    `schedule ${schedule}, ${runs} runs by ${timer}, first call ${
      figure(compileMs)
    } ms longer, ${peakBytes} bytes of scratch`,
  );
}
