import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { BufferRange, Launch } from "../../gpu/recorder.ts";
import { workgroupBytes, workgroupThreads } from "../../kernels/attention/workgroup.ts";
import { splitBytes } from "../../kernels/attention/split.ts";
import { attentionPrograms, launchAttention } from "../../ops/attention/launch.ts";
import { type AttentionPlan, planAttention } from "../../ops/attention/plan.ts";
import type { Slice } from "../../ops/attention/tokens.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import {
  type AttentionSchedule,
  attentionSchedules,
  type PlanDevice,
  scheduleName,
} from "../../ops/attention/schedule.ts";
import { dryRunOf, dryTensor } from "./dry_run.ts";
import { planDevice } from "./plan_device.ts";

/** What bindings hold, and what is kept of them for alignment. */
const BINDINGS = { maxStorageBufferBindingSize: 2 ** 27, minStorageBufferOffsetAlignment: 32 };
const NVIDIA = planDevice("nvidia", BINDINGS);
const LLVMPIPE = planDevice("llvmpipe", { ...BINDINGS, maxLoopIterations: 65_535 });

/** Full attention, B1 T1024 S1024 H8 D64 f32, with changes. */
function problem(changes: Partial<AttentionProblem> = {}): AttentionProblem {
  return {
    batch: 1,
    qLen: 1024,
    kvLen: 1024,
    heads: 8,
    kvHeads: 8,
    headDim: 64,
    valueDim: 64,
    elem: "f32",
    scale: 1,
    band: null,
    keys: { kind: "row" },
    additional: null,
    softcap: null,
    bias: null,
    sinks: null,
    gates: null,
    weight: WEIGHTS.softmax,
    hooks: NO_HOOKS,
    lse: false,
    copyable: true,
    schedule: null,
    ...changes,
  };
}

function names(changes: Partial<AttentionProblem>, on: PlanDevice, kind = ""): string[] {
  return attentionSchedules(problem(changes), on).map(scheduleName)
    .filter((name) => name.startsWith(kind));
}

const ranges = (slices: readonly Slice[], axis: keyof Slice) => slices.map((slice) => slice[axis]);
const partKeys = (plan: AttentionPlan): number => plan.tokens.params(plan.rounds[0].rows).partKeys;
const allLaunches = (plan: AttentionPlan): Slice[] =>
  plan.rounds.flatMap(({ launches }) => [...launches]);

Deno.test("attentionSchedules() puts workgroup first on hardware", () => {
  assertEquals(names({}, NVIDIA)[0], "workgroup-64x64-8x8-16");
  assertEquals(names({ headDim: 8, valueDim: 8 }, NVIDIA)[0], "workgroup-64x64-8x8-16");
});

Deno.test("attentionSchedules() puts subgroup by texture first on llvmpipe", () => {
  assertEquals(names({}, LLVMPIPE)[0], "subgroup-8x2-shuffle-texture");
  assertEquals(
    names({}, planDevice("llvmpipe", { lanes: 16 }))[0],
    "subgroup-16x2-broadcast-texture",
  );
});

Deno.test("attentionSchedules() reads buffers where rows do not fill texels", () => {
  assertEquals(names({ headDim: 62 }, LLVMPIPE)[0], "subgroup-8x2-shuffle-buffer");
  assertEquals(names({ valueDim: 63 }, LLVMPIPE)[0], "subgroup-8x2-shuffle-buffer");
  assertEquals(names({ headDim: 62 }, LLVMPIPE).filter((name) => name.includes("texture")), []);
});

Deno.test("attentionSchedules() reads buffers that may not be copied, or exceed a texture", () => {
  assertEquals(names({ copyable: false }, LLVMPIPE)[0], "subgroup-8x2-shuffle-buffer");
  // 1024 · 8 rows of 16 texels fill 32 rows of 4096 texels, rounded up to a multiple of 3
  const fits = planDevice("llvmpipe", { maxTextureDimension2D: 34 });
  const exceeds = planDevice("llvmpipe", { maxTextureDimension2D: 33 });
  assertEquals(names({}, fits)[0], "subgroup-8x2-shuffle-texture");
  assertEquals(names({}, exceeds)[0], "subgroup-8x2-shuffle-buffer");
});

Deno.test("attentionSchedules() has no subgroup schedule without subgroups", () => {
  assertEquals(names({}, planDevice("llvmpipe", { lanes: null }), "subgroup"), []);
  assertEquals(names({}, planDevice("llvmpipe", { lanes: null }))[0], "workgroup-32x32-4x4-32");
  assertEquals(names({ kvHeads: 2 }, planDevice("swiftshader", { lanes: null }), "split"), [
    "split-8x4-4-buffer",
    "split-8x2-4-buffer",
    "split-8x1-4-buffer",
    "split-8x4-4-texture",
    "split-8x2-4-texture",
    "split-8x1-4-texture",
  ]);
});

Deno.test("attentionSchedules() fits the rows of a lane to subgroups of 4 to 64 lanes", () => {
  const first = (lanes: number): string => names({}, planDevice("other", { lanes }), "subgroup")[0];

  assertEquals(first(4), "subgroup-4x2-broadcast-buffer");
  assertEquals(first(8), "subgroup-8x2-broadcast-buffer");
  assertEquals(first(16), "subgroup-16x2-broadcast-buffer");
  assertEquals(first(32), "subgroup-32x1-broadcast-buffer");
  assertEquals(first(64), "subgroup-64x1-broadcast-buffer");
});

Deno.test("attentionSchedules() gives a lane one row of the largest head dim", () => {
  const large = { headDim: 256, valueDim: 256 };

  assertEquals(names(large, planDevice("other", { lanes: 64 }), "subgroup"), [
    "subgroup-64x1-broadcast-buffer",
    "subgroup-64x1-shuffle-buffer",
    "subgroup-64x1-broadcast-texture",
    "subgroup-64x1-shuffle-texture",
  ]);
});

Deno.test("attentionSchedules() shrinks the tile to fit little workgroup memory", () => {
  const first = (bytes: number): string | undefined => {
    const on = planDevice("nvidia", { lanes: null, maxComputeWorkgroupStorageSize: bytes });
    return names({}, on, "workgroup")[0];
  };

  assertEquals(first(32768), "workgroup-64x64-8x8-16");
  assertEquals(first(26624), "workgroup-64x64-8x8-16");
  assertEquals(first(26623), "workgroup-32x32-4x4-32");
  assertEquals(first(16384), "workgroup-32x32-4x4-32");
  assertEquals(first(4096), "workgroup-16x16-4x4-16");
  assertEquals(first(3328), "workgroup-16x16-4x4-16");
  assertEquals(first(3327), undefined);
});

Deno.test("attentionSchedules() shrinks the tile to fit few invocations", () => {
  const first = (threads: number): string | undefined => {
    const on = planDevice("nvidia", { lanes: null, maxComputeInvocationsPerWorkgroup: threads });
    return names({}, on, "workgroup")[0];
  };

  assertEquals(first(64), "workgroup-64x64-8x8-16");
  assertEquals(first(63), "workgroup-16x32-4x4-16");
  assertEquals(first(16), "workgroup-16x16-4x4-16");
  assertEquals(first(15), undefined);
});

Deno.test("attentionSchedules() always ends with the naive schedule", () => {
  const bare = planDevice("other", {
    lanes: null,
    maxComputeWorkgroupStorageSize: 16,
    maxComputeInvocationsPerWorkgroup: 64,
  });

  assertEquals(names({}, bare), ["naive"]);
  assertEquals(names({}, LLVMPIPE).at(-1), "naive");
});

Deno.test("attentionSchedules() puts split first where there are few queries and many keys", () => {
  const decode = { qLen: 1, kvLen: 4096 };

  assertEquals(names(decode, NVIDIA)[0], "split-64x1-32-buffer");
  assertEquals(names(decode, LLVMPIPE)[0], "split-8x1-1-texture");
  assertEquals(names({ ...decode, kvHeads: 1 }, NVIDIA)[0], "split-64x4-32-buffer");
  assertEquals(names({ qLen: 8, kvLen: 256 }, NVIDIA)[0], "split-64x1-2-buffer");
  assertEquals(names({ qLen: 9, kvLen: 256 }, NVIDIA)[0], "workgroup-64x64-8x8-16");
  assertEquals(names({ qLen: 8, kvLen: 255 }, NVIDIA)[0], "workgroup-64x64-8x8-16");
});

Deno.test("attentionSchedules() gives split no fewer invocations than columns of a sum", () => {
  const decode = { qLen: 1, kvLen: 4096 };

  assertEquals(names(decode, planDevice("swiftshader", { lanes: 4 }))[0], "split-8x1-1-buffer");
  assertEquals(names(decode, planDevice("llvmpipe", { lanes: 16 }))[0], "split-16x1-1-texture");
});

Deno.test("planAttention() takes a schedule by kind, by name and by value", () => {
  const kindOf = (schedule: string | AttentionSchedule): string =>
    scheduleName(planAttention(problem({ schedule }), NVIDIA).schedule);
  const tile: AttentionSchedule = {
    kind: "workgroup",
    blockQ: 32,
    blockKv: 32,
    rows: 4,
    cols: 4,
    depth: 32,
  };

  assertEquals(kindOf("subgroup"), "subgroup-32x1-broadcast-buffer");
  assertEquals(kindOf("workgroup-16x16-4x4-16"), "workgroup-16x16-4x4-16");
  assertEquals(kindOf(tile), "workgroup-32x32-4x4-32");
  assertEquals(kindOf({ kind: "naive" }), "naive");
});

Deno.test("planAttention() throws when a schedule does not fit, and lists those that do", () => {
  const bare = planDevice("other", { lanes: null, maxComputeWorkgroupStorageSize: 4096 });
  const refuse = (schedule: string): string =>
    assertThrows(() => planAttention(problem({ schedule, copyable: false }), bare), RangeError)
      .message;

  assertEquals(
    refuse("workgroup-64x64-8x8-16"),
    'Cannot plan attention as schedule must fit the problem and the device: "workgroup-64x64-8x8-16" is not among workgroup-16x16-4x4-16, naive',
  );
  assertEquals(
    refuse("subgroup"),
    'Cannot plan attention as schedule must fit the problem and the device: "subgroup" is not among workgroup-16x16-4x4-16, naive',
  );
});

Deno.test("planAttention() runs a common problem as one launch", () => {
  const plan = planAttention(problem(), NVIDIA);
  const whole: Slice = { batch: [0, 1], queries: [0, 1024], kvHeads: [0, 8], parts: [0, 1] };

  assertEquals(plan.rounds, [{ rows: whole, launches: [whole] }]);
  assertEquals([plan.tokens.parts, partKeys(plan)], [1, 1024]);
  assertEquals(plan.tokens.queryTiles([0, 1024]), 16);
  assertEquals(plan.config, {
    elem: "f32",
    outElem: "f32",
    headDim: 64,
    valueDim: 64,
    pattern: { kind: "band", banded: false, descending: false, hooked: false },
    softcap: false,
    bias: null,
    sinks: null,
    gates: null,
    weight: WEIGHTS.softmax,
    hooks: NO_HOOKS,
    lse: false,
    source: "buffer",
  });
});

Deno.test("planAttention() tells the kernel what the problem has", () => {
  const { config } = planAttention(
    problem({
      elem: "f16",
      band: { lo: 0, hi: 0 },
      softcap: 30,
      bias: { elem: "f32", strides: [0, 0, 0, 1] },
      sinks: { elem: "f16", strides: [1] },
      lse: true,
    }),
    LLVMPIPE,
  );

  assertEquals(config, {
    elem: "f16",
    outElem: "f16",
    headDim: 64,
    valueDim: 64,
    pattern: { kind: "band", banded: true, descending: false, hooked: false },
    softcap: true,
    bias: "f32",
    sinks: "f16",
    gates: null,
    weight: WEIGHTS.softmax,
    hooks: NO_HOOKS,
    lse: true,
    source: "texture",
  });
});

Deno.test("planAttention() has nothing to run without queries", () => {
  assertEquals(planAttention(problem({ qLen: 0 }), NVIDIA).rounds, []);
  assertEquals(planAttention(problem({ batch: 0 }), NVIDIA).rounds, []);
});

Deno.test("planAttention() runs queries without keys", () => {
  const plan = planAttention(problem({ kvLen: 0 }), NVIDIA);

  assertEquals([plan.tokens.parts, allLaunches(plan).length], [1, 1]);
});

Deno.test("planAttention() cuts rounds by batch where a binding holds few entries", () => {
  // an entry of q takes 2 MiB, and 8 KiB are kept for alignment
  const small = planDevice("nvidia", { ...BINDINGS, maxStorageBufferBindingSize: 5 * 2 ** 20 });
  const { rounds } = planAttention(problem({ batch: 4 }), small);

  assertEquals(ranges(rounds.map(({ rows }) => rows), "batch"), [[0, 2], [2, 4]]);
  assertEquals(rounds.map(({ launches }) => launches.length), [1, 1]);
});

Deno.test("planAttention() cuts rounds by queries where a binding holds less than an entry", () => {
  const small = planDevice("nvidia", { ...BINDINGS, maxStorageBufferBindingSize: 2 ** 20 });
  const plan = planAttention(problem({ kvLen: 256 }), small);
  const rows = plan.rounds.map(({ rows }) => rows);

  assertEquals(ranges(rows, "queries"), [[0, 256], [256, 512], [512, 768], [768, 1024]]);
  assertEquals(plan.tokens.parts, 1);
});

Deno.test("planAttention() divides keys that exceed a binding, and merges", () => {
  // a key takes 2 KiB over the 8 heads
  const plan = planAttention(problem({ kvLen: 2 ** 17, qLen: 64 }), NVIDIA);

  assertEquals([plan.tokens.parts, partKeys(plan)], [3, 65532]);
  assertEquals([plan.config.lse, plan.config.outElem], [true, "f32"]);
  assertEquals(ranges(allLaunches(plan), "parts"), [[0, 1], [1, 2], [2, 3]]);
  assertEquals(plan.rounds.length, 1);
});

Deno.test("planAttention() keeps partial results in f32 for f16 tensors", () => {
  const { config } = planAttention(problem({ kvLen: 2 ** 18, qLen: 64, elem: "f16" }), NVIDIA);

  assertEquals([config.elem, config.outElem], ["f16", "f32"]);
});

Deno.test("planAttention() cuts queries, heads and batch to the workgroups of a dispatch", () => {
  const few = planDevice("nvidia", { maxComputeWorkgroupsPerDimension: 4 });
  const cut = (changes: Partial<AttentionProblem>, axis: keyof Slice) =>
    ranges(allLaunches(planAttention(problem({ qLen: 64, ...changes }), few)), axis);

  assertEquals(cut({ qLen: 1024, heads: 1, kvHeads: 1 }, "queries"), [
    [0, 256],
    [256, 512],
    [512, 768],
    [768, 1024],
  ]);
  assertEquals(cut({}, "kvHeads"), [[0, 4], [4, 8]]);
  assertEquals(cut({ kvHeads: 2 }, "kvHeads"), [[0, 1], [1, 2]]);
  assertEquals(cut({ batch: 8, heads: 1, kvHeads: 1 }, "batch"), [[0, 4], [4, 8]]);
});

Deno.test("planAttention() cuts long work into dispatches of 2^34 multiply-adds", () => {
  const long = problem({ qLen: 2 ** 16, kvLen: 2 ** 15, kvHeads: 2, valueDim: 64 });
  const launches = allLaunches(planAttention(long, NVIDIA));

  // 2^31 pairs of query and key · 8 heads · 128 channels = 128 dispatches
  assertEquals(launches.length, 128);
});

Deno.test("planAttention() divides keys so that no invocation loops too often", () => {
  // ten iterations for 8 keys by shuffle; a tenth is kept for the rest of the kernel
  const plan = planAttention(
    problem({ kvLen: 2 ** 20, kvHeads: 1, heads: 1, headDim: 4, valueDim: 4 }),
    LLVMPIPE,
  );

  assertEquals(plan.schedule.kind, "subgroup");
  assertEquals([plan.tokens.parts, partKeys(plan)], [23, 47185]);
});

Deno.test("planAttention() divides keys for the workgroup schedule by head dim", () => {
  const kvLen = 65536;
  const parts = (dim: number): number =>
    planAttention(
      problem({ kvLen, heads: 1, kvHeads: 1, headDim: dim, valueDim: dim, schedule: "workgroup" }),
      LLVMPIPE,
    ).tokens.parts;

  assertEquals(parts(4), 2);
  assertEquals(parts(64), 5);
});

Deno.test("planAttention() throws when the naive schedule cannot run in one piece", () => {
  const naive = (changes: Partial<AttentionProblem>, on: PlanDevice) => () =>
    planAttention(problem({ schedule: "naive", ...changes }), on);
  const rule = "Cannot plan attention as the naive schedule must run in one piece: it needs";

  assertThrows(
    naive({ qLen: 8192, kvLen: 8192 }, NVIDIA),
    RangeError,
    `${rule} 4 pieces and 2147483648 bytes of scores, the device allows 134217728`,
  );
  // more than 65,535 iterations over the keys
  assertThrows(
    naive({ qLen: 1, kvLen: 32768 }, LLVMPIPE),
    RangeError,
    `${rule} 2 pieces and 1048576 bytes of scores, the device allows 134217728`,
  );
  // batch and heads share an axis of the grid
  assertThrows(
    naive({ batch: 65535, heads: 2, kvHeads: 2, qLen: 1, kvLen: 1, headDim: 4 }, NVIDIA),
    RangeError,
    `${rule} 2 pieces and 524280 bytes of scores, the device allows 134217728`,
  );
});

Deno.test("attentionPrograms() has the same text for every length that is copied whole", () => {
  const texts = (changes: Partial<AttentionProblem>, schedule: string, on: PlanDevice) => {
    const changed = problem({ headDim: 16, valueDim: 16, schedule, ...changes });
    return attentionPrograms(changed, planAttention(changed, on)).map(({ code }) => code);
  };
  const lengths = [
    { qLen: 64, kvLen: 300 },
    { qLen: 1000, kvLen: 777, batch: 3, heads: 6, kvHeads: 6 },
    { qLen: 16, kvLen: 5000, scale: 0.5 },
  ];
  for (const on of [NVIDIA, LLVMPIPE]) {
    for (const schedule of ["subgroup", "workgroup", "split"]) {
      const [first, ...others] = lengths.map((changes) => texts(changes, schedule, on)[0]);
      assertEquals(others, [first, first], schedule);
    }
  }
  const bands = [{ lo: 0, hi: 0 }, { lo: -7, hi: 9 }].map((band) =>
    texts({ band, softcap: 2 }, "subgroup", NVIDIA)
  );
  assertEquals(bands[0], bands[1]);
});

Deno.test("attentionPrograms() adds a merge where the keys are divided", () => {
  const labels = (changes: Partial<AttentionProblem>) => {
    const changed = problem(changes);
    return attentionPrograms(changed, planAttention(changed, NVIDIA)).map(({ label }) => label);
  };

  assertEquals(labels({}), ["attention (workgroup)"]);
  assertEquals(labels({ qLen: 1 }), ["attention (split)", "attention (merge)"]);
  assertEquals(labels({ schedule: "naive" }), [
    "attention (naive scores)",
    "attention (naive softmax)",
    "attention (naive values)",
  ]);
});

Deno.test("attentionSchedules() keeps the limits of every device", () => {
  const devices = [
    NVIDIA,
    LLVMPIPE,
    planDevice("llvmpipe", { lanes: 16 }),
    planDevice("swiftshader", { lanes: 4, maxComputeInvocationsPerWorkgroup: 256 }),
    planDevice("apple", { lanes: 32, maxComputeWorkgroupStorageSize: 16384 }),
    planDevice("amd", { lanes: 64, maxComputeInvocationsPerWorkgroup: 256 }),
    planDevice("intel", { lanes: null, maxComputeWorkgroupStorageSize: 8192 }),
    planDevice("other", { lanes: null, maxComputeInvocationsPerWorkgroup: 128 }),
  ];
  for (const on of devices) {
    const { limits: { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } } = on;
    for (const dim of [1, 40, 64, 96, 256]) {
      const schedules = attentionSchedules(problem({ headDim: dim, valueDim: dim }), on);
      assertEquals(new Set(schedules.map(scheduleName)).size, schedules.length, "names differ");
      for (const schedule of schedules) {
        const { threads, bytes } = needs(schedule, dim);
        assert(threads <= maxComputeInvocationsPerWorkgroup, scheduleName(schedule));
        assert(bytes <= maxComputeWorkgroupStorageSize, scheduleName(schedule));
      }
    }
  }
});

function needs(schedule: AttentionSchedule, valueDim: number): { threads: number; bytes: number } {
  switch (schedule.kind) {
    case "subgroup":
      return { threads: schedule.lanes, bytes: 0 };
    case "workgroup":
      return { threads: workgroupThreads(schedule), bytes: workgroupBytes(schedule, valueDim) };
    case "split":
      return { threads: schedule.threads, bytes: splitBytes(schedule) };
    case "naive":
      return { threads: 64, bytes: 0 };
  }
}

/** Numbers from 0 to 1 that are the same in every run (xorshift). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

interface Case {
  problem: AttentionProblem;
  device: PlanDevice;
}

/** Small problems on devices with limits so small that everything is cut. */
function randomCase(next: () => number): Case {
  const pick = <T>(...values: T[]): T => values[Math.floor(next() * values.length)];
  const upTo = (most: number): number => 1 + Math.floor(next() * most);
  const [qLen, kvLen, kvHeads, group] = [upTo(90), upTo(200), upTo(3), pick(1, 2)];
  const [batch, heads] = [upTo(4), kvHeads * group];
  const [b, h, t] = [pick(1, batch), pick(1, heads), pick(1, qLen)];
  const strides = [h * t * kvLen, t * kvLen, kvLen, 1].map((stride, axis) =>
    [b, h, t, 2][axis] === 1 ? 0 : stride
  );
  const changes: Partial<AttentionProblem> = {
    batch,
    qLen,
    kvLen,
    heads,
    kvHeads,
    headDim: pick(1, 4, 7, 8, 16),
    valueDim: pick(1, 4, 6, 8, 16),
    elem: pick("f32", "f16"),
    bias: pick(null, null, { elem: pick("f32", "f16"), strides }),
    lse: pick(true, false),
    copyable: pick(true, false),
    schedule: pick(null, "workgroup", "subgroup", "split"),
  };
  const alignment = pick(32, 256);
  const limits = {
    // room for the rows that alignment may add: as many as its bytes
    maxStorageBufferBindingSize: alignment * 16 * 4 + pick(4096, 16384, 65536),
    maxComputeWorkgroupsPerDimension: pick(8, 20, 65535),
    minStorageBufferOffsetAlignment: alignment,
    maxLoopIterations: pick(400, 5000, Infinity),
  };
  return {
    problem: problem(changes),
    device: planDevice(pick("llvmpipe", "nvidia"), { lanes: 8, ...limits }),
  };
}

Deno.test("planAttention() covers every query, head and part exactly once", () => {
  const next = random(1);
  for (let round = 0; round < 300; round++) {
    const { problem, device } = randomCase(next);
    const plan = planAttention(problem, device);
    const { batch, qLen, kvHeads } = problem;
    const seen = new Uint8Array(batch * qLen * kvHeads * plan.tokens.parts);
    for (const { batch, queries, kvHeads: heads, parts } of allLaunches(plan)) {
      for (let b = batch[0]; b < batch[1]; b++) {
        for (let t = queries[0]; t < queries[1]; t++) {
          for (let h = heads[0]; h < heads[1]; h++) {
            for (let p = parts[0]; p < parts[1]; p++) {
              seen[((b * qLen + t) * kvHeads + h) * plan.tokens.parts + p]++;
            }
          }
        }
      }
    }
    assert(seen.every((count) => count === 1), JSON.stringify(problem));
    assert(plan.tokens.parts * partKeys(plan) >= problem.kvLen, JSON.stringify(problem));
    assert((plan.tokens.parts - 1) * partKeys(plan) < problem.kvLen, JSON.stringify(problem));
  }
});

/** What planned work asks of the device: its dispatches, and the scratch that they need. */
function dryRun(given: Case, plan: AttentionPlan): { launches: Launch[]; scratch: number[] } {
  const { batch, qLen, kvLen, heads, kvHeads, headDim, valueDim, elem, bias } = given.problem;
  const { operation, launches, scratch } = dryRunOf();
  const rows = batch * qLen * heads;
  const biasSize = bias
    ? 1 +
      bias.strides.reduce(
        (last, stride, axis) => last + stride * ([batch, heads, qLen, kvLen][axis] - 1),
        0,
      )
    : 0;
  launchAttention(operation, {
    problem: given.problem,
    plan,
    tensors: {
      q: dryTensor(elem, rows, headDim),
      k: dryTensor(elem, batch * kvLen * kvHeads, headDim),
      v: dryTensor(elem, batch * kvLen * kvHeads, valueDim),
      additional: null,
      bias: bias ? dryTensor(bias.elem, biasSize, 1) : null,
      sinks: null,
      gates: null,
      out: dryTensor(elem, rows, valueDim),
      lse: given.problem.lse ? dryTensor("f32", rows, 1) : null,
      keys: {},
      hooks: { tensors: [], numbers: [] },
    },
    alignment: given.device.limits.minStorageBufferOffsetAlignment,
  });
  return { launches, scratch };
}

Deno.test("planAttention() keeps every dispatch and binding within the limits", () => {
  const next = random(2);
  let cut = 0;
  for (let round = 0; round < 120; round++) {
    const given = randomCase(next);
    const { limits } = given.device;
    const plan = planAttention(given.problem, given.device);
    const { launches, scratch } = dryRun(given, plan);
    const where = `${scheduleName(plan.schedule)} ${JSON.stringify(given)}`;
    cut += Number(launches.length > 2);
    for (const { grid, resources } of launches) {
      assert(Math.max(...grid) <= limits.maxComputeWorkgroupsPerDimension, `${grid} of ${where}`);
      for (const [name, resource] of Object.entries(resources)) {
        if (!("buffer" in resource)) continue;
        const { buffer, offset = 0, size = buffer.size }: BufferRange = resource;
        assertEquals(offset % limits.minStorageBufferOffsetAlignment, 0, `${name} of ${where}`);
        assertEquals(size % 4, 0, `${name} of ${where}`);
        assert(offset + size <= buffer.size, `${name} of ${where}`);
        const most = limits.maxStorageBufferBindingSize;
        assert(size <= most, `${name} of ${size} > ${most} bytes in ${where}`);
      }
    }
    assert(scratch.every((bytes) => bytes <= limits.maxStorageBufferBindingSize), where);
  }
  assert(cut > 40, `${cut} of 120 cases were cut`);
});

Deno.test("planAttention() binds the rows that a dispatch reads and writes", () => {
  const next = random(3);
  for (let round = 0; round < 120; round++) {
    const given = randomCase(next);
    const { qLen, kvLen, heads, kvHeads, headDim, valueDim, elem, bias } = given.problem;
    const plan = planAttention(given.problem, given.device);
    const slices = allLaunches(plan);
    const tiled = dryRun(given, plan).launches.filter(({ program }) =>
      program.label !== "attention (merge)"
    );
    const bytes = elem === "f16" ? 2 : 4;
    assertEquals(tiled.length, slices.length);
    tiled.forEach(({ resources, params }, at) => {
      const { batch, queries, parts, kvHeads: own } = slices[at];
      const check = (name: string, first: number, end: number, rowBytes: number): void => {
        const resource = resources[name];
        if (!("buffer" in resource) || resource.size === undefined) return;
        const bound = params[`${name}First`];
        const where = `${name} [${first}, ${end}) from ${bound} in ${JSON.stringify(given)}`;
        assertEquals(resource.offset, bound * rowBytes, where);
        assert(bound <= first && (end - bound) * rowBytes <= resource.size, where);
      };
      const keys = parts.map((part) => Math.min(part * partKeys(plan), kvLen));
      const kv = [
        (batch[0] * kvLen + keys[0]) * kvHeads,
        ((batch[1] - 1) * kvLen + keys[1]) * kvHeads,
      ];
      const q = [
        (batch[0] * qLen + queries[0]) * heads,
        ((batch[1] - 1) * qLen + queries[1]) * heads,
      ];
      check("q", q[0], q[1], headDim * bytes);
      check("k", kv[0], kv[1], headDim * bytes);
      check("v", kv[0], kv[1], valueDim * bytes);
      check("out", q[0], q[1], valueDim * bytes);
      if (plan.tokens.parts === 1 && given.problem.lse) check("lse", q[0], q[1], 4);
      if (bias === null) return;
      const group = heads / kvHeads;
      const index = (b: number, h: number, t: number, j: number): number =>
        b * bias.strides[0] + h * bias.strides[1] + t * bias.strides[2] + j;
      check(
        "bias",
        index(batch[0], own[0] * group, queries[0], keys[0]),
        1 + index(batch[1] - 1, own[1] * group - 1, queries[1] - 1, keys[1] - 1),
        bias.elem === "f16" ? 2 : 4,
      );
    });
  }
});
