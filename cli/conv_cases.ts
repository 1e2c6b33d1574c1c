import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { causalConv1d, causalConv1dStep } from "../ops/conv/mod.ts";
import { causalConv1d as reference } from "../reference/mod.ts";
import { compare } from "./compare.ts";
import { type HostTensor, hostTensor, TOLERANCE } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface ConvCase {
  readonly batch: number;
  readonly length: number;
  readonly channels: number;
  /** W. */
  readonly width: number;
  readonly dtype: "f32" | "f16";
  readonly weightType: "f32" | "f16";
  readonly bias: boolean;
  readonly activation: "silu" | "none";
  /** Whether sequences start from states. */
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  /** Tokens at the end that steps compute, in place. */
  readonly steps: number;
}

type Part = Partial<ConvCase>;

/** Sequences that are empty, shorter than a filter, of less than a run and of several. */
const PACKED = [0, 0, 1, 1, 3, 60, 300, 300];

const CASES: readonly Part[] = [
  {},
  { width: 1 },
  { width: 2, initial: false },
  { width: 3, channels: 5, bias: false },
  { width: 8, batch: 3 },
  { width: 8, batch: 1, length: 300, cuSeqlens: PACKED },
  { batch: 1, length: 300, cuSeqlens: PACKED, initial: false, channels: 7 },
  { length: 1 },
  { length: 2, width: 5, initial: false },
  { length: 0 }, // hands its state on
  { steps: 6 },
  { steps: 3, width: 7, length: 5, channels: 3, dtype: "f16" },
  { dtype: "f16", weightType: "f16", activation: "none" },
  { dtype: "f16", channels: 5, length: 131 },
  { activation: "none", bias: false, channels: 300 },
  { batch: 1, length: 20_000, channels: 64 },
];

/** Short convolutions against float64. */
export function convGroup(selection: CheckSelection): CheckGroup {
  const cases = CASES.map(caseOf).filter(({ length }) => length < 1000 || !selection.quick);
  const items = caseItems(cases, selection, { nameOf, tolerance: TOLERANCE, errorOf });
  return { operator: "causalConv1d", group: "forms", items };
}

function caseOf(part: Part): ConvCase {
  return {
    ...{ batch: 2, length: 130, channels: 24, width: 4, dtype: "f32", weightType: "f32" },
    ...{ bias: true, activation: "silu", initial: true, steps: 0 },
    ...part,
  };
}

function nameOf(c: ConvCase): string {
  const words = [
    ...[`B${c.batch} T${c.length} C${c.channels} W${c.width}`, c.dtype],
    ...[c.weightType === c.dtype ? "" : `weight ${c.weightType}`, c.activation],
    ...[c.bias ? "bias" : "", c.initial ? "state" : ""],
    ...[c.cuSeqlens ? `packed ${c.cuSeqlens}` : "", c.steps > 0 ? `${c.steps} steps` : ""],
  ];
  return words.filter((word) => word !== "").join(" ");
}

/** The error ratio of the worst output: of the tokens together, of each step, of the state. */
async function errorOf(gpu: Gpu, c: ConvCase): Promise<number> {
  const { batch, length, channels, width, dtype, weightType, activation, cuSeqlens, steps } = c;
  const random = new Random(length + width);
  const normal = (): number => random.normal();
  const sequences = cuSeqlens ? cuSeqlens.length - 1 : batch;
  const x = hostTensor(dtype, [batch, length, channels], normal);
  const weight = hostTensor(weightType, [channels, width], normal);
  const bias = hostTensor(weightType, [channels], normal);
  const state = hostTensor("f32", [sequences, channels, width - 1], normal);
  const expected = reference(x, weight, {
    ...{ activation, finalState: true, ...(c.bias && { bias }), ...(c.initial && { state }) },
    ...(cuSeqlens && { cuSeqlens: { data: cuSeqlens, shape: [cuSeqlens.length] } }),
  });

  using stack = new DisposableStack();
  const upload = ({ data, shape }: HostTensor): Tensor<"f32"> =>
    stack.use(gpu.tensor(data, shape)) as Tensor<"f32">;
  const filters = upload(weight);
  const options = { activation, ...(c.bias && { bias: upload(bias) }) };
  const first = causalConv1d(upload(tokensOf(x, 0, length - steps)), filters, {
    ...{ ...options, finalState: true, ...(c.initial && { state: upload(state) }) },
    ...(cuSeqlens &&
      { cuSeqlens: stack.use(gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length])) }),
  });
  const last = stack.use(first.finalState as Tensor<"f32">);
  const outs = [stack.use(first.out)];
  for (let t = length - steps; t < length; t++) {
    outs.push(stack.use(causalConv1dStep(last, upload(tokensOf(x, t, t + 1)), filters, options)));
  }

  const ratios = [compare(await last.read(), expected.finalState?.data ?? []).ratio];
  let token = 0;
  for (const out of outs) {
    const end = token + out.shape[1];
    ratios.push(compare(await out.read(), tokensOf(expected.out, token, end).data).ratio);
    token = end;
  }
  return Math.max(...ratios);
}

/** Some tokens of `[B, T, C]`. */
function tokensOf<D extends HostTensor["data"] | Float64Array>(
  { data, shape }: { readonly data: D; readonly shape: readonly number[] },
  first: number,
  end: number,
): { readonly data: D; readonly shape: readonly number[] } {
  const [batch, length, channels] = shape;
  const inside = (_: number, index: number): boolean => {
    const t = Math.floor(index / channels) % length;
    return first <= t && t < end;
  };
  return { data: data.filter(inside) as D, shape: [batch, end - first, channels] };
}
