import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  logLinearAttention,
  logLinearAttentionStep,
  type LogLinearState,
} from "../ops/log_linear/mod.ts";
import * as reference from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface LogLinearCase {
  readonly batch: number;
  readonly length: number;
  /** HQ, HK and HV. */
  readonly heads: readonly [number, number, number];
  readonly keyDim: number;
  readonly valueDim: number;
  readonly levels: number;
  readonly dtype: "f32" | "f16";
  /** Gates: those of a model, or some that clear a state at once and some that keep it. */
  readonly gates: "gentle" | "hard";
  readonly cuSeqlens?: readonly number[];
  /** Tokens that each sequence has had before; none where they start from no state. */
  readonly before?: readonly number[];
  /** Tokens that steps compute behind the others, one by one. */
  readonly steps: number;
  /** The options that are no tensors, but finalState. */
  readonly options: {
    readonly scale?: number;
    readonly stateLayout?: "vk";
    readonly schedule?: "naive" | "direct";
  };
}

type Inputs = Readonly<Record<"q" | "k" | "v" | "g" | "lambda", HostTensor>>;

/** Sequences that are empty, of one token, of less than a chunk and of several. */
const PACKED = [0, 0, 1, 1, 18, 64, 129, 200];

/** What the sequences of `PACKED` have had before, between chunks and inside them. */
const BEFORE = [5, 0, 32, 100, 63, 96, 31];

/** What `--quick` computes. */
const QUICK: readonly Partial<LogLinearCase>[] = [
  { length: 200, cuSeqlens: PACKED, before: BEFORE },
  { batch: 2, length: 100, keyDim: 20, valueDim: 34, gates: "hard", steps: 3 },
  { length: 75, heads: [4, 1, 2], dtype: "f16", before: [40], options: { stateLayout: "vk" } },
  { batch: 2, length: 37, keyDim: 9, valueDim: 7, options: { schedule: "naive" } },
];

const REST: readonly Partial<LogLinearCase>[] = [
  { length: 0, before: [7] }, // hands its states on
  { length: 1, before: [64], steps: 1 },
  { length: 128, heads: [1, 2, 4], steps: 2, options: { scale: 0.3 } },
  { length: 200, cuSeqlens: PACKED, dtype: "f16", keyDim: 13, valueDim: 10 },
  { length: 200, cuSeqlens: PACKED, before: BEFORE, options: { schedule: "direct" } },
  { length: 70, before: [50], gates: "hard", steps: 2, options: { schedule: "naive" } },
  { length: 40, heads: [1, 1, 1], keyDim: 256, valueDim: 256, levels: 7, steps: 1 },
  { length: 70, keyDim: 1, valueDim: 1, dtype: "f16", steps: 1 },
  { length: 4096, keyDim: 8, valueDim: 8, levels: 13 },
  { length: 2000, before: [2048], keyDim: 8, valueDim: 8, levels: 13 },
];

const TOLERANCE = { f32: 1e-4, f16: 2e-3 } as const;

/** Log-linear attention against float64. */
export function logLinearGroup(selection: CheckSelection): CheckGroup {
  const parts = selection.quick ? QUICK : [...QUICK, ...REST];
  const items = caseItems(parts.map(caseOf), selection, { nameOf, tolerance: TOLERANCE, errorOf });
  return { operator: "logLinearAttention", group: "forms", items };
}

function caseOf(part: Partial<LogLinearCase>): LogLinearCase {
  return {
    ...{ batch: 1, length: 100, heads: [2, 2, 2], keyDim: 16, valueDim: 16, levels: 9 },
    ...{ dtype: "f32", gates: "gentle", steps: 0, options: {} },
    ...part,
  };
}

function nameOf(c: LogLinearCase): string {
  const { batch, length, heads, keyDim, valueDim, levels, dtype, cuSeqlens, before, steps } = c;
  const { scale, stateLayout = "", schedule = "" } = c.options;
  const words = [
    ...[`B${batch} T${length} H${heads} K${keyDim} V${valueDim} L${levels}`, dtype],
    ...[c.gates === "hard" ? "hard" : "", cuSeqlens ? `packed ${cuSeqlens}` : ""],
    ...[before ? `behind ${before}` : "", scale === undefined ? "" : `scale ${scale}`],
    ...[stateLayout, schedule, steps > 0 ? `${steps} steps` : ""],
  ];
  return words.filter((word) => word !== "").join(" ");
}

/** The rows of so many tokens. */
function inputsOf(c: LogLinearCase, random: Random, tokens: readonly [number, number]): Inputs {
  const { heads: [qHeads, kHeads, heads], keyDim, valueDim, levels, dtype } = c;
  const normal = (): number => random.normal();
  const hard = (): number => random.pick([0, -1e-3, -1, -100, -Infinity]);
  const gentle = (): number => -0.1 * random.next();
  return {
    q: hostTensor(dtype, [...tokens, qHeads, keyDim], normal),
    k: hostTensor(dtype, [...tokens, kHeads, keyDim], normal),
    v: hostTensor(dtype, [...tokens, heads, valueDim], normal),
    g: hostTensor(dtype, [...tokens, heads], c.gates === "hard" ? hard : gentle),
    lambda: hostTensor(dtype, [...tokens, heads, levels], () => random.next()),
  };
}

/** Computes rows in float64, with the state behind them. */
function expectedOf(
  { q, k, v, g, lambda }: Inputs,
  options: reference.LogLinearAttentionOptions,
): Required<reference.LogLinearAttentionResult> {
  const result = reference.logLinearAttention(q, k, v, g, lambda, { ...options, finalState: true });
  return result as Required<reference.LogLinearAttentionResult>;
}

/** The state of sequences that have had so many tokens. */
function stateOf(c: LogLinearCase, random: Random): reference.LogLinearState | undefined {
  if (c.before === undefined) return undefined;
  const bounds = [0];
  for (const count of c.before) bounds.push(bounds[bounds.length - 1] + count);
  const inputs = inputsOf(c, random, [1, bounds[bounds.length - 1]]);
  const cuSeqlens = { data: bounds, shape: [bounds.length] };
  return expectedOf(inputs, { ...c.options, cuSeqlens }).finalState;
}

/** The error ratio of the worst output and level: of a whole, then of the steps behind it. */
async function errorOf(gpu: Gpu, c: LogLinearCase): Promise<number> {
  const { batch, length, heads, keyDim, valueDim, levels, cuSeqlens, steps, options } = c;
  const random = new Random(length + keyDim + valueDim);
  const uploaded: Tensor[] = [];
  const upload = <T extends Tensor>(tensor: T): T => {
    uploaded.push(tensor);
    return tensor;
  };
  const rowsOf = ({ q, k, v, g, lambda }: Inputs) => {
    const [first, second, third, gates, weights] = [q, k, v, g, lambda].map(({ data, shape }) =>
      upload(gpu.tensor(data, shape) as Tensor<"f32" | "f16">)
    );
    return [first, second, third, gates, weights] as const;
  };
  const ratios = [0];
  const compare = async (
    tensor: Tensor,
    { data }: reference.Float64Tensor,
    parts: readonly [number, number],
  ) => ratios.push(compareHeads(await tensor.read(), data, ...parts).ratio);
  const outHeads = Math.max(heads[0], heads[2]);

  const begun = stateOf(c, random);
  const inputs = inputsOf(c, random, [batch, length]);
  const packed = cuSeqlens && { data: Int32Array.from(cuSeqlens), shape: [cuSeqlens.length] };
  let expected = expectedOf(inputs, {
    ...{ ...options, ...(begun && { initialState: begun }) },
    ...(packed && { cuSeqlens: packed }),
  });
  const result = logLinearAttention(...rowsOf(inputs), {
    ...{ ...options, finalState: true },
    ...(begun && {
      initialState: {
        s: upload(gpu.tensor(Float32Array.from(begun.s.data), begun.s.shape)),
        t: upload(gpu.tensor(Int32Array.from(begun.t.data), begun.t.shape)),
      },
    }),
    ...(packed && { cuSeqlens: upload(gpu.tensor(packed.data, packed.shape)) }),
  });
  const state = result.finalState as LogLinearState;
  for (const tensor of [result.out, state.s, state.t]) upload(tensor);
  await compare(result.out, expected.out, [outHeads, valueDim]);
  const { schedule, ...form } = options;
  const stepOptions = { ...form, ...(schedule === "naive" && { schedule }) };
  for (let step = 0; step < steps; step++) {
    const token = inputsOf(c, random, [batch, 1]);
    expected = expectedOf(token, { ...form, initialState: expected.finalState });
    const out = upload(logLinearAttentionStep(state, ...rowsOf(token), stepOptions));
    await compare(out, expected.out, [outHeads, valueDim]);
  }
  await compare(state.s, expected.finalState.s, [heads[2], levels * keyDim * valueDim]);
  await compare(state.t, expected.finalState.t, [1, 1]);
  for (const tensor of uploaded) tensor.dispose();
  return Math.max(...ratios);
}
