import { assertEquals } from "@std/assert";
import { compete } from "../../bench/peers/contest.ts";
import type { Contestant, Library, Way } from "../../bench/peers/contestant.ts";
import { onnxOperator } from "../../bench/peers/onnx_operators.ts";
import { expectedOf, inputsOf, type Problem, PROBLEMS } from "../../bench/peers/problems.ts";
import { problemRows, ratioRows } from "../../bench/peers/table.ts";
import { timeInTurns } from "../../bench/peers/timing.ts";

const results = [
  { name: "tessera", error: 1e-7, times: [4, 2, 3, 2] },
  { name: "slow", error: 2e-7, times: [5] },
  { name: "astray", error: 0.5 },
  { name: "absent", failure: "no adapter" },
];

Deno.test("ratioRows() divides by the time of tessera and tells wrong from failed", () => {
  const all = new Map([["a", results], ["b", results.slice(0, 1)]]);
  assertEquals(ratioRows(all), [
    ["", "a", "b"],
    ["tessera", "2.00 ms", "2.00 ms"],
    ["slow", "2.50x", ""],
    ["astray", "wrong", ""],
    ["absent", "failed", ""],
  ]);
});

Deno.test("problemRows() has no ratio where tessera is not among the results", () => {
  const [, row] = problemRows("a", results.slice(1, 2));
  assertEquals(row, ["slow", "5.00", "5.00", "1", "2.0e-7", ""]);
});

Deno.test("timeInTurns() times several calls of a fast contestant and one of a slow one", async () => {
  await withClock(async (clock) => {
    const contestants = { fast: contestant(clock, 20), slow: contestant(clock, 1600) };
    const times = await timeInTurns(new Map(Object.entries(contestants)));
    // a wait of 10 a turn; 10 calls and then 15 make 300, as near as whole calls can
    const each = 20 + 10 / 15;
    assertEquals(Object.fromEntries(times), { fast: new Array(5).fill(each), slow: [1610] });
  });
});

Deno.test("compete() times who is right, and keeps the order of the libraries", async () => {
  const [problem] = Object.values(PROBLEMS);
  if (problem.operator !== "attention") throw new TypeError("Cannot test without attention");
  const small: Problem = { ...problem, case: { ...problem.case, qLen: 8, kvLen: 8 } };
  const exact = expectedOf(small, inputsOf(small));
  await withClock(async (clock) => {
    const library = (ways: Readonly<Record<string, Way>>): Library => ({
      version: "1",
      ways: () => ways,
    });
    const way = (out: ArrayLike<number>): Way => () =>
      Promise.resolve({ ...contestant(clock, 1600), out: () => Promise.resolve(out) });
    const results = await compete(
      small,
      new Map([
        ["a", library({ " fails": () => Promise.reject(new Error("No adapter")) })],
        ["b", library({ "": way(exact), " zeros": way(new Float32Array(exact.length)) })],
        ["c", library({})],
      ]),
    );
    assertEquals(results, [
      { name: "a fails", failure: "No adapter" },
      { name: "b", error: 0, times: [1610] },
      { name: "b zeros", error: 1 },
    ]);
  });
});

/** Runs with a clock that only contestants move. */
async function withClock(run: (clock: { now: number }) => Promise<void>): Promise<void> {
  const clock = { now: 0 };
  const { now } = performance;
  performance.now = () => clock.now;
  try {
    await run(clock);
  } finally {
    performance.now = now;
  }
}

/** Takes some milliseconds a call and 10 more for the wait. */
function contestant(clock: { now: number }, milliseconds: number): Contestant {
  return {
    call() {
      clock.now += milliseconds;
      return Promise.resolve(() => {});
    },
    done() {
      clock.now += 10;
      return Promise.resolve();
    },
    out: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
}

Deno.test("onnxOperator() takes GroupQueryAttention where MultiHeadAttention has no window", () => {
  assertEquals(onnxOperator(PROBLEMS["causal-1024"]).node.operator, "MultiHeadAttention");
  const { node, feeds } = onnxOperator(PROBLEMS["window-2048"]);
  assertEquals(node.operator, "GroupQueryAttention");
  assertEquals(node.attributes.at(-1), ["local_window_size", "int", 128]);
  assertEquals(feeds(inputsOf(PROBLEMS["window-2048"])).key.shape, [1, 2048, 256]);
});
