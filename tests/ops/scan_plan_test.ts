import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import type { BufferRange, Launch } from "../../gpu/recorder.ts";
import type { PlanDevice } from "../../ops/attention/schedule.ts";
import { launchScan, type Named } from "../../ops/scan/launch.ts";
import { planScan } from "../../ops/scan/plan.ts";
import type { ScanProblem } from "../../ops/scan/problem.ts";
import { dryRunOf, dryTensor } from "./dry_run.ts";
import { planDevice } from "./plan_device.ts";

/** A scan of one sequence of 1000 tokens with 64 channels, f32, with changes. */
function problem(changes: Partial<ScanProblem> = {}): ScanProblem {
  const { length = 1000 } = changes;
  return {
    ...{ kind: "scan", batch: 1, length, heads: 1, width: 64, elem: "f32", weightElem: "f32" },
    ...{ initial: false, final: false, reverse: false, bounds: [0, length] },
    ...{ mode: "auto", chunkSize: 64, gateRows: null },
    ...changes,
  };
}

Deno.test("planScan() takes chunks on a GPU that sequences and channels would not fill", () => {
  const chunks = (changes: Partial<ScanProblem>, driver: "nvidia" | "llvmpipe") =>
    planScan(problem(changes), planDevice(driver)).rounds[0].chunks?.length ?? 0;

  assertEquals(chunks({}, "nvidia"), 16);
  assertEquals(chunks({}, "llvmpipe"), 0);
  assertEquals(chunks({ length: 255 }, "nvidia"), 0);
  assertEquals(chunks({ width: 2 ** 17 }, "nvidia"), 0);
  assertEquals(chunks({ mode: "loop" }, "nvidia"), 0);
  assertEquals(chunks({ mode: "chunk" }, "llvmpipe"), 16);
});

Deno.test("planScan() cuts walks to loops and bindings, and chunks to what a binding carries", () => {
  const ends = (
    changes: Partial<ScanProblem>,
    limits: Partial<PlanDevice["limits"]>,
  ): readonly number[] =>
    planScan(problem(changes), planDevice("nvidia", limits)).rounds
      .map(({ pieces }) => pieces[0].end);

  assertEquals(ends({ mode: "loop" }, { maxLoopIterations: 500 }), [450, 900, 1000]);
  assertEquals(ends({ mode: "loop" }, { maxStorageBufferBindingSize: 2 ** 17 }), [512, 1000]);
  assertEquals(ends({ mode: "chunk" }, { maxStorageBufferBindingSize: 4096 }), [512, 1000]);
  assertEquals(ends({ mode: "chunk" }, { maxLoopIterations: 10 }), [576, 1000]);
});

Deno.test("planScan() carries elements for states and further rounds only", () => {
  const carried = (changes: Partial<ScanProblem>, iterations = Infinity) =>
    planScan(problem(changes), planDevice("llvmpipe", { maxLoopIterations: iterations })).carried;

  assertEquals(carried({}), false);
  assertEquals(carried({ initial: true }), true);
  assertEquals(carried({ final: true }), true);
  assertEquals(carried({}, 500), true);
});

Deno.test("planScan() throws for tokens and states that no binding holds", () => {
  const small = planDevice("nvidia", { maxStorageBufferBindingSize: 4096 });
  const refuse = (changes: Partial<ScanProblem>): string =>
    assertThrows(() => planScan(problem(changes), small), RangeError).message;

  assertEquals(
    refuse({ width: 2048 }),
    "Cannot plan a scan as a token must fit one binding: it has 2048 channels, the device allows 4096 bytes",
  );
  assertEquals(
    refuse({ final: true, length: 0, bounds: Array(21).fill(0) }),
    "Cannot plan a scan as what all sequences carry must fit one binding: it has 10240 bytes, the device allows 4096",
  );
});

/** What a problem launches, on buffers that are only sizes. */
function dryRun(given: ScanProblem, on: Pick<PlanDevice, "adapter" | "limits">): Launch[] {
  const { batch, length, width, heads, initial, final, bounds } = given;
  const { operation, launches } = dryRunOf();
  const tokens = batch * length * heads;
  const state = (): Named => ({ state: dryTensor("f32", (bounds.length - 1) * heads, width) });
  launchScan(operation, {
    problem: given,
    plan: planScan(given, on),
    inputs: {
      a: dryTensor(given.weightElem, tokens, width),
      b: dryTensor(given.elem, tokens, width),
    },
    outputs: { out: dryTensor(given.elem, tokens, width) },
    initial: initial ? state() : null,
    final: final ? state() : null,
    device: on,
  });
  return launches;
}

Deno.test("launchScan() keeps to bindings, grids and alignments", () => {
  const random = new Random(4);
  let cut = 0;
  for (let i = 0; i < 200; i++) {
    const [batch, length] = [random.integer(0, 3), random.integer(0, 900)];
    const given = problem({
      ...{ batch, length, width: random.integer(1, 70), heads: random.integer(1, 2) },
      bounds: Array.from({ length: batch + 1 }, (_, b) => b * length),
      elem: random.pick(["f32", "f16"] as const),
      weightElem: random.pick(["f32", "f16"] as const),
      ...{ initial: random.next() < 0.5, final: random.next() < 0.5 },
      ...{ reverse: random.next() < 0.5, mode: random.pick(["loop", "chunk"] as const) },
      chunkSize: random.pick([16, 64]),
    });
    const on = planDevice("llvmpipe", {
      maxStorageBufferBindingSize: 2 ** random.integer(15, 18),
      maxComputeWorkgroupsPerDimension: random.integer(1, 20),
      minStorageBufferOffsetAlignment: 32,
      maxLoopIterations: random.integer(50, 2000),
    });
    const where = JSON.stringify([given, on.limits]);

    const launches = dryRun(given, on);

    cut += Number(launches.length > 5);
    for (const { program, resources, params, grid } of launches) {
      for (const { name } of program.bindings.filter(({ name }) => name !== "segments")) {
        const { buffer, offset = 0, size = buffer.size } = resources[name] as BufferRange;
        assert(size <= on.limits.maxStorageBufferBindingSize, `${name} of ${where}`);
        assert(offset + size <= buffer.size, `${name} of ${where}`);
        assertEquals(offset % on.limits.minStorageBufferOffsetAlignment, 0, where);
      }
      for (const name of Object.keys(program.params)) assert(Number.isInteger(params[name]), where);
      assert(grid[0] <= on.limits.maxComputeWorkgroupsPerDimension, where);
    }
  }
  assert(cut > 50, `${cut} problems were cut`);
});
