import type { Gpu } from "./device.ts";
import { runtimeOf } from "./runtime.ts";

/** Options of {@linkcode timeRuns}. */
export interface TimingOptions {
  /** Timed calls. */
  readonly runs: number;
  /** Calls before them, for compilation and caches. */
  readonly warmups: number;
}

/**
 * Times calls of recorded work: on the device by timestamp queries where it has them, else by wall
 * clock over batches of calls.
 *
 * @param body records one call and leaves no tensor behind
 * @returns milliseconds of each call, sorted
 */
export async function timeRuns(
  gpu: Gpu,
  body: () => void,
  { runs, warmups }: TimingOptions,
): Promise<number[]> {
  for (let warmup = 0; warmup < warmups; warmup++) body();
  await gpu.submit();
  const times = gpu.features.timestamps
    ? await timestampRuns(gpu, body, runs)
    : await wallClockRuns(gpu, body, runs);
  return times.sort((a, b) => a - b);
}

/** Two timestamps a run; a query set holds 4096 at most. */
const BATCH = 1024;

async function timestampRuns(gpu: Gpu, body: () => void, runs: number): Promise<number[]> {
  const times: number[] = [];
  while (times.length < runs) {
    times.push(...await timestampBatch(gpu, body, Math.min(BATCH, runs - times.length)));
  }
  return times;
}

async function timestampBatch(gpu: Gpu, body: () => void, runs: number): Promise<number[]> {
  const { device } = gpu;
  const runtime = runtimeOf(gpu);
  const { recorder } = runtime;
  const bytes = runs * 16;
  const querySet = device.createQuerySet({ type: "timestamp", count: runs * 2 });
  const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
  const resolved = device.createBuffer({ label: "timestamps", size: bytes, usage });
  try {
    for (let run = 0; run < runs; run++) {
      recorder.stamp(querySet, run * 2);
      body();
      recorder.stamp(querySet, run * 2 + 1);
    }
    recorder.copies().resolveQuerySet(querySet, 0, runs * 2, resolved, 0);
    const stamps = new BigUint64Array(await runtime.download(resolved, bytes));
    return Array.from({ length: runs }, (_, i) => Number(stamps[i * 2 + 1] - stamps[i * 2]) / 1e6);
  } finally {
    querySet.destroy();
    resolved.destroy();
  }
}

/** A wait costs milliseconds by itself, so a batch runs at least ten times as long as a bare wait. */
async function wallClockRuns(gpu: Gpu, body: () => void, runs: number): Promise<number[]> {
  const wait = await wallClock(gpu, () => {});
  let calls = 1;
  while (calls < 1024 && await wallClock(gpu, () => repeat(body, calls)) < 10 * wait) calls *= 2;
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    times.push((await wallClock(gpu, () => repeat(body, calls)) - wait) / calls);
  }
  return times;
}

async function wallClock(gpu: Gpu, body: () => void): Promise<number> {
  const started = performance.now();
  body();
  await gpu.submit();
  return performance.now() - started;
}

function repeat(body: () => void, times: number): void {
  for (let i = 0; i < times; i++) body();
}
