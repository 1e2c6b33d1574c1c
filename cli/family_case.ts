import type { Gpu } from "../gpu/device.ts";
import { volume } from "../gpu/dtype.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { Float64Tensor } from "../reference/mod.ts";
import { featureDim } from "../kernels/recurrence/features.ts";
import { compareHeads } from "./compare.ts";
import {
  DRAWINGS,
  FAMILIES,
  type Family,
  type FamilyOptions,
  type FamilyTensor,
  type FamilyTensors,
  FAST_WEIGHTS,
  STATE,
} from "./families.ts";
import { hostTensor } from "./host_tensor.ts";
import { Random } from "./random.ts";
import { flattened, nested } from "./records.ts";
import type { RecurrenceInput, RecurrenceInputs } from "./recurrence_case.ts";

/** The named recurrences and fast weights. */
const ALL: Readonly<Record<string, Family>> = { ...FAMILIES, ...FAST_WEIGHTS };

type Values = RecurrenceInput["data"] | Uint32Array | Float64Array;

/** Tokens first <= t < end. */
type Span = readonly [first: number, end: number];

/** A problem of a named recurrence with everything that determines its inputs. */
export interface FamilyCase {
  readonly family: string;
  readonly batch: number;
  readonly length: number;
  /** HV, HQ and HK. */
  readonly heads: number;
  readonly qHeads: number;
  readonly kHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly seed: number;
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  /** Tensors that only some cases have, and what is unusual about the others. */
  readonly tensors?: Readonly<Record<string, Partial<FamilyTensor>>>;
  /** Options that are no tensors, of sequences and steps. */
  readonly options?: FamilyOptions;
  /** Those of sequences alone. */
  readonly sequence?: FamilyOptions;
  /** How many of the tokens are steps from the state behind the others; 0 by default. */
  readonly steps?: number;
}

/** One line that tells a case from its neighbours, such as `B1 T70 H2 K16 V24 f32 lowerBound 0.3`. */
export function familyCaseName(c: FamilyCase): string {
  const { tensors = {}, options = {}, sequence = {}, steps } = c;
  const changes = Object.entries(tensors).map(([name, change]) =>
    [name, ...Object.values(change)].join(" ")
  );
  const words = Object.entries<unknown>({ ...options, ...sequence, ...(steps && { steps }) })
    .map(([name, value]) => value === true ? name : `${name} ${value}`);
  return [
    `B${c.batch} T${c.length} H${c.heads}`,
    ...(c.qHeads === c.heads && c.kHeads === c.heads ? [] : [`HQ${c.qHeads} HK${c.kHeads}`]),
    `K${c.keyDim} V${c.valueDim} ${c.dtype}`,
    ...(c.initial ? ["initial"] : []),
    ...(c.cuSeqlens ? [`packed ${c.cuSeqlens}`] : []),
    ...changes,
    ...words,
  ].join(" ");
}

/** The tensors of a case; cuSeqlens is not among them, whose data is its problem. */
function tensorsOf({ family, tensors = {}, options = {}, initial }: FamilyCase): FamilyTensors {
  const { parameters, required, optional, state = () => STATE } = ALL[family];
  const usual = { ...parameters, ...required, ...(initial && state(options)) };
  const known: FamilyTensors = { ...optional, ...usual };
  const changed = Object.entries(tensors).map(([name, change]) => [
    name,
    { ...known[name], ...change },
  ]);
  return { ...usual, ...Object.fromEntries(changed) };
}

/** Makes the inputs of a case. */
export function familyInputs(c: FamilyCase): RecurrenceInputs {
  const { cuSeqlens, keyDim } = c;
  const random = new Random(c.seed);
  const sizes: Readonly<Record<string, number>> = {
    ...{ B: c.batch, T: c.length, N: cuSeqlens ? cuSeqlens.length - 1 : c.batch },
    ...{ HQ: c.qHeads, HK: c.kHeads, HV: c.heads, K: keyDim, V: c.valueDim },
    TN: c.length * writesOf(c),
    ...{ TAYLOR: featureDim("taylor2", keyDim), HEDGEHOG: 2 * keyDim },
    ...{ SIDES: 2, BIASED: keyDim + 1 }, // of weights for queries and keys, and with a bias
  };
  const inputs = Object.entries(tensorsOf(c)).map(
    ([name, { axes, draw = "normal", dtype = c.dtype }]) => [
      name,
      hostTensor(dtype, axes.split(" ").map((axis) => sizes[axis]), () => DRAWINGS[draw](random)),
    ],
  );
  return {
    ...Object.fromEntries(inputs),
    ...(cuSeqlens &&
      { cuSeqlens: { data: Int32Array.from(cuSeqlens), shape: [cuSeqlens.length] } }),
  };
}

/** The tensors of an operator in order, then its options. */
function argumentsOf<T extends object>(
  { family, options }: FamilyCase,
  tensors: Readonly<Record<string, T>>,
  more: FamilyOptions = {},
): never[] {
  const parameters = Object.keys(ALL[family].parameters);
  const others = Object.entries(tensors).filter(([name]) => !parameters.includes(name));
  return [
    ...parameters.map((name) => tensors[name]),
    { ...options, ...more, ...nested(Object.fromEntries(others)) },
  ] as never[];
}

/** The outputs of a case in float64, those of a record by names with a dot. */
export function familyReference(
  c: FamilyCase,
  inputs: RecurrenceInputs,
): Record<string, Float64Tensor> {
  const { reference } = ALL[c.family];
  return flattened(reference(...argumentsOf(c, inputs, { ...c.sequence, finalState: true })));
}

/** Computes a case and returns the error ratio of its worst output. */
export async function checkFamily(gpu: Gpu, c: FamilyCase): Promise<number> {
  const inputs = familyInputs(c);
  return familyError(c, familyReference(c, inputs), await outputsOf(gpu, c, inputs));
}

/** What the operator makes of the first tokens, and then its steps, in place, of the others. */
async function outputsOf(
  gpu: Gpu,
  c: FamilyCase,
  inputs: RecurrenceInputs,
): Promise<Record<string, Values>> {
  using stack = new DisposableStack();
  const { operator, step } = ALL[c.family];
  const upload = (names: readonly string[], span: Span): Record<string, Tensor> => {
    const chosen = inputsIn(c, inputs, span);
    const tensors = names.map((name) => {
      const { data, shape } = chosen[name];
      return [name, stack.use(gpu.tensor(data, shape))];
    });
    return Object.fromEntries(tensors);
  };
  const { length, steps = 0 } = c;
  const names = Object.keys(inputs);
  const sequence = upload(names, [0, length - steps]);
  const result = operator(...argumentsOf(c, sequence, { ...c.sequence, finalState: true }));
  const { out, ...states } = flattened<Tensor>(result);
  [out, ...Object.values(states)].forEach((tensor) => stack.use(tensor));

  const parts = [out];
  const stepNames = names.filter((name) => !name.startsWith("initialState"));
  for (let t = length - steps; t < length; t++) {
    const token = upload(stepNames, [t, t + 1]);
    parts.push(stack.use(step(result.finalState as never, ...argumentsOf(c, token))));
  }
  const outputs: Record<string, Values> = { out: await joined(parts) };
  for (const [name, state] of Object.entries(states)) outputs[name] = await state.read();
  return outputs;
}

/** The inputs of a span of tokens. */
function inputsIn(c: FamilyCase, inputs: RecurrenceInputs, span: Span): RecurrenceInputs {
  const perToken = Object.entries(tensorsOf(c)).filter(([, { axes }]) => axes.startsWith("B T"));
  const rows = perToken.map(([name, { axes }]) => {
    const writes = axes.startsWith("B TN") ? writesOf(c) : 1;
    return [name, tokensIn(inputs[name], [span[0] * writes, span[1] * writes])];
  });
  return { ...inputs, ...Object.fromEntries(rows) };
}

/** Writes of a token. */
function writesOf({ options }: FamilyCase): number {
  return Number(options?.householders ?? 1);
}

/** A span of the tokens of `[B, T, …]`. */
function tokensIn<D extends Values>(
  { data, shape }: { readonly data: D; readonly shape: readonly number[] },
  [first, end]: Span,
): { data: D; shape: readonly number[] } {
  const [batch, length, ...row] = shape;
  const width = volume(row);
  const inside = (_: number, index: number): boolean => {
    const t = Math.floor(index / width) % length;
    return first <= t && t < end;
  };
  return { data: data.filter(inside) as D, shape: [batch, end - first, ...row] };
}

/** Outputs of consecutive tokens as one. */
async function joined(parts: readonly Tensor[]): Promise<Float64Array> {
  const rows: number[][] = [];
  for (const part of parts) {
    const [batch] = part.shape;
    const data = [...await part.read()];
    const size = data.length / batch;
    for (let b = 0; b < batch; b++) (rows[b] ??= []).push(...data.slice(b * size, (b + 1) * size));
  }
  return Float64Array.from(rows.flat());
}

/** Sequences, or the tokens before the steps and each step, which are judged on their own. */
function spansOf({ length, cuSeqlens, steps = 0 }: FamilyCase): Span[] {
  const bounds = cuSeqlens ??
    [0, ...Array.from({ length: steps + 1 }, (_, i) => length - steps + i)];
  return bounds.slice(1).map((end, n) => [bounds[n], end]);
}

/** The error ratio of the worst head of each span and each state. */
export function familyError(
  c: FamilyCase,
  { out, ...states }: Readonly<Record<string, Float64Tensor>>,
  outputs: Readonly<Record<string, Values>>,
): number {
  const [, , heads, width] = out.shape;
  const actual = { data: outputs.out, shape: out.shape };
  const ratios = spansOf(c).map((span) => {
    const [part, expected] = [actual, out].map((tensor) => tokensIn(tensor, span).data);
    return compareHeads(part, expected, heads, width).ratio;
  });
  for (const [name, { data, shape }] of Object.entries(states)) {
    const [sequences, heads, ...row] = shape;
    ratios.push(compareHeads(outputs[name], data, sequences * heads, volume(row)).ratio);
  }
  return Math.max(...ratios);
}
