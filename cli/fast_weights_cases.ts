import { FAST_WEIGHTS } from "./families.ts";
import type { FamilyCase } from "./family_case.ts";
import { groupsOfFamilies } from "./family_groups.ts";
import type { CheckGroup, CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

type Part = Partial<FamilyCase>;

const ONE = { miniBatch: 1 };
const FIVE = { miniBatch: 5 };
const SIXTEEN = { miniBatch: 16 };

/** Sequences that are empty, of one token, of less than a mini-batch and of several. */
const PACKED = [0, 0, 1, 1, 18, 70, 70];

/** What `--quick` computes, for each rule. */
const QUICK: readonly Part[] = [
  { cuSeqlens: PACKED, sequence: FIVE },
  { batch: 2, length: 40, sequence: SIXTEEN, heads: 4, qHeads: 2, kHeads: 2 },
  { length: 12, steps: 3, sequence: ONE },
];

const REST: readonly Part[] = [
  { length: 0, sequence: ONE }, // hands its states on
  { cuSeqlens: PACKED, sequence: ONE },
  { cuSeqlens: PACKED, sequence: SIXTEEN },
  { sequence: { miniBatch: 33 }, qHeads: 4, kHeads: 1 }, // in several blocks
  { sequence: { miniBatch: 100 }, initial: false },
  { sequence: FIVE, dtype: "f16", batch: 2 },
  { sequence: SIXTEEN, dtype: "f16", steps: 0, initial: false },
  { batch: 2, length: 6, steps: 3, sequence: ONE, dtype: "f16", options: { scale: 0.3 } },
  { sequence: SIXTEEN, options: { schedule: "naive" } },
  { sequence: FIVE, options: { schedule: "naive" }, qHeads: 4, kHeads: 1, dtype: "f16" },
  { length: 2100, sequence: { miniBatch: 1500 }, options: { schedule: "naive" } },
  { length: 8192, heads: 1, qHeads: 1, kHeads: 1, keyDim: 8, valueDim: 8, sequence: SIXTEEN },
  {
    length: 8192,
    heads: 1,
    qHeads: 1,
    kHeads: 1,
    keyDim: 8,
    valueDim: 8,
    sequence: { miniBatch: 5000 },
  },
];

/** Dims whose kernels take a driver seconds to compile. */
const DIMS: readonly Part[] = [60, 100, 192, 256, 1, 3].map((dim) => ({
  ...{ length: 40, keyDim: dim, valueDim: dim, sequence: SIXTEEN },
}));

/** What a rule has of its own. */
const OWN: Readonly<Record<string, readonly Part[]>> = {
  tttLinear: [
    { sequence: SIXTEEN, options: { eps: 1e-3, scale: 1 } },
    { sequence: SIXTEEN, tensors: { eta: { draw: "zero" } } },
    { options: { stateLayout: "vk" }, tensors: { "initialState.w": { axes: "N HV V K" } } },
  ],
  titansMemory: [
    { tensors: { eta: {}, alpha: {} }, keyDim: 60, valueDim: 100, sequence: FIVE },
    { tensors: { eta: {}, alpha: {} }, keyDim: 100, valueDim: 7, sequence: { miniBatch: 24 } },
    { tensors: { eta: {} }, initial: false, sequence: SIXTEEN },
    { tensors: { alpha: {} }, keyDim: 5, valueDim: 192 },
    { tensors: { theta: { dtype: "f32" }, alpha: { draw: "equal" } }, dtype: "f16" }, // forgets all
    {
      options: { stateLayout: "vk" },
      tensors: {
        ...{ eta: {}, alpha: {} },
        "initialState.m": { axes: "N HV V K" },
        "initialState.s": { axes: "N HV V K" },
      },
    },
  ],
};

/** Weights that learn, against the oracles of the same names. */
export function fastWeightsGroups(selection: CheckSelection): CheckGroup[] {
  const casesOf = (family: string): Record<string, FamilyCase[]> =>
    Object.fromEntries(
      Object.entries(partsOf(family, selection)).map(([group, parts]) => [
        group,
        parts.map((part) => caseOf(family, part)),
      ]),
    );
  return groupsOfFamilies(Object.keys(FAST_WEIGHTS), casesOf, selection);
}

/** The cases of a rule by group. */
function partsOf(
  family: string,
  { quick, cases, seed }: CheckSelection,
): Record<string, readonly Part[]> {
  const own = OWN[family];
  if (quick) return { "mini-batches": [...QUICK, own[0]] };
  return {
    "mini-batches": [...QUICK, ...REST],
    dims: DIMS,
    options: own,
    [`random, seed ${seed}`]: randomParts(Math.ceil(cases / 4), seed),
  };
}

/** Seeded random problems. */
function randomParts(count: number, seed: number): Part[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, index) => {
    const length = random.integer(1, 100);
    const cuts = [random.integer(0, length), random.integer(0, length)].sort((a, b) => a - b);
    const kHeads = random.integer(1, 2);
    return {
      seed: seed + index,
      ...(random.next() < 0.5 ? { cuSeqlens: [0, ...cuts, length] } : { batch: 2 }),
      ...{ length, kHeads, qHeads: kHeads, initial: random.next() < 0.5 },
      dtype: random.pick(["f32", "f16"] as const),
      sequence: { miniBatch: random.pick([1, 2, 7, 16, 40]) },
    };
  });
}

function caseOf(family: string, part: Part): FamilyCase {
  return {
    ...{ family, batch: 1, length: 70, heads: 2, qHeads: 2, kHeads: 2, keyDim: 24, valueDim: 24 },
    ...{ dtype: "f32", seed: 1, initial: true },
    ...part,
  };
}
