import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import type { BufferRange } from "../../gpu/recorder.ts";
import type { NeighborhoodConfig } from "../../kernels/neighborhood/pattern.ts";
import { attentionPrograms, launchAttention } from "../../ops/attention/launch.ts";
import type { AttentionPlan } from "../../ops/attention/plan.ts";
import type { AttentionProblem } from "../../ops/attention/problem.ts";
import type { PlanDevice } from "../../ops/attention/schedule.ts";
import { length, type Range, type Slice, tilesOfLoop } from "../../ops/attention/tokens.ts";
import {
  axisWindow,
  groupPlaces,
  neighborhoodAxes,
  type NeighborhoodPattern,
} from "../../ops/neighborhood/axes.ts";
import { planNeighborhood } from "../../ops/neighborhood/plan.ts";
import type { NeighborhoodProblem } from "../../ops/neighborhood/problem.ts";
import {
  neighborhoodScheduleName,
  neighborhoodSchedules,
  type TiledSchedule,
} from "../../ops/neighborhood/schedule.ts";
import { neighborhoodTokens } from "../../ops/neighborhood/tokens.ts";
import { visibleKeys } from "../../reference/mod.ts";
import { dryRunOf, dryTensor } from "./dry_run.ts";
import { planDevice } from "./plan_device.ts";

const NVIDIA = planDevice("nvidia");
const LLVMPIPE = planDevice("llvmpipe", { maxLoopIterations: 65_535 });

/** Neighborhood attention of B1 H2 D32 f32 on a layout, with changes. */
function problem(
  layout: readonly number[],
  pattern: NeighborhoodPattern,
  changes: Partial<AttentionProblem> = {},
  schedule: NeighborhoodProblem["schedule"] = null,
): NeighborhoodProblem {
  const tokens = product(layout);
  const attention: AttentionProblem = {
    batch: 1,
    qLen: tokens,
    kvLen: tokens,
    heads: 2,
    kvHeads: 2,
    headDim: 32,
    valueDim: 32,
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
  return { axes: neighborhoodAxes("test", layout, pattern), attention, schedule };
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((result, size) => result * size, 1);
}

/** The plan of a problem whose tiles are boxes. */
function tiledPlan(given: NeighborhoodProblem, on: PlanDevice) {
  const plan = planNeighborhood(given, on);
  assert(plan.kind === "tiled");
  const { pattern } = plan.attention.config;
  assert(pattern.kind === "neighborhood");
  return { ...plan, pattern };
}

const kindOf = (...given: Parameters<typeof problem>): string =>
  planNeighborhood(problem(...given), LLVMPIPE).kind;

Deno.test("planNeighborhood() computes windows that cover all axes as dense attention", () => {
  assertEquals(kindOf([30], { windowSize: 30 }), "dense");
  assertEquals(kindOf([8, 6], { windowSize: [8, 6] }), "dense");
  assertEquals(kindOf([3, 4, 5], { windowSize: [3, 4, 5], stride: 2 }), "dense");
  const plan = planNeighborhood(problem([30], { windowSize: 30 }), LLVMPIPE);
  assert(plan.kind === "dense");
  assertEquals(plan.problem.band, null);
  assertEquals(plan.name, "subgroup-8x2-shuffle-texture");
});

Deno.test("planNeighborhood() computes a causal window over the only axis as causal attention", () => {
  for (const stride of [1, 7, 30]) {
    const given = problem([30], { windowSize: 30, causal: true, stride });
    const plan = planNeighborhood(given, LLVMPIPE);
    assert(plan.kind === "dense");
    assertEquals(plan.problem.band, { lo: -(2 ** 30), hi: 0 });
    assertEquals(plan.attention.config.pattern, {
      kind: "band",
      banded: true,
      descending: false,
      hooked: false,
    });
  }
});

Deno.test("planNeighborhood() walks boxes wherever a query may not see a key", () => {
  const additional = { additional: { count: 1 } };

  assertEquals(kindOf([30], { windowSize: 29 }), "tiled");
  assertEquals(kindOf([30], { windowSize: 29, causal: true }), "tiled");
  assertEquals(kindOf([8, 6], { windowSize: [8, 5] }), "tiled");
  assertEquals(kindOf([8, 6], { windowSize: [7, 6] }), "tiled");
  assertEquals(kindOf([8, 6], { windowSize: [8, 6], causal: true }), "tiled");
  assertEquals(kindOf([8, 6], { windowSize: [8, 6], causal: [false, true] }), "tiled");
  assertEquals(kindOf([30], { windowSize: 30 }, additional), "tiled");
  assertEquals(kindOf([30], { windowSize: 30, causal: true }, additional), "tiled");
});

Deno.test("planNeighborhood() takes schedules of dense attention where that is what runs", () => {
  const nameOf = (schedule: string): string =>
    planNeighborhood(problem([30], { windowSize: 30 }, {}, schedule), LLVMPIPE).name;

  assertEquals(nameOf("workgroup"), "workgroup-32x32-4x4-32");
  assertEquals(nameOf("naive"), "naive");
});

/** Layout, window, stride, dilation; then the default on llvmpipe and NVIDIA, and masked axes. */
type Row = [number[], NeighborhoodPattern, string, string, [boolean, boolean, boolean]];

const DEFAULTS: readonly Row[] = [
  [
    [1000],
    { windowSize: 65 },
    "subgroup-8x3-shuffle-texture-q24-k8",
    "workgroup-16x16-4x4-16-q16-k16",
    [true, false, false],
  ],
  [
    [64, 64],
    { windowSize: 13 },
    "subgroup-8x2-shuffle-texture-q4x4-k1x8",
    "workgroup-16x16-4x4-16-q4x4-k1x16",
    [true, true, false],
  ],
  // the last axis is covered, so its boxes hold all of it and need no mask
  [
    [64, 2],
    { windowSize: [13, 2] },
    "subgroup-8x2-shuffle-texture-q8x2-k4x2",
    "workgroup-16x16-4x4-16-q8x2-k8x2",
    [true, false, false],
  ],
  [
    [16, 16, 16],
    { windowSize: 5 },
    "subgroup-8x4-shuffle-texture-q2x4x4-k2x2x2",
    "workgroup-16x16-4x4-16-q2x2x4-k1x2x8",
    [true, true, true],
  ],
  // blocks: the largest boxes in which all queries share all keys, of at most 4 rows a lane
  [
    [1024],
    { windowSize: 64, stride: 64 },
    "subgroup-8x4-shuffle-texture-q32-k8",
    "workgroup-64x64-8x8-16-q64-k64",
    [false, false, false],
  ],
  [
    [64, 64],
    { windowSize: 8, stride: 8 },
    "subgroup-8x4-shuffle-texture-q4x8-k1x8",
    "workgroup-64x64-8x8-16-q8x8-k8x8",
    [false, false, false],
  ],
  [
    [16, 16, 16],
    { windowSize: 8, stride: 8 },
    "subgroup-8x4-shuffle-texture-q1x4x8-k1x1x8",
    "workgroup-64x64-8x8-16-q1x8x8-k1x8x8",
    [false, false, false],
  ],
  [
    [64, 64],
    { windowSize: [8, 16], stride: [8, 1] },
    "subgroup-8x4-shuffle-texture-q8x4-k8x1",
    "workgroup-16x16-4x4-16-q8x2-k8x2",
    [false, true, false],
  ],
  [
    [64, 64],
    { windowSize: 8, stride: 8, causal: [true, false] },
    "subgroup-8x2-shuffle-texture-q2x8-k1x8",
    "workgroup-16x16-4x4-16-q2x8-k2x8",
    [true, false, false],
  ],
];

for (const [layout, pattern, onLlvmpipe, onNvidia, masked] of DEFAULTS) {
  const name = `${layout.join("x")} ${JSON.stringify(pattern)}`;
  Deno.test(`planNeighborhood() chooses boxes for ${name}`, () => {
    const llvmpipe = tiledPlan(problem(layout, pattern), LLVMPIPE);
    const nvidia = tiledPlan(problem(layout, pattern), NVIDIA);

    assertEquals([llvmpipe.name, nvidia.name], [onLlvmpipe, onNvidia]);
    assertEquals([llvmpipe.pattern.masked, nvidia.pattern.masked], [masked, masked]);
  });
}

Deno.test("planNeighborhood() tells the kernel what the problem has", () => {
  const pattern = { windowSize: [4, 6], stride: [1, 2], causal: [false, true], dilation: [3, 1] };
  const changes = { additional: { count: 5 }, elem: "f16", headDim: 16, lse: true } as const;

  const { config } = tiledPlan(problem([40, 40], pattern, changes), LLVMPIPE).attention;

  assertEquals(config, {
    elem: "f16",
    outElem: "f16",
    headDim: 16,
    valueDim: 32,
    pattern: {
      kind: "neighborhood",
      causal: [false, true, false],
      strided: true,
      dilated: true,
      queryTile: [2, 4, 1],
      keyTile: [1, 8, 1],
      masked: [true, true, false],
      parted: false,
      additional: true,
    },
    softcap: false,
    bias: null,
    sinks: null,
    gates: null,
    weight: WEIGHTS.softmax,
    hooks: NO_HOOKS,
    lse: true,
    source: "texture",
  });
});

Deno.test("planNeighborhood() needs no other kernel for other lengths, batches and heads", () => {
  const patterns: NeighborhoodPattern[] = [
    { windowSize: 13 },
    { windowSize: 8, stride: 8 },
    { windowSize: [6, 9], stride: [3, 1], dilation: [2, 1], causal: [true, false] },
  ];
  const code = (layout: number[], pattern: NeighborhoodPattern, on: PlanDevice, change = {}) => {
    const { attention, problem: planned } = tiledPlan(problem(layout, pattern, change), on);
    return attentionPrograms(planned, attention).map(({ code }) => code);
  };
  for (const on of [LLVMPIPE, NVIDIA]) {
    for (const pattern of patterns) {
      const first = code([64, 64], pattern, on);

      assertEquals(code([128, 128], pattern, on), first);
      assertEquals(code([75, 243], pattern, on), first);
      assertEquals(code([64, 64], pattern, on, { batch: 3, heads: 4, scale: 0.1 }), first);
    }
  }
});

Deno.test("planNeighborhood() needs no other kernel for other strides, dilations and counts", () => {
  const schedule = "workgroup-16x16-4x4-16";
  const { pattern } = tiledPlan(
    problem(
      [96],
      { windowSize: 9, stride: 2, dilation: 3 },
      { additional: { count: 3 } },
      schedule,
    ),
    NVIDIA,
  );
  const other = tiledPlan(
    problem(
      [99],
      { windowSize: 7, stride: 5, dilation: 2 },
      { additional: { count: 70 } },
      schedule,
    ),
    NVIDIA,
  );

  assertEquals(other.pattern, pattern);
});

Deno.test("planNeighborhood() takes a schedule by kind, by attention's name, by name and by value", () => {
  const nameOf = (schedule: NeighborhoodProblem["schedule"]): string =>
    planNeighborhood(problem([64, 64], { windowSize: 8, stride: 8 }, {}, schedule), NVIDIA).name;
  const value = neighborhoodSchedules(problem([64, 64], { windowSize: 8, stride: 8 }), NVIDIA)
    .find(({ kind }) => kind === "subgroup");

  assert(value !== undefined);
  assertEquals(nameOf("workgroup"), "workgroup-64x64-8x8-16-q8x8-k8x8");
  assertEquals(nameOf("workgroup-32x64-4x4-16"), "workgroup-32x64-4x4-16-q4x8-k8x8");
  assertEquals(
    nameOf("subgroup-32x1-shuffle-buffer-q4x8-k4x8"),
    "subgroup-32x1-shuffle-buffer-q4x8-k4x8",
  );
  assertEquals(nameOf(value), neighborhoodScheduleName(value));
  assertEquals(nameOf("naive"), "naive");
  assertEquals(nameOf({ kind: "naive" }), "naive");
});

Deno.test("planNeighborhood() throws when a schedule does not fit, and lists those that do", () => {
  const bare = planDevice("nvidia", { maxComputeWorkgroupStorageSize: 4096 });
  const given = problem([30, 30], { windowSize: 3 }, { copyable: false, headDim: 256 }, "split");

  assertEquals(
    assertThrows(() => planNeighborhood(given, bare), RangeError).message,
    'Cannot plan neighborhood attention as schedule must fit the problem and the device: "split" is not among workgroup-16x16-4x4-16-q4x4-k2x8, subgroup-32x1-broadcast-buffer-q2x16-k2x16, subgroup-32x1-shuffle-buffer-q2x16-k2x16, naive',
  );
});

Deno.test("planNeighborhood() throws when the naive schedule cannot run in one piece", () => {
  const refuse = (given: NeighborhoodProblem, on: PlanDevice) =>
    assertThrows(() => planNeighborhood(given, on), RangeError).message.split(":", 1)[0];
  const rule = "Cannot plan neighborhood attention as the naive schedule must run in one piece";
  const naive = (layout: number[], windowSize: number, changes: Partial<AttentionProblem>) =>
    problem(layout, { windowSize }, changes, "naive");

  // queries exceed a dispatch; scores exceed a binding; q exceeds it; softmax loops too often
  assertEquals(refuse(naive([70000], 3, {}), NVIDIA), rule);
  assertEquals(refuse(naive([256, 100], 64, {}), NVIDIA), rule);
  assertEquals(refuse(naive([30000], 2, { batch: 5, headDim: 256 }), NVIDIA), rule);
  assertEquals(refuse(naive([8], 3, { additional: { count: 30000 } }), LLVMPIPE), rule);
});

Deno.test("planNeighborhood() runs a common problem as one launch", () => {
  const { attention } = tiledPlan(problem([64, 64], { windowSize: 13 }, { batch: 2 }), NVIDIA);
  const whole: Slice = { batch: [0, 2], queries: [0, 4096], kvHeads: [0, 2], parts: [0, 1] };

  assertEquals(attention.rounds, [{ rows: whole, launches: [whole] }]);
  assertEquals(attention.tokens.queryTiles([0, 4096]), 16 * 16);
  assertEquals(attention.tokens.keys(whole), [0, 4096]);
});

Deno.test("planNeighborhood() has nothing to run without batch entries", () => {
  assertEquals(
    tiledPlan(problem([9], { windowSize: 3 }, { batch: 0 }), NVIDIA).attention.rounds,
    [],
  );
});

/** Boxes of 4 x 4 queries and keys. */
const SQUARES: TiledSchedule = {
  kind: "workgroup",
  blockQ: 16,
  blockKv: 16,
  rows: 4,
  cols: 4,
  depth: 16,
  queryTile: [4, 4],
  keyTile: [4, 4],
};

Deno.test("neighborhoodTokens() counts query tiles of all residues", () => {
  // 22 tokens are 6 + 6 + 5 + 5 places of four residues: 2 tiles of 4 each
  const given = problem([22, 16], { windowSize: 4, dilation: [4, 1] });
  const tokens = neighborhoodTokens(given, SQUARES, NVIDIA.limits);

  assertEquals(tokens.queryStep, 4 * 4 * 16);
  assertEquals(tokens.queryTiles([0, 22 * 16]), 4 * 2 * 4);
});

Deno.test("neighborhoodTokens() binds the rows of the first axis that queries see", () => {
  const tokens = neighborhoodTokens(problem([64, 16], { windowSize: 5 }), SQUARES, NVIDIA.limits);
  const keys = (first: number, end: number): Range =>
    tokens.keys({
      batch: [0, 1],
      queries: [first * 16, end * 16],
      kvHeads: [0, 2],
      parts: [0, 1],
    });

  assertEquals(keys(0, 4), [0, 6 * 16]);
  assertEquals(keys(20, 32), [18 * 16, 34 * 16]);
  assertEquals(keys(60, 64), [58 * 16, 64 * 16]);
});

Deno.test("planNeighborhood() divides keys that exceed a binding along the first axis", () => {
  // a row of 64 tokens takes 16 KiB over the heads; 64 KiB are 4 rows, less the slack: 3
  const small = planDevice("nvidia", {
    maxStorageBufferBindingSize: 2 ** 16,
    minStorageBufferOffsetAlignment: 32,
  });
  const given = problem([64, 64], { windowSize: [9, 5] }, { copyable: false });
  const { attention, pattern } = tiledPlan(given, small);

  assertEquals([attention.tokens.parts, attention.tokens.params(whole(given)).partPlaces], [22, 3]);
  assertEquals([pattern.parted, pattern.masked], [true, [true, true, false]]);
  assertEquals([attention.config.lse, attention.config.outElem], [true, "f32"]);
});

Deno.test("planNeighborhood() divides additional keys with the others", () => {
  // 6 parts of 5000 additional keys: half of 5898 tiles of 8 keys is for them
  const given = problem([64], { windowSize: 9 }, { additional: { count: 120000 } });
  const { tokens } = tiledPlan(given, LLVMPIPE).attention;
  const { partPlaces, partAdditional, additionalLen } = tokens.params(whole(given));

  assertEquals([tokens.parts, partPlaces, partAdditional, additionalLen], [6, 11, 20000, 120000]);
});

/** All of a problem, in one part. */
function whole({ attention: { batch, qLen, kvHeads } }: NeighborhoodProblem): Slice {
  return { batch: [0, batch], queries: [0, qLen], kvHeads: [0, kvHeads], parts: [0, 1] };
}

Deno.test("planNeighborhood() cuts long work into dispatches of 2^34 multiply-adds", () => {
  const given = problem([30, 48, 80], { windowSize: [18, 24, 24] }, {
    heads: 24,
    kvHeads: 24,
    headDim: 128,
    valueDim: 128,
    elem: "f16",
  });
  const { attention } = tiledPlan(given, NVIDIA);
  const launches = attention.rounds.flatMap((round) => round.launches);

  for (const slice of launches) {
    const pairs = attention.tokens.pairs(slice);
    assert(pairs * length(slice.kvHeads) * 256 <= 2 ** 34);
    // no fewer than half: the last cut was needed
    assert(pairs * length(slice.kvHeads) * 256 > 2 ** 32);
  }
  // visible pairs are a lower bound of what the boxes multiply
  assert(launches.length * 2 ** 34 >= 115200 * 18 * 24 * 24 * 24 * 256);
});

/** A random problem, small, on a device with limits so small that everything is cut. */
interface Case {
  problem: NeighborhoodProblem;
  device: PlanDevice;
}

function randomCase(random: Random): Case {
  const rank = random.integer(1, 3);
  const axes = Array.from({ length: rank }, () => {
    const tokens = random.integer(2, [120, 20, 8][rank - 1]);
    const windowSize = random.integer(2, Math.min(tokens, random.pick([3, 7, 30])));
    return {
      tokens,
      windowSize,
      stride: random.integer(1, windowSize),
      dilation: random.integer(1, Math.min(4, Math.floor(tokens / windowSize))),
      causal: random.next() < 0.3,
    };
  });
  const kvHeads = random.integer(1, 3);
  const count = random.pick([0, 0, 0, 5, 77]);
  const alignment = random.pick([32, 256]);
  const pattern = {
    windowSize: axes.map(({ windowSize }) => windowSize),
    stride: axes.map(({ stride }) => stride),
    dilation: axes.map(({ dilation }) => dilation),
    causal: axes.map(({ causal }) => causal),
  };
  const changes = {
    batch: random.integer(1, 3),
    heads: kvHeads * random.integer(1, 2),
    kvHeads,
    headDim: random.pick([4, 7, 8]),
    valueDim: random.pick([4, 6, 8]),
    elem: random.pick(["f32", "f16"] as const),
    lse: random.pick([true, false]),
    copyable: random.pick([true, false]),
    additional: count === 0 ? null : { count },
  };
  const limits = {
    // room for the rows that alignment may add: as many as its bytes
    maxStorageBufferBindingSize: alignment * 8 * 4 + random.pick([4096, 16384, 65536]),
    maxComputeWorkgroupsPerDimension: random.pick([8, 100, 65535]),
    minStorageBufferOffsetAlignment: alignment,
    maxLoopIterations: random.pick([400, 2000, Infinity]),
  };
  const schedule = random.pick([null, "workgroup", "workgroup-16x16-4x4-16", "subgroup"]);
  return {
    problem: problem(axes.map(({ tokens }) => tokens), pattern, changes, schedule),
    device: planDevice(random.pick(["llvmpipe", "nvidia"]), { lanes: 8, ...limits }),
  };
}

/** Cases of a seed whose tiles are boxes. */
function randomCases(seed: number, count: number): (Case & { plan: AttentionPlan })[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => randomCase(random)).flatMap((given) => {
    const plan = planNeighborhood(given.problem, given.device);
    return plan.kind === "tiled" ? [{ ...given, plan: plan.attention }] : [];
  });
}

const allLaunches = (plan: AttentionPlan): Slice[] =>
  plan.rounds.flatMap(({ launches }) => [...launches]);

Deno.test("planNeighborhood() covers every query, head and part exactly once", () => {
  for (const { problem, plan } of randomCases(1, 250)) {
    const { batch, qLen, kvHeads } = problem.attention;
    const { parts, queryStep } = plan.tokens;
    const seen = new Uint8Array(batch * qLen * kvHeads * parts);
    for (const slice of allLaunches(plan)) {
      assertEquals(slice.queries[0] % queryStep, 0, JSON.stringify(problem));
      for (let b = slice.batch[0]; b < slice.batch[1]; b++) {
        for (let t = slice.queries[0]; t < slice.queries[1]; t++) {
          for (let h = slice.kvHeads[0]; h < slice.kvHeads[1]; h++) {
            for (let p = slice.parts[0]; p < slice.parts[1]; p++) {
              seen[((b * qLen + t) * kvHeads + h) * parts + p]++;
            }
          }
        }
      }
    }
    assert(seen.every((count) => count === 1), JSON.stringify(problem));
  }
});

/** The cells of a box in the kernel's order, as offsets from its first. */
function cellsOf([x, y, z]: readonly [number, number, number]): Vector[] {
  return Array.from({ length: x * y * z }, (_, i) => cell(i, [x, y, z]));
}

type Vector = readonly [x: number, y: number, z: number];

function cell(i: number, [, y, z]: Vector): Vector {
  return [Math.floor(i / (y * z)), Math.floor(i / z) % y, i % z];
}

const vector = (of: (axis: number) => number): Vector => [of(0), of(1), of(2)];

/** What a workgroup of the kernel visits, told by parameters alone (kernels/neighborhood). */
interface Visit {
  query: number;
  part: number;
  /** Tokens that the query sees in the part; additional ones from the number of tokens on. */
  keys: number[];
}

/** Walks a launch as the kernel does, and gives what it loads to `onLoad`. */
function walk(
  { problem, plan }: { problem: NeighborhoodProblem; plan: AttentionPlan },
  slice: Slice,
  onLoad: (key: number) => void,
): { visits: Visit[]; tiles: number } {
  const { tokens } = plan;
  const params = tokens.params(slice);
  const config = plan.config.pattern as NeighborhoodConfig;
  const none = { length: 1, windowSize: 1, stride: 1, dilation: 1, causal: false };
  const axes = [0, 1, 2].map((axis) => problem.axes[axis] ?? none);
  const { queryTile, keyTile, masked, parted } = config;
  const [total, keysOfTile] = [product(axes.map((axis) => axis.length)), product(keyTile)];
  const bands: Vector = [1, params.bandsY, params.bandsZ];
  const tokenAt = (place: Vector, residue: Vector): number => {
    const at = vector((i) => place[i] * axes[i].dilation + residue[i]);
    return (at[0] * axes[1].length + at[1]) * axes[2].length + at[2];
  };
  const visits: Visit[] = [];
  let most = 0;
  for (let tile = 0; tile < tokens.queryTiles(slice.queries); tile++) {
    const band = cell(params.tile0 + tile, bands);
    const residue = vector((i) => band[i] % axes[i].dilation);
    const places = vector((i) => groupPlaces(axes[i], residue[i]));
    const first = vector((i) => Math.floor(band[i] / axes[i].dilation) * queryTile[i]);
    const last = vector((i) => Math.min(first[i] + queryTile[i], places[i]) - 1);
    if (first.some((start, i) => start > last[i])) continue;
    const windowAt = (place: Vector) =>
      axes.map((axis, i) => axisWindow(axis, places[i], place[i]));
    const [ofFirst, ofLast] = [windowAt(first), windowAt(last)];
    for (let part = slice.parts[0]; part < slice.parts[1]; part++) {
      const begin = ofFirst.map((window) => window.first);
      const end = ofLast.map((window) => window.last + 1);
      if (parted) {
        begin[0] = Math.max(begin[0], part * params.partPlaces);
        end[0] = Math.max(begin[0], Math.min(end[0], (part + 1) * params.partPlaces));
      }
      const boxes = vector((i) => Math.ceil((end[i] - begin[i]) / keyTile[i]));
      const extraFirst = Math.min(part * params.partAdditional, params.additionalLen);
      const extraEnd = Math.min(extraFirst + params.partAdditional, params.additionalLen);
      most = Math.max(most, product(boxes) + Math.ceil((extraEnd - extraFirst) / keysOfTile));
      const queries = cellsOf(queryTile)
        .map((offset) => vector((i) => first[i] + offset[i]))
        .filter((place) => place.every((x, i) => x <= last[i]))
        .map((place) => {
          const visit: Visit = { query: tokenAt(place, residue), part, keys: [] };
          visits.push(visit);
          return { visit, windows: windowAt(place) };
        });
      for (const box of cellsOf(boxes)) {
        const start = vector((i) => begin[i] + box[i] * keyTile[i]);
        for (const offset of cellsOf(keyTile)) {
          const place = vector((i) => start[i] + offset[i]);
          onLoad(tokenAt(vector((i) => Math.min(place[i], end[i] - 1)), residue));
          for (const { visit, windows } of queries) {
            const inside = windows.every(({ first, last }, i) =>
              !masked[i] || (place[i] >= first && place[i] <= last)
            );
            if (inside && (!parted || place[0] < end[0])) {
              visit.keys.push(tokenAt(place, residue));
            }
          }
        }
      }
      for (let e = extraFirst; e < extraEnd; e++) {
        onLoad(total + e);
        for (const { visit } of queries) visit.keys.push(total + e);
      }
    }
  }
  return { visits, tiles: most };
}

/** The tokens that a query sees by the definition, additional ones last. */
function neighborhood({ axes, attention }: NeighborhoodProblem, query: number): number[] {
  let keys = [0];
  let inner = attention.qLen;
  for (const axis of axes) {
    inner /= axis.length;
    const seen = visibleKeys(axis, Math.floor(query / inner) % axis.length);
    keys = keys.flatMap((key) => seen.map((place) => key + place * inner));
  }
  const count = attention.additional?.count ?? 0;
  return [...keys, ...Array.from({ length: count }, (_, e) => attention.qLen + e)];
}

Deno.test("planNeighborhood() shows every query each of its keys in exactly one part", () => {
  let parted = 0;
  for (const given of randomCases(2, 300)) {
    const { problem, plan } = given;
    const where = JSON.stringify(given.problem);
    const { qLen } = problem.attention;
    const seen = Array.from({ length: qLen }, (): number[] => []);
    const walked = new Set<string>();
    for (const slice of allLaunches(plan)) {
      const name = JSON.stringify([slice.queries, slice.parts]);
      if (walked.has(name)) continue;
      walked.add(name);
      const [keys, additional] = [plan.tokens.keys(slice), plan.tokens.additional(slice)];
      const queries = new Set<number>();
      const { visits } = walk(given, slice, (key) => {
        const [first, end] = key < qLen ? keys : additional.map((e) => qLen + e);
        assert(key >= first && key < end, `${key} is not in [${first}, ${end}) of ${where}`);
      });
      for (const { query, keys } of visits) {
        queries.add(query);
        seen[query].push(...keys);
      }
      const [first, end] = slice.queries;
      assertEquals(queries.size, end - first, where);
      assert([...queries].every((query) => query >= first && query < end), where);
    }
    seen.forEach((keys, query) => {
      const expected = neighborhood(problem, query);
      assertEquals(keys.length, expected.length, `query ${query} of ${where}`);
      assertEquals(new Set(keys), new Set(expected), `query ${query} of ${where}`);
    });
    parted += Number(plan.tokens.parts > 1);
  }
  assert(parted > 20, `${parted} cases had parts`);
});

/** What planned work asks of the device: its dispatches, and the scratch that they need. */
function dryRun({ problem, device, plan }: Case & { plan: AttentionPlan }) {
  const { batch, qLen, heads, kvHeads, headDim, valueDim, elem, additional, lse } =
    problem.attention;
  const { operation, launches, scratch } = dryRunOf();
  const [queries, keys] = [batch * qLen * heads, batch * qLen * kvHeads];
  const extra = batch * (additional?.count ?? 0) * kvHeads;
  launchAttention(operation, {
    problem: problem.attention,
    plan,
    tensors: {
      q: dryTensor(elem, queries, headDim),
      k: dryTensor(elem, keys, headDim),
      v: dryTensor(elem, keys, valueDim),
      additional: additional &&
        { keys: dryTensor(elem, extra, headDim), values: dryTensor(elem, extra, valueDim) },
      bias: null,
      sinks: null,
      gates: null,
      out: dryTensor(elem, queries, valueDim),
      lse: lse ? dryTensor("f32", queries, 1) : null,
      keys: {},
      hooks: { tensors: [], numbers: [] },
    },
    alignment: device.limits.minStorageBufferOffsetAlignment,
  });
  return { launches, scratch };
}

Deno.test("planNeighborhood() keeps every dispatch and binding within the limits", () => {
  const kept = { cut: 0, smallest: 0, launches: 0 };
  for (const given of randomCases(3, 300)) {
    const { problem, plan, device: { limits } } = given;
    const { tokens, schedule } = plan;
    const { maxStorageBufferBindingSize: largest, maxComputeWorkgroupsPerDimension: groups } =
      limits;
    const step = (slice: Slice): boolean =>
      length(slice.batch) === 1 && length(slice.queries) <= tokens.queryStep;
    const where = JSON.stringify(given.problem);
    const { launches, scratch } = dryRun(given);
    kept.cut += Number(launches.length > 2);
    const merges = launches.filter(({ program }) => program.label === "attention (merge)");
    const tiled = launches.filter((launch) => !merges.includes(launch));
    const slices = plan.rounds.flatMap((round) =>
      round.launches.map((slice) => ({ slice, rows: round.rows }))
    );
    assertEquals(tiled.length, slices.length);
    for (const [at, { grid, resources }] of tiled.entries()) {
      const { slice, rows } = slices[at];
      const sizes = Object.entries(resources).flatMap(([name, resource]) => {
        if (!("buffer" in resource)) return [];
        const { buffer, offset = 0, size = buffer.size }: BufferRange = resource;
        assertEquals(offset % limits.minStorageBufferOffsetAlignment, 0, `${name} of ${where}`);
        assertEquals(size % 4, 0, `${name} of ${where}`);
        assert(offset + size <= buffer.size, `${name} of ${where}`);
        return [{ name, size }];
      });
      const tooLarge = sizes.filter(({ size }) => size > largest).map(({ name }) => name);
      // rows of q and out are cut between rounds, what is read and the grid between launches
      const inputs = tooLarge.filter((name) => name !== "out" && name !== "lse" && name !== "q");
      const smallest = step(slice) && length(slice.parts) === 1 && length(slice.kvHeads) === 1;
      if (tooLarge.length > 0) assert(step(rows), `${tooLarge} of ${where}`);
      if (Math.max(...grid) > groups) assert(smallest, `${grid} of ${where}`);
      assertEquals(inputs, [], where);
      kept.launches++;
      kept.smallest += Number(tooLarge.length > 0 || Math.max(...grid) > groups);
    }
    if (plan.rounds.every(({ rows }) => !step(rows))) {
      assert(scratch.every((bytes) => bytes <= largest), `${scratch} of ${where}`);
      assert(merges.every(({ grid }) => grid[0] <= groups), where);
    }
    // a tenth of the iterations is kept for the rest of the kernel
    const most = tilesOfLoop(schedule, problem.attention, limits) / 0.9;
    const { tiles } = walk(given, { ...whole(problem), parts: [0, tokens.parts] }, () => {});
    const single = tokens.params(slices[0].slice).partPlaces === 1;
    assert(tiles <= most || single, `${tiles} > ${most} tiles in ${where}`);
  }
  assert(kept.cut > 40, JSON.stringify(kept));
  assert(kept.smallest < 0.4 * kept.launches, JSON.stringify(kept));
});
