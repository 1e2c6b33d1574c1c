import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  attentionStatistics,
  type AttentionStatisticsOptions,
  type ScoreOptions,
} from "../ops/statistics/mod.ts";
import { attentionStatistics as reference, type ScorePlace } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor, type InputKind, spreadOf } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";
import { flattened } from "./records.ts";

/** Which statistics are asked for. */
type Wanted = Omit<AttentionStatisticsOptions, keyof ScoreOptions | "schedule">;

/** A problem with everything that determines its inputs. */
export interface StatisticsCase {
  /** B, T, S, Hq, Hkv and D. */
  readonly sizes: readonly [number, number, number, number, number, number];
  readonly dtype: "f32" | "f16";
  readonly schedule: "subgroup" | "workgroup" | undefined;
  readonly inputs: InputKind;
  readonly options: Pick<AttentionStatisticsOptions, "scale" | "causal" | "window" | "softcap">;
  /** Whether hooks change the scores and hide keys. */
  readonly hooks?: boolean;
  /** Which axes of a bias are full: B, Hq and T. */
  readonly bias?: readonly [boolean, boolean, boolean];
  readonly wanted?: Wanted;
}

/** Every statistic. */
const ALL: Wanted = {
  ...{ lse: true, entropy: true, argMax: true, columnSums: true, diagonalSums: true, topK: 5 },
  blockMax: { queryBlock: 20, keyBlock: 13 },
};

/** The oracle reads f16 as it is stored, and outputs are f32. */
const TOLERANCE = { f32: 2e-5, f16: 2e-5 } as const;
/** Logits of 1e4 have a step of 1e-3, which is the error of a weight. */
const HUGE_TOLERANCE = { f32: 2e-3, f16: 2e-3 } as const;

const CASES: readonly Partial<StatisticsCase>[] = [
  {},
  { options: { causal: true } },
  { options: { causal: true }, dtype: "f16" },
  { sizes: [1, 130, 65, 2, 1, 16], options: { causal: true } }, // rows without a key
  { sizes: [1, 130, 65, 2, 1, 16], options: { causal: "top-left" } },
  { options: { window: { left: 9, right: 4 } } },
  { sizes: [2, 33, 41, 2, 2, 7], options: { softcap: 3, scale: 0.5 } },
  { sizes: [2, 33, 41, 2, 2, 7], dtype: "f16", options: { causal: true } },
  { sizes: [1, 60, 61, 2, 1, 16], hooks: true, options: { causal: true } },
  { sizes: [2, 40, 50, 2, 2, 16], bias: [true, false, true] },
  { sizes: [2, 40, 50, 2, 2, 16], bias: [false, true, false], hooks: true },
  { sizes: [1, 1, 300, 4, 1, 16], options: { causal: true } },
  { sizes: [1, 300, 1, 1, 1, 16] },
  { sizes: [1, 0, 51, 2, 1, 16] },
  { sizes: [1, 51, 0, 2, 1, 16] },
  { sizes: [0, 51, 20, 2, 1, 16] },
  { sizes: [1, 70, 70, 1, 1, 16], inputs: "equal" },
  { sizes: [1, 40, 90, 1, 1, 64], wanted: { argMax: true } },
  { sizes: [1, 40, 90, 1, 1, 64], wanted: { topK: 64 } },
  { sizes: [1, 90, 90, 1, 1, 16], wanted: { topK: 37 }, options: { causal: true } },
  { sizes: [1, 90, 90, 1, 1, 128], wanted: { blockMax: { queryBlock: 1, keyBlock: 90 } } },
];

const LONG: readonly Partial<StatisticsCase>[] = [
  { sizes: [1, 3000, 3, 1, 1, 8] },
  {
    sizes: [1, 2, 70000, 1, 1, 8],
    wanted: { ...ALL, blockMax: { queryBlock: 2, keyBlock: 70000 } },
  },
  { sizes: [1, 40000, 2, 1, 1, 8] },
  { sizes: [1, 700, 900, 1, 1, 256], options: { causal: true } },
];

/** Statistics of the attention weights against float64, on both kinds of schedules. */
export function statisticsGroups(gpu: Gpu, selection: CheckSelection): CheckGroup[] {
  const schedules = gpu.features.subgroups === null
    ? ["workgroup"] as const
    : ["subgroup", "workgroup"] as const;
  const group = (name: string, cases: readonly StatisticsCase[]): CheckGroup => ({
    ...{ operator: "attentionStatistics", group: name },
    items: [
      ...itemsOf(cases.filter(({ inputs }) => inputs !== "huge"), selection, TOLERANCE),
      ...itemsOf(cases.filter(({ inputs }) => inputs === "huge"), selection, HUGE_TOLERANCE),
    ],
  });
  return [
    ...schedules.map((schedule) =>
      group(schedule, [...CASES, HUGE].map((part) => statisticsCase({ ...part, schedule })))
    ),
    group("long", selection.quick ? [] : LONG.map(statisticsCase)),
  ];
}

const HUGE: Partial<StatisticsCase> = { sizes: [1, 60, 70, 1, 1, 16], inputs: "huge" };

function itemsOf(
  cases: readonly StatisticsCase[],
  selection: CheckSelection,
  tolerance: typeof TOLERANCE | typeof HUGE_TOLERANCE,
): CheckGroup["items"] {
  return caseItems(cases, selection, { nameOf, tolerance, errorOf: statisticsError });
}

/** A case of the parts that are given. */
export function statisticsCase(part: Partial<StatisticsCase>): StatisticsCase {
  return {
    ...{ sizes: [1, 100, 70, 4, 2, 16], dtype: "f32", schedule: undefined, inputs: "normal" },
    options: {},
    ...part,
  };
}

function nameOf({ sizes, dtype, inputs, options, hooks, bias, wanted }: StatisticsCase): string {
  const [batch, qLen, kvLen, heads, kvHeads, headDim] = sizes;
  const words = [
    `B${batch} T${qLen} S${kvLen} H${heads}/${kvHeads} D${headDim} ${dtype}`,
    ...[inputs === "normal" ? "" : inputs, hooks ? "hooks" : "", bias ? `bias ${bias}` : ""],
    ...[options, wanted ?? {}].map((record) => JSON.stringify(record).replace("{}", "")),
  ];
  return words.filter((word) => word !== "").join(" ");
}

const SCORE = "s - 0.1 * f32(i - j)";
const MASK = "(i + j) % 3 != h";
const HOOKS = {
  score: (s: number, { i, j }: ScorePlace): number => s - 0.1 * (i - j),
  mask: ({ h, i, j }: ScorePlace): boolean => (i + j) % 3 !== h,
};

/** Computes a case and returns the error ratio of its worst output and head. */
export async function statisticsError(gpu: Gpu, c: StatisticsCase): Promise<number> {
  const { hooks, schedule, options } = c;
  const { q, k, bias } = inputsOf(c);
  const upload = ({ data, shape }: HostTensor): Tensor<"f32"> =>
    gpu.tensor(data, shape) as Tensor<"f32">;
  const wanted = c.wanted ?? ALL;
  const tensors = [q, k, ...(bias ? [bias] : [])].map(upload);
  const [qTensor, kTensor, biasTensor] = tensors;
  const found = flattened<Tensor>(attentionStatistics(qTensor, kTensor, {
    ...{ ...options, ...wanted },
    ...(hooks && { score: SCORE, mask: MASK }),
    ...(bias && { bias: biasTensor }),
    ...(schedule && { schedule }),
  }));
  const expected = flattened<{ data: ArrayLike<number>; shape: readonly number[] }>(
    reference(q, k, { ...options, ...wanted, ...(hooks && HOOKS), ...(bias && { bias }) }),
  );
  const ratios: number[] = [];
  for (const [name, { data, shape }] of Object.entries(expected)) {
    const tensor = found[name];
    const same = String(tensor.shape) === String(shape);
    const [actual, headsOf] = [await tensor.read(), headsIn(name, shape)];
    // of scores that f32 does not tell apart, either key is right: their values are compared
    const exact = !/indices|argMax/.test(name) || c.inputs !== "huge";
    if (!same) ratios.push(Infinity);
    else if (exact) ratios.push(compareHeads(actual, data, ...headsOf).ratio);
  }
  for (const tensor of [...tensors, ...Object.values(found)]) tensor.dispose();
  return Math.max(0, ...ratios);
}

/** How many heads an output has, and how many elements of one stand together. */
function headsIn(name: string, shape: readonly number[]): [number, number] {
  if (name === "blockMax") return [shape[1], Math.max(1, shape[2] * shape[3])];
  return [shape[2], shape[3] ?? 1];
}

function inputsOf(c: StatisticsCase): Record<"q" | "k", HostTensor> & { bias: HostTensor | null } {
  const { sizes: [batch, qLen, kvLen, heads, kvHeads, headDim], dtype, inputs } = c;
  const random = new Random(qLen + kvLen);
  const q = hostTensor(
    dtype,
    [batch, qLen, heads, headDim],
    () => spreadOf(inputs) * random.normal(),
  );
  const k = hostTensor(
    dtype,
    [batch, kvLen, kvHeads, headDim],
    () => inputs === "equal" ? 1 : random.normal(),
  );
  const [b, h, t] = c.bias ?? [];
  const shape = [b ? batch : 1, h ? heads : 1, t ? qLen : 1, kvLen];
  const bias = (): number => random.next() < 0.1 ? -Infinity : random.normal();
  return { q, k, bias: c.bias ? hostTensor("f32", shape, bias) : null };
}
