import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { runtimeOf } from "../gpu/runtime.ts";
import { timeRuns } from "../gpu/timing.ts";
import { attentionBytes, attentionFlops } from "./attention_cost.ts";
import {
  type AttentionCase,
  caseName,
  loadCase,
  type LoadedCase,
  TOLERANCE,
} from "./attention_case.ts";
import { ATTENTION_FLAGS, attentionCaseOf, operatorOf } from "./attention_flags.ts";
import { type Ceilings, measureCeilings } from "./ceilings.ts";
import { type Command, EXIT } from "./command.ts";
import { figure, print, printJson, Progress, table } from "./output.ts";
import { spotCheck } from "./spot_check.ts";
import { parseSweep } from "./sweep.ts";
import { type AttentionPlan, planAttention } from "../ops/attention/plan.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { scheduleName } from "../ops/attention/schedule.ts";

/** What `profile --json` prints for one problem. */
export interface Profile {
  readonly operator: string;
  readonly problem: AttentionCase;
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
}

/** `profile`: how fast, and how far from the ceiling. */
export const profile: Command = {
  summary: "Times a problem, after checking it, against this adapter's measured ceilings.",
  positional: "<operator>",
  flags: {
    ...ATTENTION_FLAGS,
    runs: { value: "N", help: "timed calls, 20 by default" },
    compare: { value: "naive", help: "time the naive kernels too" },
    sweep: { value: "KEY=A..B", help: "doubles a size from A to B, for example t=1k..64k" },
  },
  async run(args) {
    const operator = operatorOf(args);
    const base = attentionCaseOf(args);
    const runs = args.integer("runs", 20, 1);
    const naive = args.choice("compare", ["naive"]) !== undefined;
    const sweep = parseSweep(args.text("sweep"), base);
    const cases = sweep?.cases ?? [base];
    using gpu = await requestGpu();
    for (const c of cases) planOf(gpu, c); // a case that cannot be planned is refused before any work
    const ceilings = await measureCeilings(gpu);
    const progress = new Progress(cases.length);
    const profiles: Profile[] = [];
    for (const c of cases) {
      progress.step(caseName(c));
      profiles.push(await profileCase(gpu, c, ceilings, { runs, naive }));
      progress.clear();
    }
    if (!args.has("json")) printProfiles(gpu, profiles, ceilings);
    else printJson(sweep ? { operator, sweep: sweep.key, points: profiles } : profiles[0]);
    return EXIT.fine;
  },
};

async function profileCase(
  gpu: Gpu,
  c: AttentionCase,
  ceilings: Ceilings,
  { runs, naive }: { runs: number; naive: boolean },
): Promise<Profile> {
  const plan = planOf(gpu, c);
  using loaded = loadCase(gpu, c);
  const started = performance.now();
  const first = loaded.compute();
  await gpu.submit();
  const firstMs = performance.now() - started;
  const rmsErrorRatio = spotCheck(c, loaded.inputs, await first.out.read());
  first.out.dispose();
  if (!(rmsErrorRatio <= TOLERANCE[c.dtype])) {
    throw new RangeError(
      `Cannot profile ${
        caseName(c)
      } as its result must agree with float64 first: the error ratio is ${rmsErrorRatio}, the tolerance is ${
        TOLERANCE[c.dtype]
      }`,
    );
  }
  const times = await timeCase(gpu, loaded, runs);
  const medianMs = quantile(times, 0.5);
  const [flops, bytes] = [attentionFlops(c), attentionBytes(c)];
  const [gflops, gbps] = [flops / medianMs / 1e6, bytes / medianMs / 1e6];
  const naiveMs = naive ? await timeNaive(gpu, c, runs) : undefined;
  return {
    operator: "attention",
    problem: c,
    adapter: gpu.adapter.description,
    schedule: scheduleName(plan.schedule),
    minMs: times[0],
    medianMs,
    p90Ms: quantile(times, 0.9),
    runs,
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
    ...(naiveMs !== undefined && { naiveMs, speedup: naiveMs / medianMs }),
  };
}

function planOf(gpu: Gpu, c: AttentionCase): AttentionPlan {
  return planAttention(attentionProblemOf(c), gpu);
}

/** Times calls whose outputs are freed at once. */
function timeCase(gpu: Gpu, loaded: LoadedCase, runs: number): Promise<number[]> {
  const call = (): void => {
    const { out, lse } = loaded.compute();
    out.dispose();
    lse?.dispose();
  };
  return timeRuns(gpu, call, { runs, warmups: 2 });
}

/** The median time of the naive kernels; slow as they are, a few runs tell it. */
async function timeNaive(gpu: Gpu, c: AttentionCase, runs: number): Promise<number> {
  using loaded = loadCase(gpu, { ...c, schedule: "naive" });
  return quantile(await timeCase(gpu, loaded, Math.min(runs, 5)), 0.5);
}

/** Bytes beyond inputs and outputs that one call held at its peak. */
async function scratchBytes(gpu: Gpu, loaded: LoadedCase): Promise<number> {
  await gpu.submit();
  const { meter } = runtimeOf(gpu);
  meter.resetPeak();
  const before = gpu.memory().bytes;
  const { out, lse } = loaded.compute();
  const outputs = out.buffer.size + (lse?.buffer.size ?? 0);
  out.dispose();
  lse?.dispose();
  await gpu.submit();
  return gpu.memory().peakBytes - before - outputs;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function printProfiles(gpu: Gpu, profiles: readonly Profile[], ceilings: Ceilings): void {
  const compared = profiles.some(({ speedup }) => speedup !== undefined);
  const head = ["problem", "median ms", "min", "p90", "GFLOP/s", "GB/s", "of ceiling", "error"];
  const rows = profiles.map((p) => [
    caseName(p.problem),
    figure(p.medianMs),
    figure(p.minMs),
    figure(p.p90Ms),
    figure(p.gflops),
    figure(p.gbps),
    `${figure(100 * p.fractionOfCeiling)}%`,
    figure(p.rmsErrorRatio),
    ...(p.speedup === undefined ? [] : [`${figure(p.speedup)}x`]),
  ]);
  print(
    `${gpu.adapter.description}: ceilings ${figure(ceilings.gflops)} GFLOP/s, ${
      figure(ceilings.gbps)
    } GB/s`,
  );
  print(table([[...head, ...(compared ? ["over naive"] : [])], ...rows]));
  const [{ schedule, runs, timer, compileMs, peakBytes }] = profiles;
  print(
    `schedule ${schedule}, ${runs} runs by ${timer}, first call ${
      figure(compileMs)
    } ms longer, ${peakBytes} bytes of scratch`,
  );
}
