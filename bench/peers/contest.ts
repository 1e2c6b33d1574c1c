// A problem among the libraries: who computes it right is timed.
import { compareHeads } from "../../cli/compare.ts";
import { reasonOf } from "../../cli/reason.ts";
import type { Contestant, Library, Way } from "./contestant.ts";
import { expectedOf, type Inputs, inputsOf, type Problem, toleranceOf } from "./problems.ts";
import { timeInTurns } from "./timing.ts";

/** What became of a contestant. */
export interface Result {
  /** The library and its way. */
  readonly name: string;
  /** RMS of the error over RMS of the float64 reference in the worst head, where it has computed. */
  readonly error?: number;
  /** Milliseconds of a call, a value for each turn, where the result was right. */
  readonly times?: readonly number[];
  /** What it threw. */
  readonly failure?: string;
}

/** A contestant that has computed the problem once, or what it threw. */
type Entry =
  | { readonly contestant: Contestant; readonly error: number }
  | { readonly failure: string };

/** Checks all ways of all libraries against float64 and times those that are right, in turns. */
export async function compete(
  problem: Problem,
  libraries: ReadonlyMap<string, Library>,
): Promise<Result[]> {
  const inputs = inputsOf(problem);
  const expected = expectedOf(problem, inputs);
  const { heads, valueDim } = problem.case;
  const errorOf = (out: ArrayLike<number>): number =>
    compareHeads(out, expected, heads, valueDim).ratio;
  const entries = new Map<string, Entry>();
  const right = new Map<string, Contestant>();
  for (const [library, { ways }] of libraries) {
    for (const [way, open] of Object.entries(ways(problem))) {
      const entry = await enter(open, inputs, errorOf);
      entries.set(library + way, entry);
      if ("failure" in entry || !(entry.error <= toleranceOf(problem))) continue;
      right.set(library + way, entry.contestant);
    }
  }
  const times = await timeInTurns(right);
  return await Promise.all([...entries].map(async ([name, entry]): Promise<Result> => {
    if ("failure" in entry) return { name, failure: entry.failure };
    await entry.contestant.close();
    const own = times.get(name);
    return { name, error: entry.error, ...(own && { times: own }) };
  }));
}

async function enter(
  open: Way,
  inputs: Inputs,
  errorOf: (out: ArrayLike<number>) => number,
): Promise<Entry> {
  try {
    const contestant = await open(inputs);
    return { contestant, error: errorOf(await contestant.out()) };
  } catch (error) {
    return { failure: reasonOf(error) };
  }
}
