import { TOLERANCE } from "./host_tensor.ts";
import {
  checkNeighborhood,
  type NeighborhoodCase,
  neighborhoodCaseName,
} from "./neighborhood_case.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";
import { unfusedItem } from "./unfused_case.ts";

type Part = Partial<NeighborhoodCase> & Pick<NeighborhoodCase, "layout" | "pattern">;

/** What a default schedule must get right on one, two and three axes. */
const RANKS: readonly (readonly [string, readonly Part[]])[] = [
  ["1-D", [
    { layout: [100], pattern: { windowSize: 13 } },
    { layout: [101], pattern: { windowSize: 8, dilation: 3 } }, // groups of 34, 34 and 33
    { layout: [64], pattern: { windowSize: 16, stride: 16 } }, // blocked
    { layout: [100], pattern: { windowSize: 16, stride: 16 } }, // the last block slides back
    { layout: [97], pattern: { windowSize: 12, stride: 5, causal: true } },
    { layout: [90], pattern: { windowSize: 6, stride: 2, dilation: 4, causal: true } },
    { layout: [50], pattern: { windowSize: 50 } }, // dense
    { layout: [50], pattern: { windowSize: 50, causal: true } }, // the lower triangle
    { layout: [7], pattern: { windowSize: 3, dilation: 2 } },
    { layout: [2], pattern: { windowSize: 2 } },
    { layout: [100], pattern: { windowSize: 13 }, inputs: "huge" },
    { layout: [100], pattern: { windowSize: 13 }, inputs: "equal" },
    { layout: [100], pattern: { windowSize: 13 }, scale: 2 },
  ]],
  ["2-D", [
    { layout: [20, 24], pattern: { windowSize: 7 } },
    { layout: [19, 23], pattern: { windowSize: [4, 6], dilation: [3, 2] } },
    { layout: [16, 16], pattern: { windowSize: 8, stride: 8 } }, // blocked
    { layout: [18, 20], pattern: { windowSize: [8, 4], stride: [3, 4] } },
    { layout: [12, 14], pattern: { windowSize: 4, stride: 3, dilation: [2, 3], causal: true } },
    { layout: [9, 8], pattern: { windowSize: [9, 8] } }, // dense
  ]],
  ["3-D", [
    { layout: [6, 10, 9], pattern: { windowSize: [3, 5, 4] } },
    { layout: [8, 8, 8], pattern: { windowSize: 4, stride: 4 } }, // blocked
    { layout: [6, 7, 8], pattern: { windowSize: [4, 3, 5], causal: [true, false, false] } },
    {
      layout: [6, 8, 9],
      pattern: {
        windowSize: 3,
        stride: [1, 2, 3],
        dilation: [2, 1, 2],
        causal: [true, false, true],
      },
    },
  ]],
];

/** Additional keys, grouped heads, unequal head dims, f16. */
const VARIANTS: readonly Part[] = [
  { layout: [70], pattern: { windowSize: 9 }, additional: 77 },
  { layout: [12, 10], pattern: { windowSize: 5, causal: true }, additional: 77 },
  {
    layout: [5, 6, 7],
    pattern: { windowSize: 3, dilation: [1, 2, 1] },
    additional: 1,
    dtype: "f16",
  },
  { layout: [60], pattern: { windowSize: 7, stride: 3 }, heads: 6, kvHeads: 2 },
  { layout: [10, 12], pattern: { windowSize: 5 }, heads: 4, kvHeads: 1, batch: 2 },
  { layout: [10, 12], pattern: { windowSize: 5 }, headDim: 20, valueDim: 7 },
  { layout: [100], pattern: { windowSize: 13 }, dtype: "f16" },
];

/** Few problems for the schedules that are not the default. */
const SCHEDULED: readonly Part[] = [
  { layout: [18, 20], pattern: { windowSize: [8, 4], stride: [3, 4], causal: [true, false] } },
  { layout: [100], pattern: { windowSize: 12, stride: 5, dilation: 2 } },
  { layout: [6, 10, 9], pattern: { windowSize: [3, 5, 4] }, additional: 9 },
];

/** Problems that --quick leaves out: rarer kernels, windows of many tiles, a map of many tiles. */
const RARE: readonly Part[] = [
  { layout: [17, 18], pattern: { windowSize: [5, 18] } }, // dense on one axis
  { layout: [12, 14], pattern: { windowSize: [5, 4], causal: [true, false] } },
  { layout: [13, 11], pattern: { windowSize: 5 }, inputs: "huge" },
  { layout: [7, 9, 10], pattern: { windowSize: [2, 4, 3], dilation: [3, 2, 1] } },
  { layout: [5, 9, 8], pattern: { windowSize: [4, 4, 6], stride: [2, 4, 5] } },
  { layout: [4, 6, 6], pattern: { windowSize: [4, 3, 3], causal: [true, false, false] } },
  { layout: [12, 10], pattern: { windowSize: [12, 10] }, additional: 5 },
  { layout: [60], pattern: { windowSize: 9 }, headDim: 40, valueDim: 64 },
  { layout: [20, 24], pattern: { windowSize: 7, dilation: 2 }, dtype: "f16" },
  { layout: [6, 10, 9], pattern: { windowSize: [3, 5, 4] }, dtype: "f16" },
  { layout: [2000], pattern: { windowSize: 300, stride: 64 } },
  { layout: [64, 64], pattern: { windowSize: 13 } },
  { layout: [48, 40], pattern: { windowSize: [17, 9], dilation: [2, 4] } },
  { layout: [8, 16, 16], pattern: { windowSize: [4, 8, 8], stride: [4, 8, 8] } },
  { layout: [10, 20, 24], pattern: { windowSize: [10, 9, 12], stride: [1, 3, 4] } },
];

/** Everything about neighborhoods, for the kinds of schedules that the adapter has. */
export function neighborhoodGroups(
  kinds: readonly string[],
  selection: CheckSelection,
): CheckGroup[] {
  const { quick, dtype, cases, seed } = selection;
  const group = (name: string, parts: readonly Part[]): CheckGroup => ({
    operator: "neighborhoodAttention",
    group: name,
    items: caseItems(parts.map(caseOf), selection, {
      nameOf: neighborhoodCaseName,
      tolerance: TOLERANCE,
      errorOf: checkNeighborhood,
    }),
  });
  const scheduled = quick ? SCHEDULED.slice(0, 1) : SCHEDULED;
  const unfused = RANKS.flatMap(([, parts]) => parts.slice(0, quick ? 1 : 2))
    .concat(SCHEDULED[0]).map(caseOf);
  return [
    ...RANKS.map(([name, parts]) => group(name, parts)),
    group("variants", VARIANTS),
    ...kinds.filter((kind) => kind !== "split").map((schedule) =>
      group(schedule, scheduled.map((part) => ({ ...part, schedule })))
    ),
    ...(quick ? [] : [group("rare", RARE)]),
    group(`random, seed ${seed}`, randomParts(Math.ceil(cases / (quick ? 6 : 2)), seed)),
    {
      operator: "neighborhoodAttention",
      group: "unfused",
      items: unfused.filter((c) => dtype === undefined || c.dtype === dtype).map(unfusedItem),
    },
  ];
}

/** Seeded random problems over all options, on the default schedule. */
function randomParts(count: number, seed: number): Part[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, index) => {
    const rank = random.integer(1, 3);
    const axes = Array.from({ length: rank }, () => {
      const length = random.integer(2, [150, 20, 9][rank - 1]);
      const windowSize = random.integer(2, Math.min(length, 12));
      const dilation = random.integer(1, Math.min(4, Math.floor(length / windowSize)));
      const stride = random.integer(1, windowSize);
      return { length, windowSize, dilation, stride, causal: random.next() < 0.3 };
    });
    const kvHeads = random.integer(1, 2);
    const additional = random.pick([0, 0, 3, 77]);
    return {
      seed: seed + index,
      batch: random.integer(1, 2),
      heads: kvHeads * random.integer(1, 2),
      kvHeads,
      dtype: random.pick(["f32", "f16"] as const),
      inputs: random.pick(["normal", "normal", "huge"] as const),
      layout: axes.map(({ length }) => length),
      pattern: {
        windowSize: axes.map(({ windowSize }) => windowSize),
        dilation: axes.map(({ dilation }) => dilation),
        stride: axes.map(({ stride }) => stride),
        causal: axes.map(({ causal }) => causal),
      },
      ...(additional > 0 && { additional }),
    };
  });
}

function caseOf(part: Part): NeighborhoodCase {
  const sizes = { batch: 1, heads: 2, kvHeads: 2, headDim: 16, valueDim: 16 };
  return { ...sizes, dtype: "f32", inputs: "normal", seed: 1, ...part };
}
