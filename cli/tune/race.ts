import type { Gpu } from "../../gpu/device.ts";
import { timeRuns } from "../../gpu/timing.ts";
import type { Ceilings } from "../ceilings.ts";
import { firstCall } from "../first_call.ts";
import { figure } from "../output.ts";
import { reasonOf } from "../reason.ts";
import { callOnce, type LoadedWorkload } from "../workload.ts";
import type { Candidate, Choices } from "./choices.ts";
import { predictedMs } from "./cost_model.ts";
import { medianOf, type Standing } from "./standing.ts";

/** How candidates are measured. */
export interface RaceOptions {
  readonly ceilings: Ceilings;
  /** Timed calls of those that are not stopped. */
  readonly runs: number;
  /** Whether the model prunes nothing and no candidate is stopped. */
  readonly exhaustive: boolean;
  /** Hears what comes next. */
  readonly progress: (what: string) => void;
}

/** Candidates that are predicted so many times slower than the best are left out. */
const PRUNE = 4;
/** Candidates whose first runs are so many times slower than the best so far are stopped. */
const STOP = 1.5;
/** Runs of a first impression, more of them where they take less than so many milliseconds. */
const [TRIAL_RUNS, TRIAL_MS, MOST_TRIAL_RUNS] = [3, 10, 40] as const;
/** Candidates that are timed to the end, at most. */
const FINALISTS = 6;
/** Runs behind which finalists are stopped too, and how much slower they may be. */
const [EARLY_RUNS, EARLY_STOP] = [5, 1.2] as const;

/** A candidate and how it does. */
interface Entry {
  readonly candidate: Candidate;
  readonly standing: Standing;
}

/** The same with its inputs on the device. */
interface Runner extends Entry {
  readonly loaded: LoadedWorkload;
}

/**
 * Measures the ways to compute a problem: the model prunes, each of the others must agree with
 * float64, the rest is timed in turn, and what is clearly slower stops early.
 *
 * @returns how each did, in the order of the candidates
 */
export async function race(
  gpu: Gpu,
  { candidates }: Choices,
  options: RaceOptions,
): Promise<Standing[]> {
  const entries = candidates.map((candidate) => entryOf(gpu, candidate, options));
  const predictions = entries.map(({ standing }) => standing.predictedMs);
  // the default is measured in any case
  if (!options.exhaustive) prune(entries.slice(1), Math.min(...predictions));
  const runners: Runner[] = [];
  const trial = async (list: readonly Entry[]): Promise<void> => {
    const left = list.filter(({ standing }) => standing.status === "waiting");
    for (const { candidate, standing } of left.toSorted(byPrediction)) {
      options.progress(standing.name);
      const loaded = await tryOut(gpu, candidate, standing);
      if (loaded === null) continue;
      const runner = { candidate, standing, loaded };
      runners.push(runner);
      if (!options.exhaustive) await thin(gpu, runners, runner);
    }
  };
  try {
    await trial(entries);
    const best = runners.toSorted(byMinimum).at(0);
    const variants = best?.candidate.variants ?? [];
    const more = variants.map((candidate) => entryOf(gpu, candidate, options));
    if (!options.exhaustive && best) prune(more, best.standing.predictedMs);
    await trial(more);
    await finish(gpu, runners, options);
    return [...entries, ...more].map(({ standing }) => standing);
  } finally {
    runners.forEach(({ loaded }) => loaded[Symbol.dispose]());
  }
}

function entryOf(gpu: Gpu, candidate: Candidate, { ceilings }: RaceOptions): Entry {
  const { name, choice, demand } = candidate;
  const predicted = predictedMs(demand, gpu, ceilings);
  return {
    candidate,
    standing: { name, choice, predictedMs: predicted, status: "waiting", times: [] },
  };
}

function byPrediction(a: Entry, b: Entry): number {
  return a.standing.predictedMs - b.standing.predictedMs;
}

/** Leaves out what the model says is far slower than the best. */
function prune(entries: readonly Entry[], best: number): void {
  for (const { standing } of entries) {
    const ratio = standing.predictedMs / best;
    if (ratio > PRUNE) settle(standing, "pruned", `predicted ${figure(ratio)} times the best`);
  }
}

function settle(standing: Standing, status: Standing["status"], reason: string): void {
  Object.assign(standing, { status, reason });
}

/** Checks a candidate and times a few runs; null where it does not compute the problem. */
async function tryOut(
  gpu: Gpu,
  candidate: Candidate,
  standing: Standing,
): Promise<LoadedWorkload | null> {
  let loaded: LoadedWorkload | null = null;
  try {
    const workload = candidate.workload();
    loaded = workload.load(gpu);
    const { firstMs, rmsErrorRatio } = await firstCall(gpu, loaded);
    standing.rmsErrorRatio = rmsErrorRatio;
    if (!(rmsErrorRatio <= workload.tolerance)) {
      const limit = figure(workload.tolerance);
      settle(standing, "wrong", `error ratio ${figure(rmsErrorRatio)}, tolerance ${limit}`);
      loaded[Symbol.dispose]();
      return null;
    }
    standing.times.push(...await impression(gpu, loaded));
    standing.compileMs = Math.max(0, firstMs - (medianOf(standing) ?? 0));
    return loaded;
  } catch (error) {
    settle(standing, "failed", reasonOf(error));
    loaded?.[Symbol.dispose]();
    return null;
  }
}

async function timed(gpu: Gpu, loaded: LoadedWorkload, runs: number): Promise<number[]> {
  return await timeRuns(gpu, () => callOnce(loaded), { runs, warmups: 0 });
}

/** A few runs: the smallest of them counts, for a busy machine only ever adds to times. */
async function impression(gpu: Gpu, loaded: LoadedWorkload): Promise<number[]> {
  const times = await timed(gpu, loaded, TRIAL_RUNS);
  const more = Math.min(MOST_TRIAL_RUNS, Math.floor(TRIAL_MS / Math.max(0.01, ...times)));
  return more > TRIAL_RUNS ? [...times, ...await timed(gpu, loaded, more)] : times;
}

function timeOf({ standing }: Runner): number {
  return medianOf(standing) ?? Infinity;
}

function byMinimum(a: Runner, b: Runner): number {
  return Math.min(...a.standing.times) - Math.min(...b.standing.times);
}

/** Stops a newcomer that is clearly slower than the best, timed once more beside it, or one too many. */
async function thin(gpu: Gpu, runners: Runner[], newcomer: Runner): Promise<void> {
  const [best] = runners.filter((runner) => runner !== newcomer).toSorted(byMinimum);
  if (best === undefined) return;
  const times = await impression(gpu, best.loaded);
  best.standing.times.push(...times);
  const slower = Math.min(...newcomer.standing.times) / Math.min(...times);
  if (slower > STOP) return stop(runners, newcomer, slower);
  const last = runners.toSorted(byMinimum).at(FINALISTS);
  if (last) stop(runners, last, Math.min(...last.standing.times) / Math.min(...times));
}

function stop(runners: Runner[], runner: Runner, slower: number): void {
  settle(runner.standing, "stopped", `${figure(slower)} times the best so far`);
  runner.loaded[Symbol.dispose]();
  runners.splice(runners.indexOf(runner), 1);
}

/** Times runners in turn, so that a machine that slows down slows all of them. */
async function finish(gpu: Gpu, runners: Runner[], options: RaceOptions): Promise<void> {
  runners.forEach(({ standing }) => standing.times.splice(0));
  for (let round = 0; round < options.runs; round++) {
    for (const runner of runners) {
      options.progress(`${runner.standing.name}, run ${round + 1}`);
      runner.standing.times.push(...await timed(gpu, runner.loaded, 1));
    }
    if (options.exhaustive || round + 1 < EARLY_RUNS) continue;
    const best = Math.min(...runners.map(timeOf));
    for (const runner of [...runners]) {
      const slower = timeOf(runner) / best;
      if (slower > EARLY_STOP) stop(runners, runner, slower);
    }
  }
  runners.forEach(({ standing }) => standing.status = "timed");
}
