import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import type { BufferRange, Launch } from "../../gpu/recorder.ts";
import type { FeatureMap } from "../../kernels/recurrence/features.ts";
import { type InputName, INPUTS, inputWidth } from "../../kernels/recurrence/inputs.ts";
import type { PlanDevice } from "../../ops/attention/schedule.ts";
import { launchRecurrence } from "../../ops/recurrence/launch.ts";
import type { RecurrenceTensors } from "../../ops/recurrence/pass.ts";
import { planRecurrence, type RecurrencePlan } from "../../ops/recurrence/plan.ts";
import type { RecurrenceProblem } from "../../ops/recurrence/problem.ts";
import { recurrenceScheduleName, recurrenceSchedules } from "../../ops/recurrence/schedule.ts";
import type { Segment } from "../../ops/segments.ts";
import { dryBuffer, dryRunOf, dryTensor } from "./dry_run.ts";
import { planDevice } from "./plan_device.ts";

const NVIDIA = planDevice("nvidia");
/** The same, with the smallest binding that WebGPU promises. */
const NVIDIA_128 = planDevice("nvidia", {
  maxStorageBufferBindingSize: 2 ** 27,
  minStorageBufferOffsetAlignment: 32,
});
const LLVMPIPE = planDevice("llvmpipe");
/** A processor with AVX-512. */
const SIXTEEN = planDevice("llvmpipe", { lanes: 16 });

/** The input of gates of a shape. */
const GATES: Readonly<Record<string, InputName>> = { head: "headGate", token: "g", channel: "gk" };

/** A recurrence of B1 T100 HQ2 HK2 HV2 K16 V16 f32, with changes. */
function problem(changes: Partial<RecurrenceProblem> = {}): RecurrenceProblem {
  const { batch = 1, length = 100, gate = "none", elem = "f32" } = changes;
  const { qHeads = 2, kHeads = 2, heads = 2 } = changes;
  return {
    batch,
    length,
    qHeads,
    kHeads,
    heads,
    inputs: {
      q: { elem, heads: qHeads },
      k: { elem, heads: kHeads },
      v: { elem, heads },
      ...(gate in GATES && { [GATES[gate]]: { elem: "f32", heads } }),
    },
    dim: changes.keyDim ?? 16,
    keyDim: 16,
    valueDim: 16,
    elem,
    gate,
    featureMap: "identity",
    featureScale: 0.5,
    gateForm: "log",
    erase: "none",
    betaForm: "plain",
    l2norm: false,
    substeps: 1,
    softplus: false,
    stepLimits: [0, 0],
    lowerBound: 0,
    keyCount: 0,
    normalize: false,
    divisor: "sum",
    eps: 0,
    scale: 1,
    initial: false,
    final: false,
    valueFirst: false,
    reverse: false,
    bounds: Array.from({ length: batch + 1 }, (_, b) => b * length),
    mode: "auto",
    chunkSize: 64,
    copyable: true,
    schedule: null,
    ...changes,
  };
}

/** Segments as [first, end, state]. */
const rows = (segments: readonly Segment[] | null) =>
  segments?.map(({ first, end, state }) => [first, end, state]) ?? null;

const piecesOf = (plan: RecurrencePlan) => plan.rounds.map(({ pieces }) => rows(pieces));

/** The tokens of a segment in the order in which the recurrence meets them. */
function tokensOf({ first, end }: Segment, reverse: boolean): number[] {
  return Array.from({ length: end - first }, (_, i) => reverse ? end - 1 - i : first + i);
}

Deno.test("planRecurrence() walks whole sequences in one round where nothing ends a loop", () => {
  assertEquals(planRecurrence(problem({ batch: 2 }), LLVMPIPE).rounds, [{
    pieces: [{ first: 0, end: 100, state: 0 }, { first: 100, end: 200, state: 1 }],
    chunks: null,
    chunkRanges: [],
  }]);
});

Deno.test("planRecurrence() cuts sequences for short loops, each in pieces of its own", () => {
  // 0.9 · 101 iterations less 10 for states of 16 rows, 10 for 8 tokens: 64.7
  const on = planDevice("llvmpipe", { maxLoopIterations: 101 });
  const packed = { length: 150, bounds: [0, 70, 70, 71, 71, 150, 150] };

  assertEquals(piecesOf(planRecurrence(problem(packed), on)), [
    [[0, 64, 0], [70, 70, 1], [70, 71, 2], [71, 71, 3], [71, 135, 4], [150, 150, 5]],
    [[64, 70, 0], [135, 150, 4]],
  ]);
  assertEquals(piecesOf(planRecurrence(problem({ ...packed, reverse: true }), on)), [
    [[6, 70, 0], [70, 70, 1], [70, 71, 2], [71, 71, 3], [86, 150, 4], [150, 150, 5]],
    [[0, 6, 0], [71, 86, 4]],
  ]);
});

Deno.test("planRecurrence() cuts sequences into chunks in the order of the recurrence", () => {
  const packed: Partial<RecurrenceProblem> = {
    ...{ length: 60, bounds: [0, 40, 40, 41, 60], mode: "chunk", chunkSize: 16 },
  };

  const [{ pieces, chunks, chunkRanges }, ...others] =
    planRecurrence(problem(packed), LLVMPIPE).rounds;

  assertEquals(others, []);
  assertEquals(rows(pieces), [[0, 40, 0], [40, 40, 1], [40, 41, 2], [41, 60, 3]]);
  assertEquals(rows(chunks), [
    [0, 16, 0],
    [16, 32, 1],
    [32, 40, 2],
    [40, 41, 3],
    [41, 57, 4],
    [57, 60, 5],
  ]);
  assertEquals(rows(chunkRanges), [[0, 3, 0], [3, 3, 1], [3, 4, 2], [4, 6, 3]]);
  const [reversed] = planRecurrence(problem({ ...packed, reverse: true }), LLVMPIPE).rounds;
  assertEquals(rows(reversed.chunks), [
    [24, 40, 0],
    [8, 24, 1],
    [0, 8, 2],
    [40, 41, 3],
    [44, 60, 4],
    [41, 44, 5],
  ]);
  assertEquals(rows(reversed.chunkRanges), [[0, 3, 0], [3, 3, 1], [3, 4, 2], [4, 6, 3]]);
});

Deno.test("planRecurrence() carries chunks over rounds where their states exceed a binding", () => {
  // 10 states of 2 heads, 2 sequences: 5 - 1 chunks at a time
  const on = planDevice("llvmpipe", { maxStorageBufferBindingSize: 10 * 4 * 2 * 256 });
  const given = problem({ batch: 2, length: 70, mode: "chunk", chunkSize: 16 });

  const { rounds } = planRecurrence(given, on);

  assertEquals(rounds.map(({ pieces }) => rows(pieces)), [
    [[0, 64, 0], [70, 134, 1]],
    [[64, 70, 0], [134, 140, 1]],
  ]);
  assertEquals(rounds.map(({ chunkRanges }) => rows(chunkRanges)), [
    [[0, 4, 0], [4, 8, 1]],
    [[0, 1, 0], [1, 2, 1]],
  ]);
});

Deno.test("planRecurrence() hands states on without tokens, and does nothing without sequences", () => {
  const chunk = { mode: "chunk", length: 0 } as const;

  assertEquals(piecesOf(planRecurrence(problem({ length: 0, batch: 2 }), LLVMPIPE)), [
    [[0, 0, 0], [0, 0, 1]],
  ]);
  assertEquals(planRecurrence(problem(chunk), LLVMPIPE).rounds, [{
    pieces: [{ first: 0, end: 0, state: 0 }],
    chunks: [],
    chunkRanges: [{ first: 0, end: 0, state: 0 }],
  }]);
  assertEquals(planRecurrence(problem({ batch: 0 }), LLVMPIPE).rounds, [
    { pieces: [], chunks: null, chunkRanges: [] },
  ]);
});

Deno.test("planRecurrence() chooses chunks where loops would leave a GPU idle", () => {
  const chunked = (changes: Partial<RecurrenceProblem>, on = NVIDIA): boolean =>
    planRecurrence(problem({ length: 1024, ...changes }), on).rounds[0].chunks !== null;

  assertEquals(chunked({}), true);
  assertEquals(chunked({}, LLVMPIPE), false);
  // tokens of four chunks
  assertEquals(chunked({ length: 256 }), true);
  assertEquals(chunked({ length: 255 }), false);
  assertEquals(chunked({ length: 64, chunkSize: 16 }), true);
  // 512 workgroups: sequences, heads and blocks of columns
  assertEquals(chunked({ heads: 511 }), true);
  assertEquals(chunked({ heads: 512 }), false);
  assertEquals(chunked({ batch: 32, heads: 16 }), false);
  assertEquals(chunked({ batch: 32, heads: 8, valueDim: 256 }), true);
  assertEquals(chunked({ batch: 255 }), true);
  assertEquals(chunked({ batch: 256 }), false);
  assertEquals(chunked({ heads: 255, bounds: [0, 1000, 1024] }), true);
  assertEquals(chunked({ heads: 256, bounds: [0, 1000, 1024] }), false);
  // blocks of 4 · 8 columns
  const subgroup = { schedule: "subgroup-8x1-buffer", valueDim: 64 };
  assertEquals(chunked({ ...subgroup, heads: 255 }, planDevice("nvidia", { lanes: 8 })), true);
  assertEquals(chunked({ ...subgroup, heads: 256 }, planDevice("nvidia", { lanes: 8 })), false);
});

Deno.test("planRecurrence() takes the mode that was asked for, but for the baseline", () => {
  const chunked = (changes: Partial<RecurrenceProblem>, on: PlanDevice): boolean =>
    planRecurrence(problem(changes), on).rounds[0].chunks !== null;

  assertEquals(chunked({ mode: "chunk", length: 1 }, LLVMPIPE), true);
  assertEquals(chunked({ mode: "chunk", heads: 1000 }, NVIDIA), true);
  assertEquals(chunked({ mode: "loop", length: 100_000 }, NVIDIA), false);
  assertEquals(chunked({ schedule: "naive", length: 100_000 }, NVIDIA), false);
  assertEquals(chunked({ schedule: "naive", mode: "chunk" }, NVIDIA), false);
});

/** What the problem has, then the schedules on llvmpipe and NVIDIA, the default first. */
const SCHEDULES: readonly [Partial<RecurrenceProblem>, string, string][] = [
  [
    {},
    "subgroup-8x1-texture subgroup-8x1-buffer workgroup-8x1-buffer channels-16-buffer naive",
    "workgroup-8x1-buffer channels-16-buffer subgroup-32x1-buffer subgroup-32x1-texture naive",
  ],
  [
    { valueDim: 64 },
    "subgroup-8x1-texture subgroup-8x2-texture subgroup-8x1-buffer subgroup-8x2-buffer workgroup-16x1-buffer channels-64-buffer naive",
    "workgroup-16x1-buffer channels-64-buffer subgroup-32x1-buffer subgroup-32x1-texture naive",
  ],
  // four channels of 64 rows are more registers than an invocation of a GPU has
  [
    { keyDim: 64, valueDim: 128 },
    "subgroup-8x1-texture subgroup-8x2-texture subgroup-8x1-buffer subgroup-8x2-buffer workgroup-32x1-buffer channels-64-buffer naive",
    "channels-64-buffer workgroup-32x1-buffer subgroup-32x1-buffer subgroup-32x1-texture naive",
  ],
  [
    { keyDim: 256, valueDim: 256 },
    "subgroup-8x1-texture subgroup-8x1-buffer workgroup-64x1-buffer channels-64-buffer naive",
    "channels-64-buffer workgroup-64x1-buffer subgroup-32x1-buffer subgroup-32x1-texture naive",
  ],
  [
    { keyDim: 7 },
    "subgroup-8x1-buffer workgroup-8x1-buffer channels-16-buffer naive",
    "workgroup-8x1-buffer channels-16-buffer subgroup-32x1-buffer naive",
  ],
  [
    { valueDim: 5 },
    "subgroup-8x1-buffer workgroup-8x1-buffer channels-8-buffer naive",
    "workgroup-8x1-buffer channels-8-buffer subgroup-32x1-buffer naive",
  ],
  [
    { copyable: false },
    "subgroup-8x1-buffer workgroup-8x1-buffer channels-16-buffer naive",
    "workgroup-8x1-buffer channels-16-buffer subgroup-32x1-buffer naive",
  ],
  // more texels than one texture holds
  [
    { length: 8_400_000, bounds: [0, 8_400_000] },
    "subgroup-8x1-buffer workgroup-8x1-buffer channels-16-buffer naive",
    "workgroup-8x1-buffer channels-16-buffer subgroup-32x1-buffer naive",
  ],
];

for (const [changes, onLlvmpipe, onNvidia] of SCHEDULES) {
  Deno.test(`recurrenceSchedules() lists what fits ${JSON.stringify(changes)}`, () => {
    const names = (on: PlanDevice): string =>
      recurrenceSchedules(problem(changes), on).map(recurrenceScheduleName)
        .filter((name) => !/^(blocks|broadcast)/.test(name)).join(" ");

    assertEquals(names(LLVMPIPE), onLlvmpipe);
    assertEquals(names(NVIDIA), onNvidia);
  });
}

Deno.test("recurrenceSchedules() has blocks where all channels of a token decay alike", () => {
  const names = (changes: Partial<RecurrenceProblem>): string =>
    schedulesInText("blocks", problem(changes), LLVMPIPE);

  assertEquals(names({ gate: "token" }), "8 blocks-8x1-texture, 8 blocks-8x1-buffer");
  assertEquals(names({ keyDim: 192, copyable: false }), "4 blocks-8x1-buffer");
  assertEquals(names({ gate: "channel" }), "");
  assertEquals(names({ gate: "forget" }), "");
});

Deno.test("recurrenceSchedules() broadcasts to text of about 512 rows of the state", () => {
  const names = (changes: Partial<RecurrenceProblem>, on = LLVMPIPE): string =>
    schedulesInText("broadcast", problem({ copyable: false, ...changes }), on);

  assertEquals(names({ keyDim: 64 }), "8 broadcast-8x1-buffer");
  assertEquals(names({ keyDim: 7 }, SIXTEEN), "8 broadcast-16x1-buffer");
  assertEquals(names({ keyDim: 64, qHeads: 4, heads: 2 }), "4 broadcast-8x1-buffer");
  assertEquals(names({ keyDim: 256 }), "2 broadcast-8x1-buffer");
  assertEquals(names({ keyDim: 513 }), "1 broadcast-8x1-buffer");
  assertEquals(
    names({ keyDim: 7 }, planDevice("llvmpipe", { lanes: 4 })),
    "4 broadcast-4x1-buffer",
  );
});

Deno.test("recurrenceSchedules() broadcasts first where shuffles of so many lanes are slow", () => {
  const first = (on: PlanDevice): string =>
    recurrenceScheduleName(recurrenceSchedules(problem(), on)[0]);

  assertEquals(first(LLVMPIPE), "subgroup-8x1-texture");
  assertEquals(first(SIXTEEN), "broadcast-16x1-texture");
});

/** Schedules of an exchange whose tokens are text, with how many of them are. */
function schedulesInText(
  exchange: "blocks" | "broadcast",
  problem: RecurrenceProblem,
  on: PlanDevice,
): string {
  return recurrenceSchedules(problem, on).flatMap((schedule) =>
    schedule.kind === "tiled" && schedule.exchange === exchange
      ? [`${schedule.tokens} ${recurrenceScheduleName(schedule)}`]
      : []
  ).join(", ");
}

Deno.test("recurrenceSchedules() knows no subgroups where there are none", () => {
  const bare = planDevice("nvidia", { lanes: null });
  const names = recurrenceSchedules(problem(), bare).map(recurrenceScheduleName);

  assertEquals(names, ["workgroup-8x1-buffer", "channels-16-buffer", "naive"]);
});

Deno.test("recurrenceSchedules() streams states where no sequence has more than a token", () => {
  const steps = (changes: Partial<RecurrenceProblem>, on: PlanDevice): string =>
    recurrenceSchedules(problem({ length: 1, initial: true, ...changes }), on)
      .filter(({ kind }) => kind === "step").map(recurrenceScheduleName).join(" ");

  const onLlvmpipe = "step-shuffle-texture step-shuffle-buffer step-workgroup-buffer";
  assertEquals(steps({}, LLVMPIPE), onLlvmpipe);
  assertEquals(steps({ batch: 3, bounds: [0, 1, 1, 2] }, LLVMPIPE), onLlvmpipe);
  assertEquals(
    steps({}, planDevice("llvmpipe", { lanes: 16 })),
    "step-broadcast-texture step-broadcast-buffer step-workgroup-buffer",
  );
  assertEquals(
    steps({}, NVIDIA),
    "step-workgroup-buffer step-shuffle-buffer step-shuffle-texture",
  );
  assertEquals(steps({}, planDevice("nvidia", { lanes: null })), "step-workgroup-buffer");
  // texels have four value channels of a state that is there
  const buffers = "step-shuffle-buffer step-workgroup-buffer";
  assertEquals(steps({ initial: false }, LLVMPIPE), buffers);
  assertEquals(steps({ valueFirst: true }, LLVMPIPE), buffers);
  assertEquals(steps({ valueDim: 18 }, LLVMPIPE), buffers);
  // workgroup memory has a number of each of the rows, and the sums of its columns
  const small = planDevice("nvidia", { maxComputeWorkgroupStorageSize: 4 * 6 * 16 + 1024 });
  assertEquals(steps({}, small).includes("workgroup"), true);
  assertEquals(steps({ keyDim: 17 }, small), "step-shuffle-buffer step-shuffle-texture");
  assertEquals(steps({ bounds: [0, 2] }, LLVMPIPE), "");
  assertEquals(steps({ mode: "chunk" }, LLVMPIPE), "");
  const { schedule } = planRecurrence(problem({ length: 1, schedule: "step" }), NVIDIA);
  assertEquals(recurrenceScheduleName(schedule), "step-workgroup-buffer");
});

Deno.test("recurrenceSchedules() loads as many tokens as workgroup memory holds", () => {
  const tokens = (bytes: number, changes: Partial<RecurrenceProblem>): number | undefined =>
    recurrenceSchedules(
      problem({ valueDim: 64, ...changes }),
      planDevice("nvidia", { lanes: null, maxComputeWorkgroupStorageSize: bytes }),
    ).flatMap((schedule) => schedule.kind === "tiled" ? [schedule.tokens] : [])[0];

  assertEquals(tokens(16384, {}), 16);
  // a token has rows of k and q, or of k, two q and gates
  assertEquals(tokens(2048, {}), 14);
  assertEquals(tokens(2048, { qHeads: 4, gate: "channel" }), 7);
  assertEquals(tokens(16384, { keyDim: 256, qHeads: 4, gate: "channel" }), 3);
  assertEquals(tokens(16384, { keyDim: 256, qHeads: 32 }), undefined);
  // and of what a pair erases
  const { inputs } = problem();
  const pair = { p: { elem: "f32", heads: 2 }, b: { elem: "f32", heads: 2 } } as const;
  const erasing = { keyDim: 128, erase: "pair", inputs: { ...inputs, ...pair } } as const;
  assertEquals(tokens(16384, erasing), 7);
});

Deno.test("planRecurrence() takes schedules by name or exchange, and refuses what does not fit", () => {
  const named = (schedule: string | null): string =>
    recurrenceScheduleName(planRecurrence(problem({ schedule }), LLVMPIPE).schedule);

  assertEquals(named(null), "subgroup-8x1-texture");
  assertEquals(named("subgroup"), "subgroup-8x1-texture");
  assertEquals(named("workgroup"), "workgroup-8x1-buffer");
  assertEquals(named("subgroup-8x1-buffer"), "subgroup-8x1-buffer");
  assertEquals(named("naive"), "naive");
  assertEquals(
    assertThrows(() => named("subgroup-32x1-buffer"), RangeError).message,
    'Cannot plan a recurrence as schedule must fit the problem and the device: "subgroup-32x1-buffer" is not among subgroup-8x1-texture, subgroup-8x1-buffer, broadcast-8x1-texture, broadcast-8x1-buffer, blocks-8x1-texture, blocks-8x1-buffer, workgroup-8x1-buffer, channels-16-buffer, naive',
  );
});

/** A problem on a device of small limits. */
interface Case {
  problem: RecurrenceProblem;
  device: PlanDevice;
}

function randomCase(random: Random): Case {
  const packed = random.next() < 0.5;
  const batch = packed ? 1 : random.integer(0, 3);
  const length = random.pick([0, 1, 8, 63, 100, 300]);
  const kHeads = random.integer(1, 2);
  const heads = kHeads * random.integer(1, 2);
  const cuts = Array.from({ length: random.integer(0, 5) }, () => random.integer(0, length));
  const alignment = random.pick([32, 256]);
  const normalize = random.next() < 0.3;
  const sides = [random.next() < 0.5, random.next() < 0.5, random.next() < 0.5];
  return {
    problem: problem({
      batch,
      length,
      ...{ kHeads, heads, qHeads: heads * random.integer(1, 2) },
      ...{ keyDim: random.pick([7, 16, 36]), valueDim: random.pick([5, 16, 40]) },
      gate: random.pick(["none", "head", "token", "channel"]),
      normalize,
      ...{ erase: normalize ? "none" : random.pick(["none", "late"]), l2norm: random.next() < 0.3 },
      ...{ initial: sides[0], final: sides[1], reverse: sides[2] },
      ...(packed && { bounds: [0, ...cuts.sort((a, b) => a - b), length] }),
      mode: random.pick(["auto", "chunk", "loop"]),
      chunkSize: random.pick([16, 32, 64]),
      schedule: random.pick([null, null, "workgroup", "subgroup", "naive"]),
    }),
    device: planDevice(random.pick(["llvmpipe", "nvidia"]), {
      lanes: random.pick([8, 32]),
      maxStorageBufferBindingSize: random.pick([2 ** 18, 2 ** 19, 2 ** 27]),
      maxComputeWorkgroupsPerDimension: random.pick([4, 65535, 65535]),
      minStorageBufferOffsetAlignment: alignment,
      maxLoopIterations: random.pick([200, 700, 2 ** 31]),
    }),
  };
}

/** Cases of a seed and their plans. */
function randomCases(seed: number, count: number): (Case & { plan: RecurrencePlan })[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => {
    const given = randomCase(random);
    return { ...given, plan: planRecurrence(given.problem, given.device) };
  });
}

Deno.test("planRecurrence() meets every token of every sequence once and in order", () => {
  let cut = 0;
  for (const { problem: { bounds, reverse, ...rest }, plan } of randomCases(1, 700)) {
    const where = JSON.stringify({ bounds, reverse, ...rest });
    const met = bounds.slice(1).map((): number[] => []);
    const visits = bounds.slice(1).map(() => 0);
    for (const { pieces } of plan.rounds) {
      assertEquals(new Set(pieces.map(({ state }) => state)).size, pieces.length, where);
      for (const piece of pieces) {
        met[piece.state].push(...tokensOf(piece, reverse));
        visits[piece.state]++;
      }
    }
    met.forEach((tokens, n) => {
      const sequence = { first: bounds[n], end: bounds[n + 1], state: n };
      assertEquals(tokens, tokensOf(sequence, reverse), where);
      if (tokens.length === 0) assertEquals(visits[n], 1, where);
    });
    const [first] = plan.rounds;
    assertEquals(first.pieces.length, bounds.length - 1, where);
    cut += Number(plan.rounds.length > 1);
  }
  assert(cut > 50, `${cut} cases were cut`);
});

Deno.test("planRecurrence() divides each piece into chunks, in order", () => {
  let several = 0;
  for (const { problem: { reverse, chunkSize, ...rest }, plan } of randomCases(2, 500)) {
    const where = JSON.stringify({ reverse, chunkSize, ...rest });
    for (const { pieces, chunks, chunkRanges } of plan.rounds) {
      if (chunks === null) {
        assertEquals(chunkRanges, [], where);
        continue;
      }
      several += Number(chunks.length > pieces.length);
      assertEquals(chunks.map(({ state }) => state), [...chunks.keys()], where);
      assertEquals(chunkRanges.length, pieces.length, where);
      let next = 0;
      chunkRanges.forEach(({ first, end, state }, i) => {
        const own = chunks.slice(first, end);
        assertEquals([first, state], [next, pieces[i].state], where);
        assert(own.every((chunk) => chunk.end > chunk.first), where);
        assert(own.every((chunk) => chunk.end - chunk.first <= Number(chunkSize)), where);
        assertEquals(
          own.flatMap((chunk) => tokensOf(chunk, reverse)),
          tokensOf(pieces[i], reverse),
          where,
        );
        next = end;
      });
      assertEquals(next, chunks.length, where);
    }
  }
  assert(several > 50, `${several} rounds had several chunks`);
});

Deno.test("planRecurrence() keeps every loop within the limit", () => {
  for (const { problem, device, plan } of randomCases(3, 500)) {
    const where = JSON.stringify(problem);
    const { maxLoopIterations: most } = device.limits;
    const { keyDim, qHeads, heads, erase, l2norm } = problem;
    const { schedule } = plan;
    const rows = 1 + qHeads / heads;
    const loops = rows + Number(erase !== "none") + (l2norm ? rows : 0);
    for (const { pieces, chunks, chunkRanges } of plan.rounds) {
      for (const { first, end } of chunks ?? pieces) {
        const tokens = end - first;
        // an end of each loop included
        const iterations = schedule.kind !== "tiled"
          ? tokens * (1 + (1 + keyDim) * loops + qHeads / heads)
          : tokens + 2 * Math.ceil(tokens / schedule.tokens);
        assert(iterations < most || tokens === 1, `${iterations} > ${most} in ${where}`);
      }
      for (const { first, end } of chunkRanges) assert(end - first < most, where);
    }
  }
});

Deno.test("planRecurrence() keeps the states of chunks within a binding", () => {
  let several = 0;
  for (const { problem, device, plan } of randomCases(4, 500)) {
    const { keyDim, valueDim, heads, bounds } = problem;
    for (const { chunks } of plan.rounds) {
      if (chunks === null || chunks.length < bounds.length) continue;
      const bytes = 4 * heads * keyDim * valueDim * chunks.length;
      assert(bytes <= device.limits.maxStorageBufferBindingSize, JSON.stringify(problem));
      several++;
    }
  }
  assert(several > 50, `${several} rounds had several chunks`);
});

/** What planned work asks of the device: its dispatches, and the bytes that they bind. */
function dryRun({ problem, device }: Case): Launch[] {
  const { batch, length, qHeads, heads, keyDim, valueDim, elem } = problem;
  const { normalize, bounds } = problem;
  const { operation, launches } = dryRunOf();
  const tokens = batch * length;
  const states = (bounds.length - 1) * heads * keyDim;
  const state = () => ({
    s: dryBuffer(4 * states * valueDim),
    z: normalize ? dryBuffer(4 * states) : null,
  });
  const inputs = Object.entries(problem.inputs).map(([name, { elem, heads }]) => {
    const rows = INPUTS[name as InputName].per === "token" ? tokens * heads : heads;
    return [name, dryTensor(elem, rows, inputWidth(name as InputName, problem))];
  });
  const tensors: RecurrenceTensors = {
    inputs: Object.fromEntries(inputs),
    out: dryTensor(elem, tokens * Math.max(qHeads, heads), valueDim),
    initial: problem.initial ? state() : null,
    final: problem.final ? state() : null,
  };
  const plan = planRecurrence(problem, device);
  launchRecurrence(operation, { problem, plan, tensors, limits: device.limits });
  return launches;
}

/** The distinct texts that a problem compiles. */
function textsOf(given: Case): Set<string> {
  return new Set(dryRun(given).map(({ program: { code } }) => code));
}

Deno.test("planRecurrence() compiles the same text for every number of tokens", () => {
  const everything = { gate: "channel", initial: true, final: true, normalize: true } as const;
  for (const on of [LLVMPIPE, NVIDIA]) {
    for (const mode of ["loop", "chunk"] as const) {
      for (const schedule of ["subgroup", "workgroup", "naive"]) {
        const texts = (length: number) =>
          textsOf({ problem: problem({ ...everything, mode, schedule, length }), device: on });

        const [few, many] = [texts(100), texts(10_000)];

        assertEquals(many, few);
        // outputs; with chunks what they add, and the passes over S and z, too
        assertEquals(few.size, mode === "loop" || schedule === "naive" ? 1 : 4);
      }
    }
  }
});

Deno.test("launchRecurrence() binds all that programs name, aligned and within buffers", () => {
  let cut = 0;
  for (const given of randomCases(5, 400)) {
    const where = JSON.stringify(given.problem);
    const { limits } = given.device;
    const launches = dryRun(given);
    cut += Number(launches.length > 4);
    for (const { program, resources, params, grid } of launches) {
      for (const { name, access } of program.bindings) {
        const resource = resources[name];
        assert(resource !== undefined, `${name} of ${where}`);
        assertEquals("buffer" in resource, access !== "texture", `${name} of ${where}`);
        if (!("buffer" in resource)) continue;
        const { buffer, offset = 0, size = buffer.size }: BufferRange = resource;
        assertEquals(offset % limits.minStorageBufferOffsetAlignment, 0, `${name} of ${where}`);
        assertEquals(size % 4, 0, `${name} of ${where}`);
        assert(offset + size <= buffer.size, `${name} of ${where}`);
      }
      for (const name of Object.keys(program.params)) {
        assert(Number.isFinite(params[name]), `${name} of ${where}`);
      }
      assert(grid.every(Number.isInteger), `${grid} of ${where}`);
    }
  }
  assert(cut > 40, `${cut} cases were cut`);
});

Deno.test("launchRecurrence() launches nothing without sequences", () => {
  for (const mode of ["loop", "chunk"] as const) {
    const launches = dryRun({ problem: problem({ batch: 0, mode }), device: LLVMPIPE });
    assertEquals(launches.filter(({ grid }) => !grid.includes(0)), []);
  }
});

Deno.test("launchRecurrence() cuts launches for grids and bindings, with the tokens that they see", () => {
  const given = problem({ length: 640, mode: "chunk", chunkSize: 64, schedule: "workgroup" });
  const walks = (limits: Partial<PlanDevice["limits"]>) => {
    const device = planDevice("nvidia", { minStorageBufferOffsetAlignment: 32, ...limits });
    return dryRun({ problem: given, device })
      .filter(({ program: { label } }) => label === "recurrence (loop, workgroup)")
      .map(({ params, grid, resources }) => {
        const { offset, size } = resources.out as BufferRange;
        return [params.segment0, grid, params.outFirst, params.qFirst, offset, size];
      });
  };

  assertEquals(walks({}), [[0, [1, 2, 10], 0, 0, 0, 81920]]);
  assertEquals(walks({ maxComputeWorkgroupsPerDimension: 4 }), [
    [0, [1, 2, 4], 0, 0, 0, 32768],
    [4, [1, 2, 4], 512, 512, 32768, 32768],
    [8, [1, 2, 2], 1024, 1024, 65536, 16384],
  ]);
  // 256 tokens, less those that an alignment of 32 may cost
  assertEquals(walks({ maxStorageBufferBindingSize: 32768 }), [
    [0, [1, 2, 3], 0, 0, 0, 24576],
    [3, [1, 2, 3], 384, 384, 24576, 24576],
    [6, [1, 2, 3], 768, 768, 49152, 24576],
    [9, [1, 2, 1], 1152, 1152, 73728, 8192],
  ]);
});

Deno.test("planRecurrence() walks a sequence whole where loops know no limit", () => {
  const plan = planRecurrence(problem({ length: 100, bounds: [0, 100], mode: "loop" }), NVIDIA);

  assertEquals(piecesOf(plan), [[[0, 100, 0]]]);
});

Deno.test("planRecurrence() cuts pieces whose rows outgrow a binding", () => {
  const long = { length: 33_000, bounds: [0, 33_000], mode: "loop" } as const;
  const sizes = { ...long, heads: 16, qHeads: 16, kHeads: 16, keyDim: 64, valueDim: 64 };
  const { rounds } = planRecurrence(problem(sizes), NVIDIA_128);

  // 4,096 bytes a token, less 32 tokens for alignment
  assertEquals(rounds.map(({ pieces }) => pieces[0].end), [32_736, 33_000]);
});

Deno.test("planRecurrence() refuses states that no binding holds", () => {
  const many = { batch: 64, bounds: Array.from({ length: 65 }, (_, n) => n), length: 1 };
  const sizes = { heads: 64, qHeads: 64, kHeads: 64, keyDim: 128, valueDim: 128, final: true };

  assertThrows(
    () => planRecurrence(problem({ ...many, ...sizes }), NVIDIA_128),
    RangeError,
    "Cannot plan a recurrence as the states of all sequences must fit one binding: they have 268435456 bytes, the device allows 134217728",
  );
});

Deno.test("launchRecurrence() cuts the carry of more sequences than a grid has workgroups", () => {
  const count = 65_537;
  const bounds = Array.from({ length: count + 1 }, (_, n) => n);
  const packed = problem({ length: count, bounds, mode: "chunk", heads: 1, qHeads: 1, kHeads: 1 });
  const carries = dryRun({ problem: { ...packed, keyDim: 4, valueDim: 4 }, device: NVIDIA_128 })
    .filter(({ program }) => program.label === "recurrence (carry)");

  assertEquals(carries.map(({ params, grid }) => [params.sequence0, grid[2]]), [
    [0, 65_535],
    [65_535, 2],
  ]);
});

Deno.test("planRecurrence() refuses chunks by series whose queries would not end in a loop", () => {
  const on = planDevice("llvmpipe");
  const based = (qHeads: number, featureMap: FeatureMap = "taylor2") =>
    planRecurrence(
      problem({
        ...{ featureMap, qHeads, heads: 1, keyDim: 15, dim: 4, valueDim: 5 },
        ...{ mode: "chunk", chunkSize: 64, schedule: "subgroup" },
      }),
      on,
    );

  assertEquals(based(250).schedule.kind, "tiled");
  assertEquals(based(320, "elu1").schedule.kind, "tiled");
  assertEquals(
    assertThrows(() => based(320), RangeError).message,
    "Cannot plan a recurrence as the queries of a chunk must fit one loop: 320 heads of 64 take 79691 iterations, the device allows 65535",
  );
});
