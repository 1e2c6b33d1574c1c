import { assert, assertEquals } from "@std/assert";
import { hostTensor } from "../cli/host_tensor.ts";
import { Random } from "../cli/random.ts";
import { flattened, nested } from "../cli/records.ts";
import {
  type Gpu,
  requestGpu,
  type Tensor,
  titansMemory,
  titansMemoryStep,
  tttLinear,
  tttLinearStep,
} from "../mod.ts";
import * as reference from "../reference/mod.ts";
import { adapter } from "./adapter.ts";
import { assertClose } from "./assert_close.ts";

/** Whether there is no adapter to test on. */
export const ignore: boolean = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new buffer is full of NaN. */
export function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** The name of a rule. */
export type RuleName = "tttLinear" | "titansMemory";

/** A rule of learning, and what its inputs are called. */
interface Rule {
  readonly operator: (...args: never[]) => object;
  readonly step: (...args: never[]) => Tensor;
  readonly oracle: (...args: never[]) => object;
  readonly parameters: readonly string[];
}

const RULES: Readonly<Record<RuleName, Rule>> = {
  tttLinear: {
    ...{ operator: tttLinear, step: tttLinearStep, oracle: reference.tttLinear },
    parameters: ["q", "k", "v", "w", "b", "eta"],
  },
  titansMemory: {
    ...{ operator: titansMemory, step: titansMemoryStep, oracle: reference.titansMemory },
    parameters: ["q", "k", "v"],
  },
};

/** A problem. */
export interface Case {
  rule: RuleName;
  batch: number;
  length: number;
  heads: number;
  qHeads: number;
  kHeads: number;
  keyDim: number;
  valueDim: number;
  dtype: "f32" | "f16";
  initial: boolean;
  /** Which of eta and alpha Titans has. */
  rates: readonly string[];
  cuSeqlens: readonly number[] | null;
  options: Readonly<Record<string, unknown>>;
}

type Host = { readonly data: Float32Array | Float16Array; readonly shape: readonly number[] };

/** Inputs by name, parts of states by names with a dot. */
export type Inputs = Readonly<Record<string, Host>>;

/** Outputs by name. */
export type Outputs = Readonly<Record<string, ArrayLike<number>>>;

/** One sequence of 40 tokens, 2 heads of 12 channels, in mini-batches of 5. */
export function caseOf(rule: RuleName, part: Partial<Case> = {}): Case {
  return {
    ...{ rule, batch: 1, length: 40, heads: 2, qHeads: 2, kHeads: 2, keyDim: 12, valueDim: 12 },
    ...{ dtype: "f32", initial: true, rates: ["eta", "alpha"], cuSeqlens: null },
    options: { miniBatch: 5 },
    ...part,
  };
}

/** Draws the inputs of a case. */
export function inputsOf(c: Case): Inputs {
  const random = new Random(7);
  const normal = () => random.normal();
  const tokens = [c.batch, c.length];
  const make = (shape: number[], next = normal) => hostTensor(c.dtype, shape, next);
  const rate = (most: number) => make([...tokens, c.heads], () => most * random.next());
  const sequences = c.cuSeqlens ? c.cuSeqlens.length - 1 : c.batch;
  const axes = c.options.stateLayout === "vk" ? [c.valueDim, c.keyDim] : [c.keyDim, c.valueDim];
  const matrix = () => hostTensor("f32", [sequences, c.heads, ...axes], () => normal() / 4);
  const rows = {
    q: make([...tokens, c.qHeads, c.keyDim]),
    k: make([...tokens, c.kHeads, c.keyDim], () => normal() / 4),
    v: make([...tokens, c.heads, c.valueDim]),
  };
  if (c.rule === "tttLinear") {
    return {
      ...rows,
      ...{ w: make([c.heads, c.valueDim]), b: make([c.heads, c.valueDim]), eta: rate(0.3) },
      ...(c.initial && {
        "initialState.w": matrix(),
        "initialState.b": hostTensor("f32", [sequences, c.heads, c.valueDim], normal),
      }),
    };
  }
  const others = { eta: rate(0.9), alpha: rate(0.3) };
  return {
    ...{ ...rows, theta: rate(1) },
    ...Object.fromEntries(Object.entries(others).filter(([name]) => c.rates.includes(name))),
    ...(c.initial && { "initialState.m": matrix(), "initialState.s": matrix() }),
  };
}

/** The arguments of an operator in order. */
function argumentsOf<T extends object>(
  { rule }: Case,
  tensors: Readonly<Record<string, T>>,
  options: object,
): never[] {
  const { parameters } = RULES[rule];
  const others = Object.entries(tensors).filter(([name]) => !parameters.includes(name));
  return [
    ...parameters.map((name) => tensors[name]),
    { ...options, ...nested(Object.fromEntries(others)) },
  ] as never[];
}

/** Uploads, computes, reads and frees. */
export async function compute(c: Case, inputs: Inputs, gpu: Gpu = theGpu()): Promise<Outputs> {
  const before = gpu.memory().tensors;
  const tensors: Record<string, Tensor> = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  if (c.cuSeqlens) {
    tensors.cuSeqlens = gpu.tensor(Int32Array.from(c.cuSeqlens), [c.cuSeqlens.length]);
  }
  const { operator } = RULES[c.rule];
  const results = flattened<Tensor>(
    operator(...argumentsOf(c, tensors, { finalState: true, ...c.options })),
  );
  const outputs: Record<string, ArrayLike<number>> = {};
  for (const [name, tensor] of Object.entries(results)) outputs[name] = await tensor.read();
  for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.dispose();
  assertEquals(gpu.memory().tensors, before);
  return outputs;
}

/** The outputs of tokens that steps compute one by one, and the state that they leave. */
export async function computeSteps(c: Case, inputs: Inputs): Promise<Outputs> {
  const gpu = theGpu();
  const upload = ({ data, shape }: Host): Tensor => gpu.tensor(data, shape);
  const named = Object.entries(inputs);
  const isState = (name: string): boolean => name.startsWith("initialState");
  const states = Object.fromEntries(
    named.filter(([name]) => isState(name)).map(([name, host]) => [name, upload(host)]),
  );
  const { initialState } = nested(states);
  const { step } = RULES[c.rule];
  const out: number[] = [];
  for (let t = 0; t < c.length; t++) {
    const token = Object.fromEntries(
      named.filter(([name]) => !isState(name))
        .map(([name, host]) => [name, upload(tokensOf(c, host, t, t + 1))]),
    );
    const row = step(...[initialState as never, ...argumentsOf(c, token, c.options)]);
    out.push(...await row.read());
    for (const tensor of [row, ...Object.values(token)]) tensor.dispose();
  }
  const outputs: Record<string, ArrayLike<number>> = { out };
  for (const [name, tensor] of Object.entries(states)) {
    outputs[name.replace("initial", "final")] = await tensor.read();
    tensor.dispose();
  }
  return outputs;
}

/** Some of the tokens of a batch of 1; what has no tokens as it is. */
export function tokensOf(c: Case, { data, shape }: Host, first: number, end: number): Host {
  if (shape[0] !== 1 || shape[1] !== c.length || shape.length < 3) return { data, shape };
  const row = data.length / c.length;
  return { data: data.slice(first * row, end * row), shape: [1, end - first, ...shape.slice(2)] };
}

/** Computes a case in float64. */
export function expectedOf(c: Case, inputs: Inputs): Outputs {
  const { schedule: _, ...options } = c.options;
  const packed = c.cuSeqlens && { data: c.cuSeqlens, shape: [c.cuSeqlens.length] };
  const tensors: Record<string, reference.ReferenceTensor> = {
    ...inputs,
    ...(packed && { cuSeqlens: packed }),
  };
  const { oracle } = RULES[c.rule];
  const results = flattened<reference.Float64Tensor>(
    oracle(...argumentsOf(c, tensors, { finalState: true, ...options })),
  );
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
}

/** Asserts that outputs are those of a reference, within 1e-4 (f32) or 2e-3 (f16). */
export function assertOutputs(actual: Outputs, expected: Outputs, ratio = 1e-4): void {
  assertEquals(Object.keys(actual).sort(), Object.keys(expected).sort());
  for (const [name, data] of Object.entries(expected)) {
    assertClose(name, actual[name], data, { ratio });
  }
}

/** Asserts that two arrays have the same bits. */
export function assertSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i])) assertEquals(actual[i], expected[i], `element ${i}`);
  }
}
