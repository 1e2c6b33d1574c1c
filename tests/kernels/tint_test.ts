import { type HooksConfig, NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { type WeightConfig, WEIGHTS } from "../../kernels/attention/weights.ts";
import { assert, assertEquals } from "@std/assert";
import { create } from "npm:webgpu@0.6.2";
import type { Program } from "../../gpu/program.ts";
import type { CacheConfig } from "../../kernels/attention/cache.ts";
import type { AttentionConfig } from "../../kernels/attention/config.ts";
import { mergeParts } from "../../kernels/attention/merge.ts";
import { mergePair } from "../../kernels/attention/merge_pair.ts";
import { naiveAttention } from "../../kernels/attention/naive.ts";
import type { PatternConfig } from "../../kernels/attention/pattern.ts";
import { splitAttention, type SplitTile } from "../../kernels/attention/split.ts";
import { subgroupAttention } from "../../kernels/attention/subgroup.ts";
import { workgroupAttention, type WorkgroupTile } from "../../kernels/attention/workgroup.ts";
import { blockLists } from "../../kernels/block_map/lists.ts";
import { blockMarks } from "../../kernels/block_map/marks.ts";
import { blockStates } from "../../kernels/block_map/states.ts";
import { laneScores } from "../../kernels/centroids/lanes.ts";
import { centroidRound } from "../../kernels/centroids/rounds.ts";
import { centroidScores } from "../../kernels/centroids/scores.ts";
import { causalConv, type CausalConvConfig } from "../../kernels/conv/causal.ts";
import { logLinearCount } from "../../kernels/log_linear/count.ts";
import { logLinearEntry } from "../../kernels/log_linear/entry.ts";
import { logLinearFinal } from "../../kernels/log_linear/final.ts";
import { naiveLogLinear } from "../../kernels/log_linear/naive.ts";
import { logLinearOutputs } from "../../kernels/log_linear/outputs.ts";
import { logLinearScores } from "../../kernels/log_linear/scores.ts";
import { logLinearStates } from "../../kernels/log_linear/states.ts";
import { logLinearStep } from "../../kernels/log_linear/step.ts";
import { logLinearTree } from "../../kernels/log_linear/tree.ts";
import type { FastConfig, Rule } from "../../kernels/fast_weights/config.ts";
import { naiveFastWeights } from "../../kernels/fast_weights/naive.ts";
import { fastWalk } from "../../kernels/fast_weights/walk.ts";
import { hashCodes } from "../../kernels/hash/codes.ts";
import { type HookType, parseHook } from "../../kernels/hooks/hook.ts";
import { naiveNeighborhood } from "../../kernels/neighborhood/naive.ts";
import type { NeighborhoodConfig } from "../../kernels/neighborhood/pattern.ts";
import { appendTokens } from "../../kernels/cache/append.ts";
import { keepTokens } from "../../kernels/cache/keep.ts";
import { lengthen } from "../../kernels/cache/lengthen.ts";
import { countOutside } from "../../kernels/cache/outside.ts";
import { poolBlocks } from "../../kernels/pool/tokens.ts";
import { type CarryConfig, recurrenceCarry } from "../../kernels/recurrence/carry.ts";
import { recurrenceCarryMatrix } from "../../kernels/recurrence/carry_matrix.ts";
import type { RecurrenceConfig } from "../../kernels/recurrence/config.ts";
import { type HedgehogConfig, hedgehogFeatures } from "../../kernels/recurrence/hedgehog.ts";
import { hedgehogByLanes } from "../../kernels/recurrence/hedgehog_lanes.ts";
import { hasBlocks } from "../../kernels/recurrence/blocks.ts";
import { type LoopTile, recurrenceLoop } from "../../kernels/recurrence/loop.ts";
import { naiveRecurrence, type NaiveRecurrenceConfig } from "../../kernels/recurrence/naive.ts";
import { seriesTile } from "../../kernels/recurrence/series.ts";
import { recurrenceStep, type StepKernelConfig } from "../../kernels/recurrence/step.ts";
import type { StepTile } from "../../kernels/recurrence/step_exchange.ts";
import type { LoopPass } from "../../kernels/recurrence/pass.ts";
import { rope } from "../../kernels/rope/rope.ts";
import { ropeTurns } from "../../kernels/rope/turns.ts";
import { scanCarry } from "../../kernels/scan/carry.ts";
import { ELEMENTS, type ScanKind } from "../../kernels/scan/element.ts";
import { scanStates } from "../../kernels/scan/states.ts";
import { scanWalk } from "../../kernels/scan/walk.ts";
import { sortDigits } from "../../kernels/select/digits.ts";
import { gatherRows } from "../../kernels/select/gather.ts";
import { invertIndices } from "../../kernels/select/invert.ts";
import { selectRows } from "../../kernels/select/rows.ts";
import { sortedPlaces, sortPairs, sortTile } from "../../kernels/select/sort.ts";
import { selectiveCarry } from "../../kernels/selective_scan/carry.ts";
import type { SelectiveConfig } from "../../kernels/selective_scan/config.ts";
import { naiveSelective } from "../../kernels/selective_scan/naive.ts";
import { selectivePairs } from "../../kernels/selective_scan/pairs.ts";
import { selectiveWalk } from "../../kernels/selective_scan/walk.ts";
import { blockMax } from "../../kernels/statistics/block_max.ts";
import { columnSums } from "../../kernels/statistics/columns.ts";
import type { StatisticsConfig } from "../../kernels/statistics/config.ts";
import { diagonalSums } from "../../kernels/statistics/diagonals.ts";
import { joinDiagonals } from "../../kernels/statistics/join_diagonals.ts";
import { rowStatistics } from "../../kernels/statistics/rows.ts";
import { expressionShader } from "./hook_expressions.ts";

const RULES = ["softmax", "sum", "plain", "stick"] as const;

// Dawn's null back end: Chrome's compiler without a GPU. The process crashes if the object that
// create() returns is collected, so it stays in this variable.
const dawn: GPU = create(["backend=null"]);
const device = await openDawn();

async function openDawn(): Promise<GPUDevice> {
  const adapter = await dawn.requestAdapter();
  assert(adapter !== null);
  return await adapter.requestDevice({
    requiredFeatures: ["subgroups" as GPUFeatureName].filter((name) => adapter.features.has(name)),
  });
}

/** What Tint says against the text of a program: errors and warnings, none if it is well. */
async function complaints({ code, label, subgroups }: Program): Promise<string[]> {
  device.pushErrorScope("validation");
  const enable = subgroups ? "enable subgroups; " : "";
  const module = device.createShaderModule({ label, code: enable + code });
  const { messages } = await module.getCompilationInfo();
  const error = await device.popErrorScope();
  const texts = [...messages].map(({ lineNum, message }) => `${label}:${lineNum}: ${message}`);
  return error === null || texts.length > 0 ? texts : [`${label}: ${error.message}`];
}

async function assertCompiles(programs: readonly Program[]): Promise<void> {
  for (const program of programs) assertEquals(await complaints(program), []);
}

const BASE: AttentionConfig = {
  elem: "f32",
  outElem: "f32",
  headDim: 8,
  valueDim: 16,
  pattern: { kind: "band", banded: false, descending: false, hooked: false },
  softcap: false,
  bias: null,
  sinks: null,
  gates: null,
  weight: WEIGHTS.softmax,
  hooks: NO_HOOKS,
  lse: false,
  source: "buffer",
};

/** Each option alone, all of them together, and a partial result. */
const OPTIONS: readonly Partial<AttentionConfig>[] = [
  {},
  { pattern: { kind: "band", banded: true, descending: false, hooked: false } },
  { softcap: true },
  { bias: "f32" },
  { bias: "f16" },
  { sinks: "f32" },
  { sinks: "f16" },
  { lse: true },
  {
    pattern: { kind: "band", banded: true, descending: false, hooked: false },
    softcap: true,
    bias: "f16",
    sinks: "f32",
    gates: null,
    lse: true,
  },
];

/** Storage and dims: whole vec4s from buffers and textures, and rows that fill none. */
const STORAGE: readonly Partial<AttentionConfig>[] = [
  {},
  { source: "texture" },
  { headDim: 7, valueDim: 5 },
  { elem: "f16", outElem: "f16" },
  { elem: "f16", outElem: "f16", source: "texture" },
  { elem: "f16", outElem: "f16", headDim: 7, valueDim: 5 },
  { elem: "f16", outElem: "f32", lse: true },
  { elem: "f16", outElem: "f32", lse: true, headDim: 6, valueDim: 1 },
];

const CONFIGS: readonly AttentionConfig[] = STORAGE.flatMap((storage) =>
  OPTIONS.map((options) => ({ ...BASE, ...storage, ...options }))
);
const BUFFERS: readonly AttentionConfig[] = CONFIGS.filter(({ source }) => source === "buffer");
const EVERYTHING: AttentionConfig = { ...BASE, ...OPTIONS[8], headDim: 64, valueDim: 64 };

/** Boxes of 8 queries and 4 keys; compilers do not ask whether a tile holds as many. */
const NEIGHBORHOOD: NeighborhoodConfig = {
  kind: "neighborhood",
  causal: [false, false, false],
  strided: false,
  dilated: true,
  queryTile: [2, 4, 1],
  keyTile: [2, 2, 1],
  masked: [true, true, false],
  parted: false,
  additional: false,
};
const NEIGHBORHOODS: readonly NeighborhoodConfig[] = [
  NEIGHBORHOOD,
  { ...NEIGHBORHOOD, queryTile: [8, 1, 1], keyTile: [4, 1, 1], masked: [true, false, false] },
  { ...NEIGHBORHOOD, queryTile: [1, 2, 4], keyTile: [1, 4, 1], masked: [true, true, true] },
  { ...NEIGHBORHOOD, masked: [false, false, false] },
  { ...NEIGHBORHOOD, masked: [false, false, false], strided: true, additional: true },
  { ...NEIGHBORHOOD, strided: true },
  { ...NEIGHBORHOOD, causal: [true, false, false] },
  { ...NEIGHBORHOOD, causal: [true, true, true], masked: [true, true, true], strided: true },
  { ...NEIGHBORHOOD, parted: true },
  { ...NEIGHBORHOOD, additional: true },
  { ...NEIGHBORHOOD, causal: [true, false, false], strided: true, parted: true, additional: true },
];

/** Each neighborhood alone, and the last in every storage. */
const NEIGHBORHOOD_CONFIGS: readonly AttentionConfig[] = [
  ...NEIGHBORHOODS.map((pattern) => ({ ...BASE, pattern })),
  ...STORAGE.map((storage) => ({
    ...BASE,
    ...storage,
    pattern: NEIGHBORHOODS[NEIGHBORHOODS.length - 1],
    lse: true,
  })),
];

const TILE: WorkgroupTile = { blockQ: 16, blockKv: 16, rows: 4, cols: 4, depth: 16 };

function plain(label: string, code: string): Program {
  return { label, code, bindings: [], params: {}, subgroups: false };
}

Deno.test("complaints() tells of a barrier in non-uniform control flow", async () => {
  const found = await complaints(plain(
    "a barrier",
    `@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {
  if i < 2u { workgroupBarrier(); }
}`,
  ));

  assert(found[0].startsWith("a barrier:2: "), found[0]);
  assert(found[0].includes("must only be called from uniform control flow"), found[0]);
});

Deno.test("complaints() tells of a broadcast in non-uniform control flow", async () => {
  const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {
  if out[i] == 0u { out[i] = subgroupBroadcast(i, 0u); }
}`;
  const found = await complaints({ ...plain("a broadcast", code), subgroups: true });

  assert(found[0]?.includes("must only be called from"), found[0]);
});

Deno.test("complaints() tells of wrong text, and nothing of right text", async () => {
  const right = "@compute @workgroup_size(1) fn main() {}";

  assertEquals(await complaints(plain("a word", "fn main() {\n  nothing();\n}")), [
    "a word:2: unresolved call target 'nothing'",
  ]);
  assertEquals(await complaints(plain("well", right)), []);
});

Deno.test("subgroupAttention() compiles under Tint with every option and storage", async () => {
  for (const exchange of ["broadcast", "shuffle"] as const) {
    await assertCompiles(
      CONFIGS.map((config) => subgroupAttention({ ...config, lanes: 4, rows: 2, exchange })),
    );
  }
});

Deno.test("subgroupAttention() compiles under Tint with every number of lanes", async () => {
  for (const lanes of [4, 8, 16, 32, 64]) {
    for (const exchange of ["broadcast", "shuffle"] as const) {
      const config = { ...BASE, ...OPTIONS[8], lanes, exchange };
      await assertCompiles([1, 3].map((rows) => subgroupAttention({ ...config, rows })));
    }
  }
  await assertCompiles([
    subgroupAttention({ ...EVERYTHING, lanes: 8, rows: 4, exchange: "broadcast" }),
  ]);
});

Deno.test("workgroupAttention() compiles under Tint with every option and storage", async () => {
  await assertCompiles(BUFFERS.map((config) => workgroupAttention({ ...config, ...TILE })));
});

Deno.test("workgroupAttention() compiles under Tint with every tile", async () => {
  const tiles: readonly WorkgroupTile[] = [
    { blockQ: 64, blockKv: 64, rows: 8, cols: 8, depth: 16 },
    { blockQ: 64, blockKv: 64, rows: 4, cols: 4, depth: 16 },
    { blockQ: 64, blockKv: 64, rows: 8, cols: 4, depth: 16 },
    { blockQ: 128, blockKv: 32, rows: 8, cols: 4, depth: 16 },
    { blockQ: 32, blockKv: 64, rows: 4, cols: 4, depth: 16 },
    { blockQ: 32, blockKv: 32, rows: 4, cols: 4, depth: 32 },
    { blockQ: 16, blockKv: 32, rows: 4, cols: 4, depth: 16 },
  ];

  await assertCompiles(tiles.map((tile) => workgroupAttention({ ...EVERYTHING, ...tile })));
});

const SPLITS: readonly SplitTile[] = [
  { threads: 8, rows: 2, exchange: "lanes" },
  { threads: 8, rows: 2, exchange: "memory" },
];

Deno.test("splitAttention() compiles under Tint with every option and storage", async () => {
  await assertCompiles(
    CONFIGS.flatMap((config) => SPLITS.map((tile) => splitAttention({ ...config, ...tile }))),
  );
  await assertCompiles(
    [8, 16, 64].flatMap((threads) =>
      SPLITS.map((tile) => splitAttention({ ...EVERYTHING, ...tile, threads, rows: 4 }))
    ),
  );
});

Deno.test("mergeParts() compiles under Tint for every rule", async () => {
  for (const rule of RULES) {
    for (const outElem of ["f32", "f16"] as const) {
      await assertCompiles(
        [1, 6, 64].flatMap((valueDim) =>
          [true, false].map((lse) =>
            mergeParts({ outElem, valueDim, lse: lse && rule !== "plain", rule })
          )
        ),
      );
    }
  }
});

Deno.test("mergePair() compiles under Tint for every rule and coefficient", async () => {
  const sources = ["none", "number", "rows", "heads"] as const;
  for (const rule of RULES) {
    for (const elem of ["f32", "f16"] as const) {
      const renormalizable = rule === "softmax" || rule === "sum";
      const programs = [1, 6, 64].flatMap((valueDim) =>
        sources.map((coefficient, n) =>
          mergePair({
            one: { elem, coefficient, source: n % 2 === 0 ? "buffer" : "texture" },
            other: {
              elem: "f16",
              coefficient: sources[3 - n],
              source: n < 2 ? "buffer" : "texture",
            },
            ...{ outElem: elem, valueDim, rule },
            renormalize: renormalizable && n > 0,
          })
        )
      );
      await assertCompiles(programs);
    }
  }
});

Deno.test("naiveAttention() compiles under Tint with every option and storage", async () => {
  await assertCompiles(BUFFERS.flatMap((config) => Object.values(naiveAttention(config))));
});

const BANDED_PATTERN = { kind: "band", banded: true, descending: false, hooked: false } as const;
const DESCENT = { descending: false } as const;
const PACKED = { kind: "segments", banded: false, bottomRight: false, hooked: false } as const;
const ROWS_OF_CACHE: CacheConfig = {
  ...{ kind: "cache", layout: "rows", pageSize: 1, lengths: true, banded: false, hooked: false },
  ...DESCENT,
};

/** Keys elsewhere than in a row: blocks, packed sequences, and caches in three layouts. */
const KEY_PATTERNS: readonly PatternConfig[] = [
  { kind: "blocks", queryBlock: 64, keyBlock: 64, ...DESCENT },
  { kind: "blocks", queryBlock: 1, keyBlock: 24, descending: true },
  { ...PACKED, ...DESCENT },
  { ...PACKED, banded: true, bottomRight: true, descending: true, hooked: true },
  ROWS_OF_CACHE,
  { ...ROWS_OF_CACHE, layout: "pages", pageSize: 16, lengths: false, banded: true },
  { ...ROWS_OF_CACHE, layout: "pages", banded: true, hooked: true, descending: true },
  { ...ROWS_OF_CACHE, layout: "tokens", hooked: true },
];

const TABLES: HooksConfig["tensors"] = [
  { name: "slope", type: "f32", packed: false, rank: 1 },
  { name: "table", type: "f32", packed: true, rank: 2 },
  { name: "offset", type: "i32", packed: false, rank: 3 },
  { name: "count", type: "u32", packed: false, rank: 4 },
];

/** The body of a hook that reads tables of each type, and numbers. */
function bodyOf(name: string, code: string, result: HookType): string {
  const place = { b: "i32", h: "i32", i: "i32", j: "i32", tau: "f32", params: "f32" } as const;
  return parseHook(code, {
    ...{ name, result, inputs: Object.fromEntries(TABLES.map((table) => [table.name, table])) },
    variables: { ...(name !== "mask" && { s: "f32" }), ...(name !== "weight" && place) },
  }).code;
}

const HOOKS: HooksConfig = {
  scores: [
    bodyOf("score", "let d = i - j; s * tau - slope(h) * table(h, d) * tanh(f32(d))", "f32"),
    bodyOf("score", "select(s, params, count(b, h, i, j) > 3)", "f32"),
  ],
  masks: [
    bodyOf("mask", "j <= i + offset(b, h, i / 2)", "bool"),
    bodyOf("mask", "f32(j) < tau || table(h, j) > 0.5", "bool"),
  ],
  tensors: TABLES,
  numbers: ["params", "tau"],
};

const SQUARED: WeightConfig = {
  ...{ rule: "sum", body: bodyOf("weight", "let x = tanh(s); x * x", "f32"), binary: false },
};

/** Every weight plain, hooked and in half precision; every pattern of keys plain and hooked. */
const PROGRAMMABLE: readonly AttentionConfig[] = [
  ...[...Object.values(WEIGHTS), SQUARED].flatMap((weight): Partial<AttentionConfig>[] => [
    { weight },
    { weight, hooks: HOOKS, bias: "f16", softcap: true },
    { weight, elem: "f16", outElem: "f16", pattern: BANDED_PATTERN },
  ]),
  ...KEY_PATTERNS.flatMap((pattern): Partial<AttentionConfig>[] => [
    { pattern },
    { pattern, hooks: HOOKS, source: "texture" },
    { pattern, weight: WEIGHTS.stickBreaking },
  ]),
].map((changes) => ({
  ...{ ...BASE, ...changes },
  lse: changes.weight?.rule !== "plain",
}));

Deno.test("subgroupAttention() compiles under Tint with every weight, hook and place of keys", async () => {
  for (const exchange of ["broadcast", "shuffle"] as const) {
    await assertCompiles(
      PROGRAMMABLE.map((config) => subgroupAttention({ ...config, lanes: 4, rows: 2, exchange })),
    );
  }
});

Deno.test("workgroupAttention() compiles under Tint with every weight, hook and place of keys", async () => {
  const configs = PROGRAMMABLE.map((config) => ({ ...config, source: "buffer" }) as const);

  await assertCompiles(configs.map((config) => workgroupAttention({ ...config, ...TILE })));
});

Deno.test("splitAttention() compiles under Tint with every weight, hook and place of keys", async () => {
  const configs = PROGRAMMABLE.filter(({ weight }) => weight.rule !== "stick");

  await assertCompiles(
    configs.flatMap((config) => SPLITS.map((tile) => splitAttention({ ...config, ...tile }))),
  );
});

Deno.test("naiveAttention() compiles under Tint with every weight and hook", async () => {
  const configs = PROGRAMMABLE.filter(({ pattern }) => pattern.kind === "band");

  await assertCompiles(configs.flatMap((config) => Object.values(naiveAttention(config))));
});

Deno.test("block maps compile under Tint from masks, matrices and indices", async () => {
  const sizes = { queryBlock: 16, keyBlock: 24 };
  const flags = [false, true];

  await assertCompiles([
    blockLists(),
    blockStates({ ...sizes, hooks: { ...HOOKS, scores: [] } }),
    blockStates({ ...sizes, hooks: { ...NO_HOOKS, masks: [bodyOf("mask", "j <= i", "bool")] } }),
    ...(["clear", "mark"] as const).flatMap((pass) =>
      flags.flatMap((indices) => flags.map((partial) => blockMarks({ pass, indices, partial })))
    ),
  ]);
});

Deno.test("subgroupAttention() compiles under Tint with every neighborhood", async () => {
  for (const exchange of ["broadcast", "shuffle"] as const) {
    await assertCompiles(
      NEIGHBORHOOD_CONFIGS.map((config) =>
        subgroupAttention({ ...config, lanes: 4, rows: 2, exchange })
      ),
    );
  }
});

Deno.test("workgroupAttention() compiles under Tint with every neighborhood", async () => {
  const buffers = NEIGHBORHOOD_CONFIGS.filter(({ source }) => source === "buffer");

  await assertCompiles(buffers.map((config) => workgroupAttention({ ...config, ...TILE })));
});

Deno.test("naiveNeighborhood() compiles under Tint with every window and storage", async () => {
  const windows = NEIGHBORHOODS.map(({ causal, strided, dilated }) => ({
    causal,
    strided,
    dilated,
  }));
  const storage = [
    { elem: "f32", headDim: 8, valueDim: 16 },
    { elem: "f16", headDim: 8, valueDim: 16 },
    { elem: "f16", headDim: 7, valueDim: 5 },
  ] as const;

  for (const additional of [false, true]) {
    for (const lse of [false, true]) {
      const configs = [
        ...windows.map((window) => ({ ...window, ...storage[0] })),
        ...storage.map((dims) => ({ ...windows[0], ...dims })),
      ];
      await assertCompiles(
        configs.flatMap((config) =>
          Object.values(naiveNeighborhood({ ...config, additional, lse }))
        ),
      );
    }
  }
});

const QKV = { q: "f32", k: "f32", v: "f32" } as const;

const RECURRENCE: RecurrenceConfig = {
  inputs: QKV,
  elem: "f32",
  dim: 8,
  keyDim: 8,
  valueDim: 12,
  group: 1,
  gate: "none",
  featureMap: "identity",
  gateForm: "log",
  erase: "none",
  betaForm: "plain",
  l2norm: false,
  substeps: 1,
  softplus: false,
  normalize: false,
  divisor: "sum",
  reverse: false,
  valueFirst: false,
  source: "buffer",
};

/** Each option alone. */
const RECURRENCE_OPTIONS: readonly Partial<RecurrenceConfig>[] = [
  {},
  { gate: "head", inputs: { ...QKV, headGate: "f32" } },
  { gate: "token", inputs: { ...QKV, g: "f32" } },
  { gate: "channel", inputs: { ...QKV, gk: "f32" } },
  { gate: "forget" },
  { gate: "forget", inputs: { ...QKV, lowerBounds: "f16" } },
  {
    ...{ gate: "step", softplus: true },
    inputs: { ...QKV, g: "f32", rates: "f32", stepBias: "f16", skip: "f32", outGate: "f32" },
  },
  { gate: "step", inputs: { ...QKV, g: "f16", rates: "f16", skipRows: "f16" } },
  { inputs: { ...QKV, gv: "f32" } },
  { inputs: { ...QKV, u: "f32" } },
  { normalize: true },
  { inputs: { ...QKV, keyWeights: "f16" }, featureMap: "elu1" },
  {
    ...{ gate: "token", normalize: true, divisor: "magnitude" },
    inputs: { ...QKV, g: "f32", keyWeights: "f32" },
  },
  { reverse: true, valueFirst: true, group: 2 },
  { erase: "late", inputs: { ...QKV, beta: "f32" }, l2norm: true, betaForm: "twice" },
  {
    ...{ erase: "early", gate: "token", gateForm: "softplus" },
    inputs: { ...QKV, beta: "f16", p: "f32", g: "f32", aLog: "f32", gateBias: "f16" },
  },
  {
    ...{ erase: "late", gate: "channel", gateForm: "bounded" },
    inputs: {
      ...QKV,
      gk: "f32",
      aLog: "f32",
      gateBiasRows: "f32",
      eraseGate: "f32",
      writeGate: "f16",
    },
  },
  { erase: "pair", inputs: { ...QKV, p: "f32", b: "f32" } },
  { erase: "late", inputs: { ...QKV, beta: "f32", g: "f32" }, gate: "token", substeps: 3 },
];

/** All options together, in f16. */
const EVERY_RECURRENCE: Partial<RecurrenceConfig> = {
  inputs: { q: "f16", k: "f16", v: "f16", gk: "f16", gv: "f16", u: "f16" },
  ...{ elem: "f16", gate: "channel" },
  ...{ group: 2, normalize: true, reverse: true, valueFirst: true },
};

/** Whole vec4s from buffers and textures, and rows that fill none. */
const RECURRENCES: readonly RecurrenceConfig[] = [
  ...[...RECURRENCE_OPTIONS, EVERY_RECURRENCE].flatMap((options) => [
    { ...RECURRENCE, ...options },
    { ...RECURRENCE, ...options, dim: 7, keyDim: 7, valueDim: 5 },
  ]),
  { ...RECURRENCE, featureMap: "taylor2", dim: 5, keyDim: 21, normalize: true },
  { ...RECURRENCE, featureMap: "one", keyDim: 1 },
  { ...RECURRENCE, source: "texture" },
  { ...RECURRENCE, ...EVERY_RECURRENCE, source: "texture" },
];

const PASSES: readonly LoopPass[] = [
  {
    initial: false,
    final: false,
    outputs: true,
    decays: false,
    writes: true,
    center: false,
    identity: false,
    series: false,
  },
  {
    initial: true,
    final: true,
    outputs: true,
    decays: false,
    writes: true,
    center: false,
    identity: false,
    series: false,
  },
  {
    initial: true,
    final: false,
    outputs: true,
    decays: false,
    writes: true,
    center: false,
    identity: false,
    series: false,
  },
  {
    initial: false,
    final: true,
    outputs: false,
    decays: true,
    writes: true,
    center: false,
    identity: false,
    series: false,
  },
  {
    initial: true,
    final: false,
    outputs: true,
    decays: false,
    writes: false,
    center: false,
    identity: false,
    series: false,
  },
  {
    initial: true,
    final: false,
    outputs: true,
    decays: false,
    writes: false,
    center: true,
    identity: false,
    series: false,
  },
];

const LOOP_TILES: readonly LoopTile[] = [
  { exchange: "subgroup", lanes: 8, columns: 1, own: 4, tokens: 8 },
  { exchange: "subgroup", lanes: 32, columns: 2, own: 4, tokens: 32 },
  { exchange: "broadcast", lanes: 8, columns: 1, own: 4, tokens: 8 },
  { exchange: "broadcast", lanes: 16, columns: 1, own: 4, tokens: 2 },
  { exchange: "workgroup", lanes: 8, columns: 1, own: 4, tokens: 8 },
  { exchange: "workgroup", lanes: 64, columns: 1, own: 4, tokens: 3 },
  { exchange: "workgroup", lanes: 16, columns: 1, own: 1, tokens: 8 },
  { exchange: "blocks", lanes: 8, columns: 1, own: 4, tokens: 8 },
];

for (const tile of LOOP_TILES) {
  const name = `${tile.exchange}-${tile.lanes}x${tile.columns}x${tile.own}`;
  Deno.test(`recurrenceLoop() compiles under Tint with every option and pass, ${name}`, async () => {
    await assertCompiles(
      RECURRENCES
        .filter((config) => tile.exchange !== "blocks" || hasBlocks(config))
        .flatMap((config) => PASSES.map((pass) => recurrenceLoop({ ...config, ...tile, ...pass }))),
    );
  });
}

Deno.test("recurrenceLoop() compiles under Tint by series, with every exchange and storage", async () => {
  const pass = { ...PASSES[2], series: true };
  const taylor: Partial<RecurrenceConfig> = { featureMap: "taylor2", dim: 5, keyDim: 21 };
  const f16 = { elem: "f16", inputs: { q: "f16", k: "f16", v: "f16" } } as const;
  const configs: readonly RecurrenceConfig[] = [
    { ...RECURRENCE, ...taylor, normalize: true },
    { ...RECURRENCE, ...taylor, ...f16, group: 2, reverse: true, valueDim: 5 },
    { ...RECURRENCE, ...taylor, dim: 16, keyDim: 153, normalize: true, source: "texture" },
  ];
  await assertCompiles(
    LOOP_TILES.flatMap((tile) =>
      configs.map((config) =>
        recurrenceLoop({ ...config, ...seriesTile(tile, config.valueDim), ...pass })
      )
    ),
  );
});

Deno.test("recurrenceCarryMatrix() compiles under Tint", async () => {
  const sides = [[false, false], [true, false], [false, true], [true, true]];

  await assertCompiles(
    sides.flatMap(([initial, final]) =>
      [true, false].map((valueFirst) =>
        recurrenceCarryMatrix({ keyDim: 7, valueDim: 5, initial, final, valueFirst })
      )
    ),
  );
});

Deno.test("recurrenceCarry() compiles under Tint", async () => {
  const sides = [[false, false], [true, false], [false, true], [true, true]];
  const configs = sides.flatMap(([a, b]) =>
    sides.map(([initial, final]): CarryConfig => ({
      ...{ keyDim: 7, valueDim: a ? 5 : 1, gated: a, valueGated: b, initial, final, valueFirst: b },
    }))
  );

  await assertCompiles(configs.map(recurrenceCarry));
});

/** Ways to lay a step out, by their names. */
const STEPS: Readonly<Record<string, StepTile & Pick<StepKernelConfig, "stateSource">>> = {
  workgroup: { exchange: "workgroup", lanes: 8, stateSource: "buffer" },
  shuffle: { exchange: "shuffle", lanes: 8, stateSource: "buffer" },
  "shuffle from texels": { exchange: "shuffle", lanes: 4, stateSource: "texture" },
  "broadcast from texels": { exchange: "broadcast", lanes: 16, stateSource: "texture" },
};

/** Walks that know no more of their layout than what is computed, by their names. */
const PLAIN_STEPS: Readonly<Record<string, (config: NaiveRecurrenceConfig) => Program>> = {
  "naiveRecurrence()": naiveRecurrence,
  ...Object.fromEntries(
    Object.entries(STEPS).map(([name, tile]) => [
      `recurrenceStep() by ${name}`,
      (config: NaiveRecurrenceConfig): Program => recurrenceStep({ ...config, ...tile }),
    ]),
  ),
};

for (const [name, make] of Object.entries(PLAIN_STEPS)) {
  Deno.test(`${name} compiles under Tint with every option and states`, async () => {
    const texels = name.includes("texels");
    await assertCompiles(
      RECURRENCES.filter(({ source, valueFirst, valueDim }) =>
        source === "buffer" && !(texels && (valueFirst || valueDim % 4 > 0))
      ).flatMap((config) =>
        [[false, false], [true, false], [false, true], [true, true]].map(([initial, final]) =>
          make({ ...config, initial, final })
        )
      ),
    );
  });
}

Deno.test("hedgehogFeatures() compiles under Tint with every storage and weights", async () => {
  const weights: readonly HedgehogConfig["weights"][] = [
    ...[null, { elem: "f32", bias: false } as const, { elem: "f16", bias: true } as const],
  ];
  const sizes = [{ dim: 8, outputs: 8 }, { dim: 7, outputs: 7 }, { dim: 256, outputs: 128 }];

  await assertCompiles(
    (["f32", "f16"] as const).flatMap((elem) =>
      sizes.flatMap((size) => weights.map((w) => hedgehogFeatures({ elem, ...size, weights: w })))
    ),
  );
});

Deno.test("hedgehogByLanes() compiles under Tint with every storage, weights and subgroup", async () => {
  const weights: readonly HedgehogConfig["weights"][] = [
    ...[null, { elem: "f32", bias: false } as const, { elem: "f16", bias: true } as const],
  ];
  const sizes = [{ dim: 8, outputs: 12 }, { dim: 256, outputs: 128 }];

  await assertCompiles(
    (["f32", "f16"] as const).flatMap((elem) =>
      sizes.flatMap((size) =>
        weights.flatMap((w) =>
          [1, 8, 32].map((lanes) => hedgehogByLanes({ elem, ...size, weights: w, lanes }))
        )
      )
    ),
  );
});

const SCANS = Object.keys(ELEMENTS) as ScanKind[];

/** Gates that walks write for each row, or null where they write the sums. */
const GATE_ROWS: Readonly<Record<ScanKind, readonly (number | null)[]>> = {
  ...{ scan: [null], hgrn: [null], logCumsumExp: [null, 1, 3], softmaxScan: [null] },
  ...{ mlstmExp: [1], mlstmSigmoid: [1] },
};

Deno.test("scanWalk() compiles under Tint with every scan, storage and pass", async () => {
  const passes = [
    { initial: false, final: false, outputs: true, reverse: false },
    { initial: true, final: true, outputs: true, reverse: true },
    { initial: false, final: true, outputs: false, reverse: false },
  ];
  const storage = [
    { elem: "f32", weightElem: "f32", width: 8, source: "buffer" },
    { elem: "f16", weightElem: "f16", width: 8, source: "buffer" },
    { elem: "f16", weightElem: "f32", width: 7, source: "buffer" },
    { elem: "f16", weightElem: "f32", width: 8, source: "texture" },
  ] as const;

  await assertCompiles(
    SCANS.flatMap((kind) =>
      storage.flatMap((stored) =>
        passes.flatMap((pass) =>
          GATE_ROWS[kind].map((gateRows) => scanWalk({ kind, ...stored, ...pass, gateRows }))
        )
      )
    ),
  );
});

Deno.test("scanCarry() compiles under Tint with every scan and states", async () => {
  const sides = [[false, false], [true, false], [false, true], [true, true]];

  await assertCompiles(
    SCANS.flatMap((kind) => sides.map(([initial, final]) => scanCarry({ kind, initial, final }))),
  );
});

Deno.test("scanStates() compiles under Tint with every scan, both ways", async () => {
  await assertCompiles(
    SCANS.flatMap((kind) =>
      [1, 6, 8].flatMap((width) =>
        (["states", "elements"] as const).map((from) => scanStates({ kind, width, from }))
      )
    ),
  );
});

Deno.test("causalConv() compiles under Tint with every width, storage and state", async () => {
  const base: CausalConvConfig = {
    ...{ elem: "f32", weightElem: "f32", biasElem: null, channels: 8, width: 4, silu: false },
    ...{ initial: false, final: false, inPlace: false, source: "buffer" },
  };
  const states = { initial: true, final: true };
  const storage: readonly Partial<CausalConvConfig>[] = [
    {},
    { channels: 7, biasElem: "f32" },
    { source: "texture" },
    { elem: "f16", weightElem: "f16", biasElem: "f16", silu: true },
    { elem: "f16", channels: 5 },
  ];

  await assertCompiles(
    storage.flatMap((stored) =>
      [{}, { final: true }, states, { ...states, inPlace: true }].map((state) =>
        causalConv({ ...base, ...stored, ...state })
      )
    ),
  );
  await assertCompiles([1, 2, 8].map((width) => causalConv({ ...base, width })));
});

Deno.test("rope() compiles under Tint with every pairing, storage and kind of positions", async () => {
  const pairings = [
    { pairing: "columns", rotated: 8 },
    { pairing: "neighbors", rotated: 10 },
    { pairing: "any", rotated: 6 },
  ] as const;

  await assertCompiles(
    pairings.flatMap((pairing) =>
      ([null, "i32", "f32"] as const).flatMap((positions) =>
        (["f32", "f16"] as const).flatMap((elem) =>
          ([[12, "buffer"], [15, "buffer"], [12, "texture"]] as const).map(([width, source]) =>
            rope({ ...pairing, positions, elem, width, sharedPositions: true, axes: 2, source })
          )
        )
      )
    ),
  );
  await assertCompiles([ropeTurns()]);
});

/** All inputs of a selective scan, or those that it must have, in every storage. */
const SELECTIVE: readonly (SelectiveConfig & { elem: "f32" | "f16" })[] = (["f32", "f16"] as const)
  .flatMap((elem) => {
    const required = { u: elem, delta: elem, rates: "f32", writes: elem, reads: elem } as const;
    const all = { ...required, skip: "f16", outGate: elem, deltaBias: "f32" } as const;
    return [{ channels: 8, states: 16 }, { channels: 7, states: 5 }, { channels: 1, states: 1 }]
      .flatMap((sizes) => [
        { elem, ...sizes, inputs: required, softplus: false, reverse: false },
        { elem, ...sizes, inputs: all, softplus: true, reverse: true },
      ]);
  });

Deno.test("selectiveWalk() compiles under Tint with every layout, storage and pass", async () => {
  const tiles = [
    { exchange: "subgroup", lanes: 8, tokens: 8 },
    { exchange: "broadcast", lanes: 16, tokens: 4 },
    { exchange: "workgroup", lanes: 64, tokens: 16 },
  ] as const;
  const passes = [
    { initial: false, final: false, outputs: true },
    { initial: true, final: true, outputs: true },
    { initial: false, final: true, outputs: false },
  ];

  await assertCompiles(
    SELECTIVE.flatMap((config) =>
      tiles.flatMap((tile) =>
        passes.flatMap((pass) =>
          (["buffer", "texture"] as const).flatMap((source) =>
            ([1, 4] as const).map((own) =>
              selectiveWalk({ ...config, ...tile, ...pass, source, own })
            )
          )
        )
      )
    ),
  );
});

Deno.test("selectivePairs() compiles under Tint with every storage", async () => {
  await assertCompiles(
    (["f32", "f16"] as const).flatMap((skip) =>
      (["f32", "f16"] as const).map((deltaBias) => selectivePairs({ skip, deltaBias, channels: 7 }))
    ),
  );
});

Deno.test("naiveSelective() and selectiveCarry() compile under Tint with every storage", async () => {
  const sides = [[false, false], [true, false], [false, true], [true, true]];

  await assertCompiles(
    SELECTIVE.flatMap((config) =>
      sides.flatMap(([initial, final]) => [
        naiveSelective({ ...config, initial, final }),
        selectiveCarry({ ...config, initial, final }),
      ])
    ),
  );
});

const SOURCES = ["buffer", "texture"] as const;

/** Log-linear attention in either storage, its rows whole vec4s or not. */
const LOG_LINEAR = (["f32", "f16"] as const).flatMap((elem) =>
  ([[8, 12], [5, 7]] as const).map(([keyDim, valueDim]) => ({
    inputs: { q: elem, k: elem, v: elem, g: elem, lambda: elem },
    ...{ keyDim, valueDim, levels: 6, resumed: valueDim === 7, valueFirst: valueDim === 7 },
  }))
);

Deno.test("logLinearStates(), logLinearScores() and logLinearOutputs() compile under Tint with every layout", async () => {
  const tiles = [
    { exchange: "subgroup", lanes: 8, rows: 4, columns: 2 },
    { exchange: "subgroup", lanes: 32, rows: 1, columns: 1 },
    { exchange: "direct", lanes: 32, rows: 2, columns: 2 },
  ] as const;

  await assertCompiles(
    LOG_LINEAR.flatMap((config) =>
      tiles.flatMap((tile) =>
        SOURCES.flatMap((source) => [
          logLinearStates({ ...config, ...tile, source }),
          logLinearScores({ ...config, ...tile, source }),
          logLinearOutputs({ ...config, ...tile, source }),
        ])
      )
    ),
  );
});

Deno.test("logLinearTree(), logLinearStep() and the other kernels of levels compile under Tint", async () => {
  await assertCompiles(
    LOG_LINEAR.flatMap((config) => {
      const chunked = { ...config, chunkSize: 32 };
      const grouped = { ...config, group: 2 };
      return [
        ...[logLinearEntry(chunked), logLinearTree(chunked), logLinearFinal(chunked)],
        ...[logLinearStep(grouped), naiveLogLinear(grouped), logLinearCount(config)],
      ];
    }),
  );
});

Deno.test("parseHook() emits code that compiles under Tint", async () => {
  await assertCompiles([plain("hooks", expressionShader())]);
});

/** Both rules of learning, in every storage, with states of both layouts and parted mini-batches. */
const FAST: readonly FastConfig[] = (["ttt", "titans"] as const).flatMap((rule: Rule) => {
  const own = rule === "ttt"
    ? { normWeights: "f16", normBias: "f32", eta: "f32" } as const
    : { theta: "f16" } as const;
  const rates = rule === "ttt" ? {} : { eta: "f32", alpha: "f16" } as const;
  return (["f32", "f16"] as const).flatMap((elem) =>
    [[8, 16], [7, 5]].flatMap(([keyDim, width]) => {
      const valueDim = rule === "ttt" ? keyDim : width;
      const inputs = { q: elem, k: elem, v: elem, ...own };
      const none = { initial: false, final: false, valueFirst: false, parted: false };
      const all = { initial: true, final: true, parted: true };
      const base = { rule, elem, keyDim, valueDim, group: 1, inputs };
      return [
        { ...base, ...none },
        { ...base, ...none, ...all, group: 2 },
        { ...base, ...all, valueFirst: true, inputs: { ...inputs, ...rates } },
      ];
    })
  );
});

Deno.test("fastWalk() compiles under Tint with every rule, layout, storage and state", async () => {
  const tiles = [
    { columns: 8, slices: 1, tokens: 16 },
    { columns: 8, slices: 3, tokens: 5 },
    { columns: 16, slices: 2, tokens: 1 },
  ];

  await assertCompiles(
    FAST.flatMap((config) =>
      tiles.flatMap((tile) =>
        [false, true].flatMap((long) =>
          SOURCES.map((source) => fastWalk({ ...config, ...tile, long, source }))
        )
      )
    ),
  );
});

Deno.test("naiveFastWeights() compiles under Tint with every rule, storage and state", async () => {
  await assertCompiles(FAST.map((config) => naiveFastWeights(config)));
});

Deno.test("statistics of attention compile under Tint in every exchange, with every option", async () => {
  const base: StatisticsConfig = {
    ...{ elem: "f32", headDim: 8, source: "buffer", softcap: false, bias: null, hooks: NO_HOOKS },
    band: { banded: false, hooked: false },
    tile: { threads: 8, rows: 2, columns: 8, exchange: "shuffle" },
  };
  const hooks = {
    ...{ scores: ["return s * gain;"], masks: ["return j > i;"] },
    ...{ tensors: [], numbers: ["gain"] },
  };
  const configs: readonly Partial<StatisticsConfig>[] = [
    {},
    { band: { banded: true, hooked: false }, softcap: true, bias: "f16", elem: "f16" },
    { band: { banded: true, hooked: true }, hooks, headDim: 7 },
    { source: "texture", band: { banded: true, hooked: false } },
  ];
  const tiles = [
    base.tile,
    { threads: 16, rows: 2, columns: 16, exchange: "broadcast" } as const,
    { threads: 64, rows: 1, columns: 4, exchange: "stage" } as const,
  ];
  const rows = { lse: true, entropy: true, top: 3, argMax: true };

  await assertCompiles(
    configs.flatMap((part) =>
      tiles.flatMap((tile) => {
        const config = { ...base, ...part, tile };
        return [
          ...[rowStatistics(config, rows), columnSums(config), diagonalSums(config)],
          rowStatistics(config, { lse: true, entropy: false, top: 0, argMax: false }),
          rowStatistics(config, { lse: false, entropy: false, top: 1, argMax: false }),
          blockMax(config, { queryBlock: 20, keyBlock: 13 }),
        ];
      })
    ),
  );
  await assertCompiles([joinDiagonals({ tile: 16 })]);
});

const ELEMS = ["f32", "f16"] as const;

Deno.test("poolBlocks() compiles under Tint with every kind and storage", async () => {
  const kinds = ["mean", "max", "min", "first", "last", "attention"] as const;

  await assertCompiles(
    ELEMS.flatMap((elem) =>
      kinds.flatMap((kind) =>
        [[8, 1], [8, 8], [5, 1], [5, 8]].flatMap(([dim, slices]) =>
          SOURCES.map((source) => {
            const weightElem = kind === "attention" ? elem : null;
            return poolBlocks({ kind, elem, weightElem, dim, slices, source });
          })
        )
      )
    ),
  );
});

Deno.test("selectRows() compiles under Tint for keys and shares, sorted and not", async () => {
  await assertCompiles(
    ELEMS.flatMap((elem) =>
      [false, true].flatMap((share) =>
        [false, true].flatMap((sorted) =>
          [64, 256].map((threads) =>
            selectRows({ elem, share, sorted, threads, tile: 4 * threads })
          )
        )
      )
    ),
  );
});

Deno.test("sortPairs() and its steps compile under Tint with every element", async () => {
  await assertCompiles([
    ...(["f32", "f16", "i32", "u32"] as const).flatMap((elem) =>
      [false, true].map((descending) => sortPairs({ elem, descending }))
    ),
    ...(["count", "places", "move"] as const).map((pass) => sortDigits({ pass })),
    ...[sortTile(), sortedPlaces()],
  ]);
});

Deno.test("gatherRows() and invertIndices() compile under Tint with every storage", async () => {
  await assertCompiles([
    ...ELEMS.flatMap((elem) =>
      [8, 5].flatMap((dim) =>
        [false, true].flatMap((byHead) =>
          SOURCES.map((source) => gatherRows({ elem, dim, byHead, source }))
        )
      )
    ),
    ...(["clear", "set"] as const).map((pass) => invertIndices({ pass })),
  ]);
});

Deno.test("centroidScores(), laneScores() and centroidRound() compile under Tint", async () => {
  await assertCompiles([
    ...ELEMS.flatMap((elem) =>
      ELEMS.flatMap((centroidElem) =>
        (["dot", "l2"] as const).flatMap((metric) =>
          [[8, 32], [5, 8]].map(([dim, tile]) =>
            centroidScores({ elem, centroidElem, dim, metric, tile })
          ).concat(
            [[8, 8], [8, 1], [16, 32]].map(([tile, lanes]) =>
              laneScores({ elem, centroidElem, dim: 8, metric, tile, lanes })
            ),
          )
        )
      )
    ),
    ...(["clear", "ask", "take", "assign"] as const).map((pass) => centroidRound({ pass })),
  ]);
});

Deno.test("hashCodes() compiles under Tint for every kind", async () => {
  await assertCompiles(
    (["hyperplane", "crossPolytope"] as const).map((kind) => hashCodes({ kind })),
  );
});

Deno.test("appendTokens(), keepTokens() and countOutside() compile under Tint", async () => {
  await assertCompiles([
    ...ELEMS.flatMap((elem) =>
      [8, 5].flatMap((width) => [
        ...[false, true].flatMap((paged) =>
          [false, true].flatMap((ring) =>
            SOURCES.map((source) => appendTokens({ elem, width, paged, ring, source }))
          )
        ),
        ...(["gather", "put"] as const).map((pass) => keepTokens({ elem, width, pass })),
      ])
    ),
    ...[lengthen(), countOutside({ lengths: false }), countOutside({ lengths: true })],
  ]);
});
