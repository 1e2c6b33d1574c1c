import { assertEquals, assertThrows } from "@std/assert";
import type { PlanDevice } from "../../ops/attention/schedule.ts";
import { planSelectiveScan } from "../../ops/selective_scan/plan.ts";
import type { SelectiveScanProblem } from "../../ops/selective_scan/problem.ts";
import { selectiveScheduleName, selectiveSchedules } from "../../ops/selective_scan/schedule.ts";
import { promisedDevice } from "./plan_device.ts";

const PROBLEM: SelectiveScanProblem = {
  ...{ batch: 1, length: 4096, channels: 256, states: 16, elem: "f32" },
  inputs: { u: "f32", delta: "f32", rates: "f32", writes: "f32", reads: "f32" },
  ...{ softplus: false, initial: false, final: false, reverse: false, bounds: [0, 4096] },
  ...{ mode: "auto", chunkSize: 64, copyable: true, schedule: null },
};

const namesOf = (part: Partial<SelectiveScanProblem>, device: PlanDevice): string[] =>
  selectiveSchedules({ ...PROBLEM, ...part }, device).map(selectiveScheduleName);

Deno.test("selectiveSchedules() hands rows round a subgroup on a software adapter", () => {
  assertEquals(namesOf({}, promisedDevice("llvmpipe")), [
    ...["subgroup-8x4-texture", "subgroup-8x1-texture"],
    ...["subgroup-8x4-buffer", "subgroup-8x1-buffer"],
    ...["broadcast-8x4-texture", "broadcast-8x1-texture"],
    ...["broadcast-8x4-buffer", "broadcast-8x1-buffer"],
    ...["workgroup-8x4-texture", "workgroup-8x1-texture"],
    ...["workgroup-8x4-buffer", "workgroup-8x1-buffer", "naive"],
  ]);
});

Deno.test("selectiveSchedules() broadcasts first where shuffles of so many lanes are slow", () => {
  const sixteen = promisedDevice("llvmpipe", { lanes: 16 });
  const first = (states: number): string =>
    selectiveSchedules({ ...PROBLEM, states }, sixteen).map((schedule) =>
      schedule.kind === "tiled"
        ? `${schedule.tokens} ${selectiveScheduleName(schedule)}`
        : schedule.kind
    )[0];

  assertEquals(first(16), "8 broadcast-16x4-texture");
  assertEquals(first(60), "2 broadcast-16x4-texture");
});

Deno.test("selectiveSchedules() gives every channel an invocation on a GPU", () => {
  assertEquals(namesOf({}, promisedDevice("nvidia"))[0], "workgroup-64x1-buffer");
});

Deno.test("selectiveSchedules() gives an invocation four channels of f16 on a GPU", () => {
  assertEquals(namesOf({ elem: "f16" }, promisedDevice("nvidia"))[0], "workgroup-64x4-buffer");
});

Deno.test("selectiveSchedules() gives an invocation one channel of many states on a GPU", () => {
  const names = namesOf({ elem: "f16", states: 64 }, promisedDevice("nvidia"));
  assertEquals(names.filter((name) => name.includes("x4-")), []);
});

Deno.test("selectiveSchedules() gives few channels an invocation each", () => {
  assertEquals(namesOf({ channels: 31 }, promisedDevice("llvmpipe"))[0], "subgroup-8x1-texture");
});

Deno.test("selectiveSchedules() has no texture where no row is whole vec4s", () => {
  const names = namesOf({ channels: 31, states: 5 }, promisedDevice("llvmpipe"));
  assertEquals(names.filter((name) => name.endsWith("texture")), []);
});

const shapeOf = (part: Partial<SelectiveScanProblem>, device: PlanDevice) =>
  planSelectiveScan({ ...PROBLEM, ...part }, device).rounds
    .map(({ pieces, chunks }) => [pieces.length, chunks?.length ?? 0]);

Deno.test("planSelectiveScan() walks sequences whole on a software adapter", () => {
  assertEquals(shapeOf({}, promisedDevice("llvmpipe")), [[1, 0]]);
});

Deno.test("planSelectiveScan() takes chunks where a GPU would idle", () => {
  assertEquals(shapeOf({}, promisedDevice("nvidia")), [[1, 64]]);
});

Deno.test("planSelectiveScan() walks sequences whole that fill a GPU", () => {
  const bounds = Array.from({ length: 129 }, (_, b) => b * 4096);
  assertEquals(shapeOf({ batch: 128, bounds }, promisedDevice("nvidia")), [[128, 0]]);
});

Deno.test("planSelectiveScan() cuts the walk of the baseline before a driver ends its loops", () => {
  const device = promisedDevice("llvmpipe", { maxLoopIterations: 65_535 });
  assertEquals(shapeOf({ schedule: "naive" }, device), [[1, 0], [1, 0]]);
});

Deno.test("planSelectiveScan() cuts rounds where the states of chunks fill a binding", () => {
  const device = promisedDevice("nvidia", { maxStorageBufferBindingSize: 40 * 4 * 256 * 16 });
  assertEquals(shapeOf({}, device), [[1, 40], [1, 24]]);
});

Deno.test("planSelectiveScan() throws when a token fits no binding", () => {
  const device = promisedDevice("nvidia", { maxStorageBufferBindingSize: 1000 });
  assertThrows(
    () => planSelectiveScan(PROBLEM, device),
    RangeError,
    "Cannot plan a selective scan as a token must fit one binding: it has 256 channels, the device allows 1000 bytes",
  );
});

Deno.test("planSelectiveScan() throws when states fit no binding", () => {
  const device = promisedDevice("nvidia", { maxStorageBufferBindingSize: 16383 });
  assertThrows(
    () => planSelectiveScan({ ...PROBLEM, initial: true, mode: "loop" }, device),
    RangeError,
    "Cannot plan a selective scan as the states of all sequences must fit one binding: they have 16384 bytes, the device allows 16383",
  );
});
