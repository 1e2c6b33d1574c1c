import type { Gpu } from "./device.ts";
import { MAX_TIMESTAMPS, timestamps } from "./timestamps.ts";

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

async function timestampRuns(gpu: Gpu, body: () => void, runs: number): Promise<number[]> {
  const times: number[] = [];
  while (times.length < runs) {
    times.push(...await timestampBatch(gpu, body, Math.min(BATCH, runs - times.length)));
  }
  return times;
}

/** Two timestamps a run. */
const BATCH = MAX_TIMESTAMPS / 2;

async function timestampBatch(gpu: Gpu, body: () => void, runs: number): Promise<number[]> {
  const stamps = await timestamps(gpu, runs * 2, (stamp) => {
    for (let run = 0; run < runs; run++) {
      stamp();
      body();
      stamp();
    }
  });
  return Array.from({ length: runs }, (_, run) => stamps[2 * run + 1] - stamps[2 * run]);
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
