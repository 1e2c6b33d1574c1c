import type { AttentionCase } from "./attention_case.ts";
import { Random } from "./random.ts";

/** Cases that one line of `check` reports together. */
export interface CaseGroup {
  readonly name: string;
  /** Whether `--quick` runs it. */
  readonly quick: boolean;
  readonly cases: readonly AttentionCase[];
}

type Sizes = readonly [qLen: number, kvLen: number];
type Heads = readonly [batch: number, heads: number, kvHeads: number];

const ONE_HEAD: Heads = [1, 1, 1];
const GROUPED: Heads = [2, 4, 2];
/** The default schedule of GPUs, proved on software too where its compiler takes it. */
const GPU_TILE = "workgroup-64x64-8x8-16";
const DTYPES = ["f32", "f16"] as const;

/** The table of attention cases; `schedules` are the names of those that fit the adapter. */
export function attentionGroups(schedules: readonly string[], random: CaseGroup): CaseGroup[] {
  const kinds = [...new Set(schedules.map((name) => name.split("-", 1)[0]))];
  return [
    ...kinds.flatMap((kind) => DTYPES.map((dtype) => scheduleGroup(kind, dtype))),
    tileGroup("tiles of GPUs", true, schedules.filter((name) => name === GPU_TILE)),
    tileGroup("other schedules", false, schedules.filter((name) => name !== GPU_TILE)),
    headDimGroup("common head dims", true, [[64, 64], [40, 40], [60, 72]]),
    headDimGroup("other head dims", false, [
      [1, 1],
      [2, 3],
      [7, 9],
      [32, 32],
      [72, 72],
      [80, 80],
      [96, 40],
      [100, 100],
      [128, 128],
      [192, 128],
      [255, 255],
      [256, 256],
    ]),
    longGroup(),
    random,
  ];
}

/** Everything that a schedule must get right, at a head dim that compiles fast. */
function scheduleGroup(schedule: string, dtype: "f32" | "f16"): CaseGroup {
  const plain: Sizes[] = [[1, 1], [2, 63], [63, 64], [64, 65], [65, 2], [100, 100], [0, 5], [5, 0]];
  const banded: Partial<AttentionCase>[] = [
    { qLen: 100, kvLen: 100, causal: true },
    { qLen: 65, kvLen: 130, causal: true },
    { qLen: 130, kvLen: 65, causal: true }, // rows without a key
    { qLen: 130, kvLen: 65, causal: "top-left" },
    { qLen: 100, kvLen: 100, window: { left: 16, right: 3 } },
    { qLen: 100, kvLen: 100, causal: true, window: { left: 0 } },
    { qLen: 70, kvLen: 200, causal: "top-left", window: { left: 30 } },
    { qLen: 1, kvLen: 300, causal: true },
    { qLen: 30, kvLen: 10, window: { right: 2, left: 1 } },
    { qLen: 64, kvLen: 64, causal: true, inputs: "huge" },
  ];
  const everything: Partial<AttentionCase>[] = [
    { qLen: 33, kvLen: 65, softcap: 2, bias: [true, true, true], sinks: true, causal: true },
    {
      qLen: 33,
      kvLen: 65,
      softcap: 30,
      bias: [false, true, false],
      sinks: true,
      window: { left: 8 },
    },
    { qLen: 40, kvLen: 20, softcap: 5, bias: [true, false, true], sinks: true, causal: true },
  ];
  const on = (heads: Heads, part: Partial<AttentionCase>): AttentionCase =>
    makeCase(heads, 16, 16, { dtype, schedule, ...part });
  return {
    name: `${schedule} ${dtype}`,
    quick: true,
    cases: [
      ...plain.map(([qLen, kvLen]) => on(ONE_HEAD, { qLen, kvLen })),
      on(GROUPED, { qLen: 100, kvLen: 70 }),
      on([1, 8, 1], { qLen: 5, kvLen: 500 }),
      on(ONE_HEAD, { qLen: 50, kvLen: 50, inputs: "huge" }),
      on(ONE_HEAD, { qLen: 50, kvLen: 50, inputs: "equal" }),
      on(ONE_HEAD, { qLen: 20, kvLen: 30, scale: 3 }),
      ...banded.map((part) => on(GROUPED, part)),
      ...everything.map((part) => on(GROUPED, part)),
    ],
  };
}

/** Named schedules on a few problems. */
function tileGroup(name: string, quick: boolean, schedules: readonly string[]): CaseGroup {
  const cases = schedules.flatMap((schedule) => [
    makeCase(GROUPED, 16, 16, { qLen: 100, kvLen: 150, causal: true, schedule }),
    makeCase(GROUPED, 16, 16, { qLen: 65, kvLen: 64, window: { left: 9 }, schedule }),
  ]);
  return { name, quick, cases };
}

/** The default schedule at each pair of D and Dv. */
function headDimGroup(name: string, quick: boolean, dims: readonly Sizes[]): CaseGroup {
  const cases = dims.flatMap(([headDim, valueDim]) =>
    DTYPES.map((dtype) =>
      makeCase([1, 2, 1], headDim, valueDim, { qLen: 65, kvLen: 100, causal: true, dtype })
    )
  );
  return { name, quick, cases };
}

/** Lengths at which drivers have been seen to end loops early. */
function longGroup(): CaseGroup {
  const lengths: Sizes[] = [[70, 1000], [1, 16384], [16, 70000], [1000, 1000]];
  return {
    name: "long",
    quick: true,
    cases: lengths.flatMap(([qLen, kvLen]) => [
      makeCase(ONE_HEAD, 16, 16, { qLen, kvLen }),
      makeCase(ONE_HEAD, 16, 16, { qLen, kvLen, schedule: "workgroup" }),
    ]),
  };
}

/** Seeded random problems over all options, on the default schedule. */
export function randomGroup(count: number, seed: number): CaseGroup {
  const random = new Random(seed);
  const maybe = <T>(chance: number, value: () => T): T | undefined =>
    random.next() < chance ? value() : undefined;
  const flip = (): boolean => random.next() < 0.5;
  const cases = Array.from({ length: count }, (_, index) => {
    const kvHeads = random.integer(1, 3);
    const heads: Heads = [random.integer(1, 3), kvHeads * random.integer(1, 3), kvHeads];
    const dim = random.pick([16, 20]); // few, since each compiles its own kernels
    const causal = random.pick([false, true, "top-left"] as const);
    const window = maybe(
      0.4,
      () => ({ left: random.integer(0, 60), right: random.integer(0, 60) }),
    );
    const scored = flip() ? { softcap: random.integer(1, 50), sinks: true } : {};
    return makeCase(heads, dim, dim, {
      seed: seed + index,
      qLen: random.integer(1, 150),
      kvLen: random.integer(1, 300),
      dtype: random.pick(DTYPES),
      inputs: random.pick(["normal", "normal", "normal", "huge", "equal"] as const),
      causal,
      ...(window && { window }),
      ...scored,
      ...("softcap" in scored && { bias: [flip(), flip(), flip()] as const }),
    });
  });
  return { name: `random, seed ${seed}`, quick: true, cases };
}

function makeCase(
  [batch, heads, kvHeads]: Heads,
  headDim: number,
  valueDim: number,
  part: Partial<AttentionCase>,
): AttentionCase {
  const sizes = { batch, heads, kvHeads, headDim, valueDim, qLen: 64, kvLen: 64 };
  return { ...sizes, dtype: "f32", inputs: "normal", seed: 1, ...part };
}
