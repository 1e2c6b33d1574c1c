import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { adapterKey, checkTuning, tunedClasses } from "../../gpu/tuning.ts";
import { attention, type AttentionResult, requestGpu, type TunedChoice } from "../../mod.ts";
import { attentionClass } from "../../ops/attention/class.ts";
import { planAttention } from "../../ops/attention/plan.ts";
import { attentionProblemOf } from "../../ops/attention/problem.ts";
import { type PlanDevice, scheduleName } from "../../ops/attention/schedule.ts";
import { fastClass } from "../../ops/fast_weights/class.ts";
import type { FastProblem } from "../../ops/fast_weights/problem.ts";
import { chooseFastSchedule } from "../../ops/fast_weights/schedule.ts";
import { logLinearClass } from "../../ops/log_linear/class.ts";
import type { LogLinearProblem } from "../../ops/log_linear/problem.ts";
import { chooseLogLinearSchedule, logLinearScheduleName } from "../../ops/log_linear/schedule.ts";
import { neighborhoodClass } from "../../ops/neighborhood/class.ts";
import { planNeighborhood } from "../../ops/neighborhood/plan.ts";
import { neighborhoodProblemOf } from "../../ops/neighborhood/problem.ts";
import { recurrenceClass } from "../../ops/recurrence/class.ts";
import { planRecurrence } from "../../ops/recurrence/plan.ts";
import type { RecurrenceProblem } from "../../ops/recurrence/problem.ts";
import { recurrenceScheduleName } from "../../ops/recurrence/schedule.ts";
import { scanClass } from "../../ops/scan/class.ts";
import { planScan } from "../../ops/scan/plan.ts";
import type { ScanProblem } from "../../ops/scan/problem.ts";
import { selectiveClass } from "../../ops/selective_scan/class.ts";
import { planSelectiveScan } from "../../ops/selective_scan/plan.ts";
import type { SelectiveScanProblem } from "../../ops/selective_scan/problem.ts";
import { selectiveScheduleName } from "../../ops/selective_scan/schedule.ts";
import { adapter } from "../adapter.ts";
import { planDevice } from "./plan_device.ts";

const ignore = adapter === null;
const LLVMPIPE = "llvmpipe / llvmpipe (LLVM 15.0.6, 256 bits) / 8 lanes";

/** llvmpipe, with what a tuning chooses for classes of problems. */
function llvmpipe(tuned: Readonly<Record<string, TunedChoice>> = {}): PlanDevice {
  const device = planDevice("llvmpipe", { lanes: 8 });
  const description = "llvmpipe (LLVM 15.0.6, 256 bits)";
  return {
    ...device,
    adapter: { ...device.adapter, description, vendor: "65541" },
    tuned: tunedClasses({ version: 1, adapters: { [LLVMPIPE]: tuned } }, LLVMPIPE),
  };
}

type AttentionPlain = Parameters<typeof attentionProblemOf>[0];

/** Full attention, B1 T1024 S1024 H4 D64 f32, with changes. */
function attentionOf(changes: Partial<AttentionPlain> = {}) {
  const { qLen = 1024, heads = 4, headDim = 64 } = changes;
  return attentionProblemOf({
    ...{ batch: 1, qLen, kvLen: qLen, heads, kvHeads: heads, headDim, valueDim: headDim },
    ...{ dtype: "f32", ...changes },
  });
}

const FULL_D64 = "attention f32 D64 full";

/** Name of the schedule of an attention problem. */
const attentionName = (on: PlanDevice, changes: Partial<AttentionPlain> = {}): string =>
  scheduleName(planAttention(attentionOf(changes), on).schedule);

/** A window of 13 x 13 on a map of side x side tokens. */
function mapOf(side: number, schedule?: string) {
  return neighborhoodProblemOf({
    ...{ batch: 1, layout: [side, side], heads: 4, kvHeads: 4, headDim: 64, valueDim: 64 },
    ...{ dtype: "f32", pattern: { windowSize: 13 }, ...(schedule && { schedule }) },
  });
}

/** A gated recurrence of B1 T4096 H4 K64 V64 f32, with changes. */
function recurrenceOf(changes: Partial<RecurrenceProblem> = {}): RecurrenceProblem {
  const { length = 4096 } = changes;
  const rows = { elem: "f32", heads: 4 } as const;
  return {
    ...{ batch: 1, length, qHeads: 4, kHeads: 4, heads: 4, dim: 64, keyDim: 64, valueDim: 64 },
    ...{ inputs: { q: rows, k: rows, v: rows, g: rows }, elem: "f32", gate: "token" },
    ...{ featureMap: "identity", featureScale: 0.5, gateForm: "log", erase: "none" },
    ...{ betaForm: "plain", l2norm: false, substeps: 1, softplus: false, stepLimits: [0, 0] },
    ...{ lowerBound: 0, keyCount: 0, normalize: false, divisor: "sum", eps: 1e-10, scale: 1 },
    ...{ initial: false, final: false, valueFirst: false, reverse: false, bounds: [0, length] },
    ...{ mode: "auto", chunkSize: null, copyable: true, schedule: null },
    ...changes,
  };
}

const GATED = "recurrence f32 K64 gate by token";

/** Schedule and chunks of a recurrence. */
function walkOf(on: PlanDevice, changes: Partial<RecurrenceProblem> = {}): [string, number | null] {
  const { schedule, rounds: [{ chunks }] } = planRecurrence(recurrenceOf(changes), on);
  return [recurrenceScheduleName(schedule), chunks && chunks[0].end - chunks[0].first];
}

const SELECTIVE: SelectiveScanProblem = {
  ...{ batch: 1, length: 4096, channels: 256, states: 16, elem: "f32" },
  inputs: { u: "f32", delta: "f32", rates: "f32", writes: "f32", reads: "f32" },
  ...{ softplus: false, initial: false, final: false, reverse: false, bounds: [0, 4096] },
  ...{ mode: "auto", chunkSize: null, copyable: true, schedule: null },
};

const SCAN: ScanProblem = {
  ...{ kind: "hgrn", batch: 1, length: 4096, heads: 1, width: 64, elem: "f32" },
  ...{ weightElem: "f32", initial: false, final: false, reverse: false, bounds: [0, 4096] },
  ...{ mode: "auto", chunkSize: null, gateRows: null },
};

const LOG_LINEAR: LogLinearProblem = {
  ...{ qHeads: 4, kHeads: 4, heads: 4, keyDim: 64, valueDim: 64, levels: 13, scale: 1 },
  inputs: { q: "f32", k: "f32", v: "f32", g: "f32", lambda: "f32" },
  ...{ resumed: false, final: false, inPlace: false, valueFirst: false },
  ...{ bounds: [0, 4096], schedule: null },
};

const FAST: FastProblem = {
  ...{ rule: "ttt", batch: 1, length: 256, qHeads: 2, kHeads: 2, heads: 2, keyDim: 32 },
  ...{ valueDim: 32, inputs: {}, elem: "f32", miniBatch: 16, eps: 1e-6, scale: 1 },
  ...{ initial: false, final: false, valueFirst: false, bounds: [0, 256], schedule: null },
};

Deno.test("planAttention() takes the schedule that the tuning names for its class", () => {
  const schedule = "subgroup-8x2-broadcast-buffer";

  assert(attentionName(llvmpipe()) !== schedule);
  assertEquals(attentionName(llvmpipe({ [FULL_D64]: { schedule } })), schedule);
  assertEquals(
    attentionName(llvmpipe({ [FULL_D64]: { schedule } }), { causal: true }),
    attentionName(llvmpipe(), { causal: true }),
  );
});

Deno.test("planAttention() takes the schedule that the call names over the tuning", () => {
  const on = llvmpipe({ [FULL_D64]: { schedule: "subgroup-8x2-broadcast-buffer" } });

  const named = "subgroup-8x1-shuffle-texture";
  assertEquals(attentionName(on, { schedule: named }), named);
  assertEquals(attentionName(on, { schedule: "naive" }), "naive");
});

Deno.test("planAttention() passes over a schedule that does not fit", () => {
  for (const schedule of ["subgroup-16x2-broadcast-buffer", "subgroup", "fast", "naive"]) {
    const on = llvmpipe({ [FULL_D64]: { schedule } });

    assertEquals(attentionName(on), attentionName(llvmpipe()), schedule);
  }
  // rows that fill no texels are read from buffers
  const on = llvmpipe({ "attention f32 D62 full": { schedule: "subgroup-8x2-shuffle-texture" } });
  assertEquals(attentionName(on, { headDim: 62 }), attentionName(llvmpipe(), { headDim: 62 }));
});

Deno.test("planAttention() knows split schedules without their parts", () => {
  const few = { qLen: 1, heads: 8, kvHeads: 2 };
  const on = llvmpipe({
    "attention f32 D64 few queries of 4 full": { schedule: "split-8x4-buffer" },
  });

  assertEquals(attentionName(llvmpipe(), { ...few, kvLen: 512 }), "split-8x4-4-texture");
  assertEquals(attentionName(on, { ...few, kvLen: 512 }), "split-8x4-4-buffer");
  assertEquals(attentionName(on, { ...few, kvLen: 256 }), "split-8x4-2-buffer");
});

Deno.test("attentionClass() tells kinds apart", () => {
  const classes: Readonly<Record<string, Partial<AttentionPlain>>> = {
    [FULL_D64]: {},
    "attention f16 D64 full": { dtype: "f16" },
    "attention f32 D64 Dv32 full": { valueDim: 32 },
    "attention f32 D64 causal": { causal: true },
    "attention f32 D64 window": { causal: true, window: { left: 4 } },
    "attention f32 D64 few queries of 1 full": { qLen: 1, kvLen: 512 },
    "attention f32 D64 full softcap": { softcap: 30 },
  };
  for (const [name, changes] of Object.entries(classes)) {
    assertEquals(attentionClass(attentionOf(changes)), name);
  }
});

Deno.test("attentionClass(), neighborhoodClass() and the others do not depend on lengths", () => {
  const lengths = [64, 500, 4096, 2 ** 16];
  const bounds = (length: number): { length: number; bounds: number[] } => ({
    ...{ length, bounds: [0, length] },
  });
  const classes: readonly ((length: number) => string)[] = [
    (length) => attentionClass(attentionOf({ qLen: length })),
    (length) => attentionClass(attentionOf({ qLen: length, causal: true, kvLen: 2 * length })),
    (length) => attentionClass(attentionOf({ qLen: length, window: { left: 127, right: 0 } })),
    (length) => attentionClass(attentionOf({ qLen: 1, kvLen: 4 * length })),
    (length) => neighborhoodClass(mapOf(length)),
    (length) => recurrenceClass(recurrenceOf(bounds(length))),
    (length) => selectiveClass({ ...SELECTIVE, ...bounds(length) }),
    (length) => scanClass({ ...SCAN, ...bounds(length) }),
    (length) => logLinearClass({ ...LOG_LINEAR, bounds: [0, length], levels: Math.log2(length) }),
    (length) => fastClass({ ...FAST, ...bounds(length) }),
  ];
  for (const classOf of classes) {
    assertEquals(new Set(lengths.map(classOf)).size, 1, lengths.map(classOf).join(", "));
  }
});

Deno.test("planNeighborhood() takes the tuned schedule with boxes for its own axes", () => {
  const tuned = {
    "neighborhoodAttention f32 D64 window 13x13": { schedule: "subgroup-8x1-broadcast-texture" },
  };

  for (const side of [16, 64]) {
    const plan = planNeighborhood(mapOf(side), llvmpipe(tuned));

    assert(plan.name.startsWith("subgroup-8x1-broadcast-texture-q"), plan.name);
  }
  const named = planNeighborhood(mapOf(64, "subgroup-8x4-shuffle-texture"), llvmpipe(tuned));
  assert(named.name.startsWith("subgroup-8x4-shuffle-texture-q"), named.name);
  const other = planNeighborhood(
    mapOf(64),
    llvmpipe({ "attention f32 D64 full": { schedule: "naive" } }),
  );
  assertEquals(other.name, planNeighborhood(mapOf(64), llvmpipe()).name);
});

Deno.test("planNeighborhood() takes the tuning of attention where windows cover the axes", () => {
  const on = llvmpipe({ [FULL_D64]: { schedule: "subgroup-8x1-shuffle-texture" } });

  assertEquals(planNeighborhood(mapOf(13), on).name, "subgroup-8x1-shuffle-texture");
});

Deno.test("planRecurrence() takes schedule, mode and chunks of the tuning", () => {
  const chunks = { mode: "chunk", chunkSize: 32 } as const;
  const schedule = "blocks-8x1-texture";

  assertEquals(walkOf(llvmpipe()), ["subgroup-8x1-texture", null]);
  assertEquals(walkOf(llvmpipe({ [GATED]: { schedule } })), [schedule, null]);
  assertEquals(walkOf(llvmpipe({ [GATED]: { schedule, ...chunks } })), [schedule, 32]);
});

Deno.test("planRecurrence() takes what the call names over the tuning", () => {
  const chunks = { mode: "chunk", chunkSize: 32 } as const;
  const schedule = "blocks-8x1-texture";
  const on = llvmpipe({ [GATED]: { schedule, ...chunks } });

  assertEquals(walkOf(on, { mode: "loop" }), [schedule, null]);
  assertEquals(walkOf(on, { chunkSize: 16 }), [schedule, 16]);
  assertEquals(walkOf(on, { mode: "chunk", chunkSize: 64 }), [schedule, 64]);
  // chunks were measured with another schedule
  assertEquals(walkOf(on, { schedule: "subgroup" }), ["subgroup-8x1-texture", null]);
});

Deno.test("planRecurrence() passes over chunks that do not fit", () => {
  const schedule = "subgroup-8x1-texture";
  const on = llvmpipe({ [GATED]: { schedule, mode: "chunk", chunkSize: 64 } });
  const unknown = llvmpipe({ [GATED]: { schedule, mode: "chunk", chunkSize: 128 } });

  assertEquals(walkOf(on), [schedule, 64]);
  assertEquals(walkOf(on, { length: 255, bounds: [0, 255] }), [schedule, null]);
  assertEquals(walkOf(unknown), [schedule, null]);
});

Deno.test("planSelectiveScan() takes schedule, mode and chunks of the tuning", () => {
  const schedule = "subgroup-8x1-buffer";
  const on = llvmpipe({ "selectiveScan f32 N16": { schedule, mode: "chunk", chunkSize: 256 } });

  const plan = planSelectiveScan(SELECTIVE, on);

  assertEquals(selectiveScheduleName(plan.schedule), schedule);
  assertEquals(plan.rounds[0].chunks?.length, 16);
  const looped = planSelectiveScan({ ...SELECTIVE, mode: "loop" }, on);
  assertEquals([selectiveScheduleName(looped.schedule), looped.rounds[0].chunks], [schedule, null]);
});

Deno.test("planScan() takes mode and chunks of the tuning", () => {
  const on = llvmpipe({ "scan hgrn f32": { mode: "chunk", chunkSize: 128 } });

  assertEquals(planScan(SCAN, llvmpipe()).chunkSize, null);
  assertEquals(planScan(SCAN, on).chunkSize, 128);
  assertEquals(planScan({ ...SCAN, chunkSize: 16 }, on).chunkSize, 16);
  assertEquals(planScan({ ...SCAN, mode: "loop" }, on).chunkSize, null);
});

Deno.test("chooseLogLinearSchedule() and chooseFastSchedule() take the tuned schedule", () => {
  const on = llvmpipe({
    "logLinearAttention f32 K64": { schedule: "direct-8x4" },
    "fastWeights ttt f32 K32 mini-batches of 16": { schedule: "naive" },
  });

  assertEquals(logLinearScheduleName(chooseLogLinearSchedule(LOG_LINEAR, on)), "direct-8x4");
  const named = { ...LOG_LINEAR, schedule: "subgroup" };
  assertEquals(logLinearScheduleName(chooseLogLinearSchedule(named, on)), "subgroup-8x4");
  assertEquals(chooseFastSchedule(FAST, on).kind, "naive");
  assertEquals(chooseFastSchedule(FAST, llvmpipe()).kind, "tiled");
});

Deno.test("adapterKey() names driver, adapter and lanes", () => {
  const { adapter: own, features } = llvmpipe();

  assertEquals(adapterKey(own, features), LLVMPIPE);
  const browser = { description: "", vendor: "nvidia", architecture: "ampere" };
  assertEquals(
    adapterKey({ ...browser, driver: "nvidia", software: false }, { subgroups: null }),
    "nvidia / nvidia ampere / no subgroups",
  );
});

Deno.test("tunedClasses() knows no names that a tuning does not have", () => {
  const tuning = checkTuning("test", { version: 1, adapters: { [LLVMPIPE]: {} } });

  assertEquals(tunedClasses(tuning, "constructor").size, 0);
  assertEquals(tunedClasses(tuning, LLVMPIPE).get("constructor"), undefined);
});

const REFUSED: Readonly<Record<string, unknown>> = {
  "tuning must be an object: it is null": null,
  "tuning must be an object: it is Array": [],
  "tuning.version must be 1: it is undefined": {},
  "tuning.version must be 1: it is 2": { version: 2, adapters: {} },
  "tuning.adapters must be an object: it is undefined": { version: 1 },
  'tuning.adapters["a"] must be an object: it is Array': { version: 1, adapters: { a: [] } },
  'tuning.adapters["a"]["c"] must be an object: it is naive': {
    ...{ version: 1, adapters: { a: { c: "naive" } } },
  },
  'tuning.adapters["a"]["c"].schedule must be the name of a schedule: it is 3': {
    ...{ version: 1, adapters: { a: { c: { schedule: 3 } } } },
  },
  'tuning.adapters["a"]["c"].mode must be "loop" or "chunk": it is auto': {
    ...{ version: 1, adapters: { a: { c: { mode: "auto" } } } },
  },
  'tuning.adapters["a"]["c"].chunkSize must be an integer > 0: it is 0.5': {
    ...{ version: 1, adapters: { a: { c: { chunkSize: 0.5 } } } },
  },
};

for (const [message, tuning] of Object.entries(REFUSED)) {
  Deno.test(`checkTuning() refuses what says: ${message}`, () => {
    const error = assertThrows(() => checkTuning("request a GPU device", tuning), TypeError);

    assertEquals(error.message, `Cannot request a GPU device as ${message}`);
  });
}

Deno.test("checkTuning() refuses names that it does not know", () => {
  const error = assertThrows(
    () => checkTuning("read it", { version: 1, adapters: { a: { c: { schedul: "naive" } } } }),
    TypeError,
  );

  assertEquals(
    error.message,
    'Cannot read it with tuning.adapters["a"]["c"] as options must be known: "schedul" is not, the nearest is "schedule"',
  );
});

Deno.test("requestGpu() refuses a tuning before it asks for an adapter", async () => {
  const tuning = { version: 1, adapters: { a: null } } as unknown as never;

  await assertRejects(() => requestGpu({ tuning }), TypeError, 'tuning.adapters["a"]');
});

Deno.test({
  name: "requestGpu() takes the choices of its own adapter",
  ignore,
  async fn() {
    using plain = await requestGpu();
    const key = adapterKey(plain.adapter, plain.features);
    const choice = { schedule: "workgroup-16x16-4x4-16" };
    const adapters = { [key]: { "attention f32 D8 full": choice }, other: { x: choice } };
    using gpu = await requestGpu({ tuning: { version: 1, adapters } });

    assertEquals(plain.tuned.size, 0);
    assertEquals([...gpu.tuned], [["attention f32 D8 full", choice]]);
    const problem = attentionOf({ headDim: 8 });
    assertEquals(scheduleName(planAttention(problem, gpu).schedule), choice.schedule);
    assert(scheduleName(planAttention(problem, plain).schedule) !== choice.schedule);
    const q = gpu.tensor(new Float32Array(8).fill(1), [1, 1, 1, 8]);
    const { out }: AttentionResult<"f32"> = attention(q, q, q);
    assertEquals([...await out.read()], Array(8).fill(1));
  },
});
