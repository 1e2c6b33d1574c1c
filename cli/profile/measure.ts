import type { Gpu } from "../../gpu/device.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import { timePasses } from "../../gpu/timeline.ts";
import { timeRuns } from "../../gpu/timing.ts";
import type { CeilingMeter } from "../ceilings.ts";
import { type FirstCall, firstCall } from "../first_call.ts";
import { quantile } from "../quantile.ts";
import { callOnce, type LoadedWorkload, type Workload } from "../workload.ts";
import type { Pass, Profile } from "./document.ts";
import { rooflineOf } from "./roofline.ts";

/** Turns of a problem and the microkernels: machines change their speed within a second. */
const ROUNDS = 10;
/** Slow as rivals are, they take part in every other round; passes are told from a few runs as well. */
const FEW_RUNS = ROUNDS / 2;

/** How a problem is measured. */
export interface MeasureOptions {
  /** Times the microkernels in turn with the problem. */
  readonly meter: CeilingMeter;
  /** Timed calls. */
  readonly runs: number;
  /** Names of the rivals to time in turn. */
  readonly rivals: readonly string[];
}

/**
 * Checks a problem against float64, then times it beside its rivals.
 *
 * @throws RangeError if its result does not agree
 */
export async function measure(
  gpu: Gpu,
  workload: Workload,
  { meter, runs, rivals }: MeasureOptions,
): Promise<Profile> {
  using loaded = workload.load(gpu);
  const { firstMs, rmsErrorRatio } = await checked(gpu, workload, loaded);
  using opponents = loadAll(gpu, rivals.map((name) => workload.rivals[name]()));
  const { samples } = meter;
  const contestants = [loaded, ...opponents.loaded];
  const [times, ...rivalTimes] = await timeTogether(gpu, contestants, { meter, runs });
  const ceilings = meter.ceilings(samples);
  const medianMs = quantile(times, 0.5);
  const rivalMs = Object.fromEntries(
    rivals.map((name, i) => [name, quantile(rivalTimes[i], 0.5)]),
  );
  const passes = await passesOf(gpu, loaded, Math.min(runs, FEW_RUNS));
  const { flops, bytes } = workload;
  const [gflops, gbps] = [flops / medianMs / 1e6, bytes / medianMs / 1e6];
  return {
    operator: workload.operator,
    name: workload.name,
    problem: workload.problem,
    adapter: gpu.adapter.description,
    schedule: workload.scheduleOn(gpu),
    minMs: times[0],
    medianMs,
    p90Ms: quantile(times, 0.9),
    runs: times.length,
    timer: gpu.features.timestamps ? "timestamps" : "wall clock",
    ...{ flops, bytes, gflops, gbps },
    ceilingGflops: ceilings.gflops,
    ceilingGbps: ceilings.gbps,
    fractionOfCeiling: Math.max(gflops / ceilings.gflops, gbps / ceilings.gbps),
    roofline: rooflineOf(workload, ceilings),
    ...(passes.length > 0 && { passes }),
    rmsErrorRatio,
    peakBytes: await scratchBytes(gpu, loaded),
    compileMs: Math.max(0, firstMs - medianMs),
    ...Object.fromEntries(Object.entries(rivalMs).map(([name, ms]) => [`${name}Ms`, ms])),
    ...("naive" in rivalMs && { speedup: rivalMs.naive / medianMs }),
    ...await workload.model?.(gpu, medianMs, rivalMs),
  };
}

/** What the first call took, and how far its result is from float64. */
async function checked(
  gpu: Gpu,
  { name, tolerance }: Workload,
  loaded: LoadedWorkload,
): Promise<FirstCall> {
  const first = await firstCall(gpu, loaded);
  const { rmsErrorRatio } = first;
  if (rmsErrorRatio <= tolerance) return first;
  throw new RangeError(
    `Cannot profile ${name} as its result must agree with float64 first: the error ratio is ${rmsErrorRatio}, the tolerance is ${tolerance}`,
  );
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
 * its rivals and the microkernels a few.
 */
async function timeTogether(
  gpu: Gpu,
  workloads: readonly LoadedWorkload[],
  { meter, runs }: Pick<MeasureOptions, "meter" | "runs">,
): Promise<number[][]> {
  const times: number[][] = workloads.map(() => []);
  const rounds = Math.min(runs, ROUNDS);
  for (let round = 0; round < rounds; round++) {
    await meter.sample();
    for (const [i, loaded] of workloads.entries()) {
      const share = i === 0 ? Math.ceil((runs - times[0].length) / (rounds - round)) : 1;
      if (i > 0 && round % 2 > 0) continue;
      const warmups = round > 0 ? 0 : i === 0 ? 2 : 1;
      times[i].push(...await timeRuns(gpu, () => callOnce(loaded), { runs: share, warmups }));
    }
  }
  return times.map((list) => list.toSorted((a, b) => a - b));
}

async function passesOf(gpu: Gpu, loaded: LoadedWorkload, runs: number): Promise<Pass[]> {
  const passes = await timePasses(gpu, () => callOnce(loaded), runs);
  const timed = passes.map(({ label, count, times }) => {
    const sorted = times.toSorted((a, b) => a - b);
    return { label, count, minMs: sorted[0], medianMs: quantile(sorted, 0.5) };
  });
  const sum = timed.reduce((sum, { medianMs }) => sum + medianMs, 0);
  return timed.map((pass) => ({ ...pass, share: pass.medianMs / sum }));
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
