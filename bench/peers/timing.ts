// Wall time of several calls and one wait at their end, the contestants in turn.
import type { Contestant } from "./contestant.ts";

const TURNS = 5;
/** About how long a turn takes: the wait at its end, of some milliseconds, is to weigh little. */
const TURN_MS = 300;
/** What the turns of a slow contestant may take together; it has one in any case. */
const CONTESTANT_MS = 3000;

/** A contestant's times. */
interface Clock {
  readonly contestant: Contestant;
  readonly calls: number;
  readonly turns: number;
  readonly times: number[];
}

/** Milliseconds of a call, a value for each turn; the contestants must have compiled. */
export async function timeInTurns(
  contestants: ReadonlyMap<string, Contestant>,
): Promise<Map<string, readonly number[]>> {
  const clocks = new Map<string, Clock>();
  for (const [name, contestant] of contestants) clocks.set(name, await startClock(contestant));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const { contestant, calls, turns, times } of clocks.values()) {
      if (times.length < turns) times.push(await timeCalls(contestant, calls));
    }
  }
  return new Map([...clocks].map(([name, { times }]) => [name, times]));
}

/** Finds out how many calls make a turn; where one does, it has been the first turn. */
async function startClock(contestant: Contestant): Promise<Clock> {
  const first = await timeCalls(contestant, 1);
  if (first >= TURN_MS) {
    const turns = Math.max(1, Math.min(TURNS, Math.floor(CONTESTANT_MS / first)));
    return { contestant, calls: 1, turns, times: [first] };
  }
  const each = await timeCalls(contestant, Math.ceil(TURN_MS / first)); // waits weigh less
  return { contestant, calls: Math.ceil(TURN_MS / each), turns: TURNS, times: [] };
}

async function timeCalls(contestant: Contestant, calls: number): Promise<number> {
  const started = performance.now();
  const frees: (() => void)[] = [];
  for (let call = 0; call < calls; call++) frees.push(await contestant.call());
  await contestant.done();
  const elapsed = performance.now() - started;
  for (const free of frees) free();
  return elapsed / calls;
}
