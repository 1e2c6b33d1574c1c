import { assertEquals, assertThrows } from "@std/assert";
import type { PlanDevice } from "../../ops/attention/schedule.ts";
import { planLogLinear } from "../../ops/log_linear/plan.ts";
import type { LogLinearProblem } from "../../ops/log_linear/problem.ts";
import { logLinearScheduleName, logLinearSchedules } from "../../ops/log_linear/schedule.ts";
import { promisedDevice } from "./plan_device.ts";

const PROBLEM: LogLinearProblem = {
  ...{ qHeads: 4, kHeads: 4, heads: 4, keyDim: 64, valueDim: 64, levels: 13, scale: 1 },
  inputs: { q: "f32", k: "f32", v: "f32", g: "f32", lambda: "f32" },
  ...{ resumed: false, final: false, inPlace: false, valueFirst: false },
  ...{ bounds: [0, 4096], schedule: null },
};

/** Sequence, first place and chunks of the pieces of each round. */
function roundsOf(part: Partial<LogLinearProblem>, device: PlanDevice): number[][][] {
  return planLogLinear({ ...PROBLEM, ...part }, device).rounds.map((pieces) =>
    pieces.map(({ state, place, chunks }) => [state, place, chunks])
  );
}

Deno.test("logLinearSchedules() hands rows round a subgroup on a software adapter only", () => {
  const names = (device: PlanDevice) =>
    logLinearSchedules(PROBLEM, device).map(logLinearScheduleName);
  assertEquals(names(promisedDevice("llvmpipe")), ["subgroup-8x4", "direct-8x4", "naive"]);
  assertEquals(names(promisedDevice("nvidia")), ["direct-32x2", "subgroup-32x1", "naive"]);
});

Deno.test("logLinearSchedules() streams the state through a step", () => {
  const schedules = logLinearSchedules({ ...PROBLEM, inPlace: true }, promisedDevice("llvmpipe"));
  assertEquals(schedules.map(logLinearScheduleName), ["step", "naive"]);
});

Deno.test("planLogLinear() computes all chunks of all sequences at once", () => {
  const bounds = [0, 0, 1, 4096];
  assertEquals(roundsOf({ bounds }, promisedDevice("llvmpipe")), [[[0, 0, 0], [1, 0, 1], [
    2,
    0,
    128,
  ]]]);
});

Deno.test("planLogLinear() counts one more chunk where a state may end inside one", () => {
  const part = { bounds: [0, 32, 65], resumed: true };
  assertEquals(roundsOf(part, promisedDevice("llvmpipe")), [[[0, 0, 2], [1, 0, 2]]]);
});

Deno.test("planLogLinear() cuts a sequence where it does alone, and fills rounds with others", () => {
  const device = promisedDevice("llvmpipe", { maxStorageBufferBindingSize: 2 ** 22 });
  // a block has 4 x 16416 bytes: 13 of levels and 50 of chunks are below 4 MiB
  assertEquals(roundsOf({}, device), [[[0, 0, 49]], [[0, 1568, 49]], [[0, 3136, 30]]]);
  assertEquals(roundsOf({ bounds: [0, 1600, 1900] }, device), [
    [[0, 0, 49]],
    [[0, 1568, 1], [1, 0, 10]],
  ]);
});

Deno.test("planLogLinear() throws where two chunks do not fit a binding", () => {
  const device = promisedDevice("llvmpipe", { maxStorageBufferBindingSize: 2 ** 19 });
  assertThrows(
    () => planLogLinear(PROBLEM, device),
    RangeError,
    "Cannot plan log-linear attention as the levels of all heads and two chunks must fit one binding: they have",
  );
});
