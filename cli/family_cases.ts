import { lightningSlopes } from "../ops/recurrence/mod.ts";
import { FAMILIES } from "./families.ts";
import type { FamilyCase } from "./family_case.ts";
import { groupsOfFamilies } from "./family_groups.ts";
import type { CheckGroup, CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

type Part = Partial<FamilyCase>;

const LOOP = { mode: "loop" };
const CHUNK = { mode: "chunk", chunkSize: 16 };

/** Sequences that are empty, of one token, of less than a chunk and of several. */
const PACKED = [0, 0, 1, 1, 18, 70, 70];

/** Tokens enough for small errors to add up. */
const LONG: Part = { length: 8192, heads: 1, qHeads: 1, kHeads: 1, keyDim: 8, valueDim: 8 };

/** What an mLSTM's queries read is far from 0, so that dividing by it loses no digits. */
const READ = { q: { draw: "positive" }, k: { draw: "positive" } } as const;
const SIGMOID = { gate: "sigmoid" };

/** What each family must get right with its own defaults; `--quick` takes the first. */
const FORMS: readonly Part[] = [
  { cuSeqlens: PACKED, sequence: LOOP },
  { cuSeqlens: PACKED, sequence: { ...CHUNK, reverse: true } },
  { sequence: { ...LOOP, reverse: true } },
  { sequence: CHUNK },
  { length: 1, initial: false, sequence: LOOP }, // a step from nothing
  { sequence: CHUNK, dtype: "f16", batch: 2 },
  { sequence: LOOP, heads: 4, qHeads: 2, kHeads: 2, initial: false },
];

/** What a family has of its own; steps take the first of each. */
const OWN: Readonly<Record<string, readonly Part[]>> = {
  linearAttention: [
    { options: { featureMap: "elu1" } },
    { options: { featureMap: "relu" } },
    { options: { featureMap: "exp" } },
    { options: { featureMap: "taylor2" }, keyDim: 5 },
    { options: { featureMap: "taylor2", schedule: "naive" }, keyDim: 5 },
    { options: { featureMap: "taylor2", schedule: "workgroup" }, keyDim: 5 },
    { options: { featureMap: "hedgehog" } },
    { options: { featureMap: "hedgehog" }, tensors: { hedgehogWeights: { axes: "K BIASED" } } },
    {
      options: { featureMap: "hedgehog" },
      tensors: { hedgehogWeights: { axes: "SIDES HK K K" } },
      keyDim: 7,
    },
    {
      options: { normalize: true },
      tensors: { q: { draw: "positive" }, k: { draw: "positive" } },
    },
    { options: { featureMap: "elu1", normalize: false } },
    { options: { featureMap: "relu", normalize: false } },
    { options: { featureMap: "exp", normalize: false } },
  ],
  based: [
    { options: { scale: 0.3, eps: 1e-3 } },
    { options: { schedule: "workgroup" }, cuSeqlens: PACKED },
    { options: { schedule: "channels" }, cuSeqlens: PACKED, heads: 2, qHeads: 4, valueDim: 23 },
    { heads: 2, qHeads: 6, kHeads: 1, valueDim: 23 },
    { keyDim: 16, length: 37 }, // of 153 features
  ],
  retention: [{ options: { scale: 0.5 } }],
  lightningAttention: [
    { options: { slopes: lightningSlopes(2, { layer: 1, layers: 4 }) } },
  ],
  simpleGla: [
    { tensors: { g: { draw: "reset" } } },
    { tensors: { g: { axes: "HV" } } },
  ],
  gla: [
    { tensors: { gv: {}, g: { draw: "reset" } } },
    { tensors: { gv: { draw: "reset" } } },
    { tensors: { gv: { draw: "reset" } }, options: { schedule: "channels" } },
  ],
  hgrn2: [
    { tensors: { f: { draw: "mixed" } }, options: { lowerBound: 0.3 } },
    { tensors: { f: { draw: "saturated" } } },
    { tensors: { f: { draw: "saturated" } }, options: { lowerBound: 0.9 } },
    { tensors: { f: { draw: "open" } }, initial: false, dtype: "f32" }, // outputs of 1e-13
    { tensors: { f: { draw: "shut" } } },
    { tensors: { f: { draw: "mixed" }, lowerBound: {} } },
    { tensors: { f: { draw: "mixed" }, lowerBound: {} }, options: { schedule: "naive" } },
  ],
  lightNet: [
    { tensors: { k: { draw: "masked" } } },
    { tensors: { k: { draw: "masked" } }, initial: false },
    { tensors: { k: { draw: "large" } } },
    { tensors: { k: { draw: "large" } }, initial: false, options: { scale: 0.3 } },
  ],
  mlstm: [
    { options: SIGMOID },
    { tensors: { ...READ, i: { draw: "high" } } },
    {
      tensors: { ...READ, i: { draw: "large" }, f: { draw: "open" } },
      initial: false,
      dtype: "f32",
    },
    { tensors: { f: { draw: "saturated" } } },
    {
      tensors: { f: { draw: "saturated" }, i: { draw: "saturated" } },
      options: SIGMOID,
      dtype: "f32", // outputs of 1e-13
    },
    { tensors: { i: { draw: "masked" } }, initial: false },
    { tensors: { ...READ, f: { draw: "lasting" } }, ...LONG },
    { tensors: { ...READ, f: { draw: "lasting" } }, ...LONG, options: SIGMOID },
    { options: { eps: 1e-3, scale: 0.3, schedule: "naive" } },
    { options: { schedule: "workgroup" } },
    { options: { schedule: "channels" } },
    { tensors: READ, heads: 4, qHeads: 2, kHeads: 1 },
  ],
  mamba2: [
    {
      options: { dtSoftplus: true, dtLimits: [0.1, 2], stateLayout: "vk", scale: 0.25 },
      tensors: { d: { axes: "HV V" }, z: {}, initialState: { axes: "N HV V K" } },
    },
    {
      options: { dtSoftplus: true, stateLayout: "vk", schedule: "channels" },
      tensors: { d: { axes: "HV V" }, z: {}, initialState: { axes: "N HV V K" } },
    },
    { options: { dtSoftplus: true }, tensors: { dt: { draw: "normal" }, dtBias: {} } },
    { options: { dtLimits: [0.2, 0.6] }, tensors: { dt: { dtype: "f32" } }, dtype: "f16" },
    { tensors: { d: {} }, heads: 4, qHeads: 2, kHeads: 2 },
  ],
  deltaRule: [
    { options: { qkL2norm: true }, tensors: { k: { draw: "normal" } } },
    { options: { qkL2norm: true }, tensors: { k: { draw: "normal" }, beta: { draw: "two" } } },
    { options: { qkL2norm: true }, tensors: { k: { draw: "equal" }, beta: { draw: "two" } } },
    { options: { qkL2norm: true }, tensors: { k: { draw: "alike" } } }, // cosines of 0.99
    { options: { qkL2norm: true }, tensors: { k: { draw: "zero" } } },
    { options: { schedule: "naive" } },
    { options: { schedule: "workgroup" } },
    { options: { schedule: "channels" } },
  ],
  gatedDeltaRule: [
    {
      options: { qkL2norm: true, betaSigmoid: true, allowNegativeEigenvalues: true },
      tensors: { k: { draw: "normal" }, aLog: {}, dtBias: {}, g: { draw: "normal" } },
    },
    { tensors: { g: { draw: "reset" } } },
    { options: { qkL2norm: true }, tensors: { g: { draw: "mixture" }, k: { draw: "alike" } } },
    LONG,
    {
      options: { betaSigmoid: true, stateLayout: "vk" },
      tensors: { beta: { draw: "normal" }, initialState: { axes: "N HV V K" } },
    },
  ],
  kda: [
    {
      options: { qkL2norm: true, lowerBound: -5 },
      tensors: { k: { draw: "normal" }, aLog: {}, dtBias: {}, g: { draw: "normal" } },
    },
    { options: { qkL2norm: true }, tensors: { aLog: {}, g: { draw: "normal" } } },
    { tensors: { g: { draw: "mixture" } } },
    { options: { schedule: "naive" }, tensors: { g: { draw: "reset" } } },
  ],
  comba: [
    { tensors: { g: { draw: "reset" } } },
    { tensors: { p: { axes: "B T HV K" } }, heads: 4, options: { schedule: "naive" } },
  ],
  gdn2: [
    { tensors: { g: { draw: "mixture" } } },
    { tensors: { erase: { axes: "B T HK K" } }, heads: 4 },
  ],
  dplr: [
    { tensors: { g: { draw: "reset" } } },
    { tensors: { a: { axes: "B T HV K" }, b: { axes: "B T HK K" } }, heads: 4 },
    { options: { schedule: "workgroup" } },
    { options: { schedule: "channels" } },
  ],
  rwkv7: [{ options: { scale: 0.3 } }, { options: { schedule: "naive" } }],
  deltaProduct: [
    { options: { householders: 3 } },
    { options: { householders: 2 }, tensors: { g: { draw: "reset" } } },
    { options: { householders: 2, schedule: "naive" } },
  ],
  rwkv6: [{ tensors: { w: { draw: "reset" } }, options: { scale: 1 } }],
};

/** Four tokens one by one behind chunks of the others. */
const STEPS: Part = { batch: 2, length: 40, steps: 4, sequence: CHUNK };

/** The named recurrences, against the oracles of the same names. */
export function familyGroups(selection: CheckSelection): CheckGroup[] {
  const casesOf = (family: string): Record<string, FamilyCase[]> =>
    Object.fromEntries(
      Object.entries(partsOf(family, selection)).map(([group, parts]) => [
        group,
        parts.map((part) => caseOf(family, part)),
      ]),
    );
  return groupsOfFamilies(Object.keys(FAMILIES), casesOf, selection);
}

/** The cases of a family by group. */
function partsOf(
  family: string,
  { quick, cases, seed }: CheckSelection,
): Record<string, readonly Part[]> {
  const own = OWN[family] ?? [];
  const steps = [...own.slice(0, 1), {}].map((part) => ({ ...part, ...STEPS }));
  // each form of each family compiles shaders of its own: --quick takes a walk, and chunks with steps
  if (quick) return { sequences: FORMS.slice(0, 1), steps: steps.slice(0, 1) };
  return {
    sequences: FORMS,
    options: own.flatMap((part) => [LOOP, CHUNK].map((sequence) => ({ ...part, sequence }))),
    steps,
    [`random, seed ${seed}`]: randomParts(own, Math.ceil(cases / 12), seed),
  };
}

/** Seeded random problems with the defaults of a family or with what it has of its own. */
function randomParts(own: readonly Part[], count: number, seed: number): Part[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, index) => {
    const length = random.integer(1, 100);
    const cuts = [random.integer(0, length), random.integer(0, length)].sort((a, b) => a - b);
    const kHeads = random.integer(1, 2);
    return {
      seed: seed + index,
      ...(random.next() < 0.5 ? { cuSeqlens: [0, ...cuts, length] } : { batch: 2 }),
      ...{ kHeads, qHeads: kHeads, initial: random.next() < 0.5 },
      dtype: random.pick(["f32", "f16"] as const),
      ...random.pick([{}, ...own]),
      length, // what is packed has this one
      sequence: { ...random.pick([LOOP, CHUNK]), reverse: random.next() < 0.5 },
    };
  });
}

function caseOf(family: string, part: Part): FamilyCase {
  return {
    ...{ family, batch: 1, length: 70, heads: 2, qHeads: 2, kHeads: 2, keyDim: 16, valueDim: 24 },
    ...{ dtype: "f32", seed: 1, initial: true },
    ...(family === "based" && { keyDim: 5 }), // of 21 features
    ...part,
  };
}
