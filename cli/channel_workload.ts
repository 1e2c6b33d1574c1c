import type { Gpu } from "../gpu/device.ts";
import { elementBytes, volume } from "../gpu/dtype.ts";
import type { Tensor } from "../gpu/tensor.ts";
import * as reference from "../reference/mod.ts";
import { compare } from "./compare.ts";
import { firstTokens } from "./first_tokens.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { Random } from "./random.ts";
import { RUNNABLE } from "./runnable.ts";
import type { Choices } from "./tune/choices.ts";
import type { Walked } from "./tune/recurrence_choices.ts";
import { type LoadedWorkload, tokenModel, type Workload } from "./workload.ts";

/** A problem of channels side by side, `[B, T, C]`. */
export interface ChannelCase {
  readonly batch: number;
  readonly length: number;
  readonly channels: number;
  readonly dtype: "f32" | "f16";
  readonly seed: number;
  /** Whether sequences start from states and leave some. */
  readonly state?: boolean;
}

/** A tensor of a case. */
export interface ChannelTensor {
  /** What has a row of it; all share one by default. */
  readonly per?: "token" | "sequence";
  /** The axes of a row. */
  readonly axes: readonly number[];
  /** That of the case by default. */
  readonly dtype?: "f32";
  /** Standard normal by default. */
  readonly draw?: (random: Random) => number;
}

type Named<T> = Readonly<Record<string, T>>;

/** A case as a tuner sees it. */
export interface ChannelChoice {
  /** Bytes of inputs and outputs. */
  readonly bytes: number;
  /** The case, computed another way. */
  readonly workloadOf: Walked;
}

/** An operator along time on channels side by side, as a workload needs it. */
export interface ChannelOperator<C extends ChannelCase> {
  readonly name: "selectiveScan" | "hgrn" | "causalConv1d";
  /** Largest error ratio with which it may be timed. */
  readonly tolerance: Readonly<Record<"f32" | "f16", number>>;
  /** What tells a case from its neighbours beside its sizes. */
  wordsOf(c: C): readonly string[];
  /** Its tensors by name, without states. */
  tensorsOf(c: C): Named<ChannelTensor>;
  /** What it takes for its state, f32, and the axes of one. */
  stateOf(c: C): readonly [name: string, axes: readonly number[]];
  /** Its options that are no tensors. */
  optionsOf(c: C): object;
  /** Operations of a token by the definition, a function of a number as one. */
  flopsOf(c: C): number;
  /** The name of the schedule that a device runs, and those that fit, the default first. */
  schedulesOn(gpu: Gpu, tensors: Named<Tensor>, options: object): readonly [string, string[]];
  /** What a tuner chooses between. */
  choicesOn(gpu: Gpu, tensors: Named<Tensor>, options: object, choice: ChannelChoice): Choices;
  /** Cases of the same result, by what they are called. */
  rivalsOf(c: C): Named<C>;
}

/** Operations that the float64 reference may spend on a check before timing. */
const BUDGET = 2e8;

/** A case of an operator as a workload. */
export function channelWorkload<C extends ChannelCase>(
  operator: ChannelOperator<C>,
  c: C,
): Workload {
  const { batch, length, channels, dtype, state } = c;
  const tokens = batch * length;
  const bytes = bytesOf(operator, c);
  const rivals = Object.entries(operator.rivalsOf(c)).map(([name, rival]) => [
    ...[name, () => channelWorkload(operator, rival)],
  ]);
  const sizes = [`B${batch} T${length} C${channels}`, ...operator.wordsOf(c), dtype];
  return {
    operator: operator.name,
    problem: c,
    name: [...sizes, ...(state ? ["state"] : [])].join(" "),
    tolerance: operator.tolerance[dtype],
    flops: tokens * operator.flopsOf(c),
    bytes,
    rivals: Object.fromEntries(rivals),
    always: [],
    scheduleOn: (gpu) => onEmpty(operator, gpu, c, (...call) => operator.schedulesOn(...call)[0]),
    schedulesOn: (gpu) => onEmpty(operator, gpu, c, (...call) => operator.schedulesOn(...call)[1]),
    choices: (gpu) =>
      onEmpty(operator, gpu, c, (...call) =>
        operator.choicesOn(...call, {
          bytes,
          workloadOf: (choice) => channelWorkload(operator, { ...c, ...choice }),
        })),
    load: (gpu) => loadWorkload(operator, gpu, c),
    model: tokenModel(tokens, bytes),
  };
}

/** All tensors of a case by name. */
function allTensors<C extends ChannelCase>(
  operator: ChannelOperator<C>,
  c: C,
): Named<ChannelTensor> {
  if (!c.state) return operator.tensorsOf(c);
  const [name, axes] = operator.stateOf(c);
  return { ...operator.tensorsOf(c), [name]: { per: "sequence", axes, dtype: "f32" } };
}

function shapeOf({ batch, length }: ChannelCase, { per, axes }: ChannelTensor): number[] {
  if (per === undefined) return [...axes];
  return per === "token" ? [batch, length, ...axes] : [batch, ...axes];
}

/** Bytes of the inputs, of the output and of the states that are left, if any. */
function bytesOf<C extends ChannelCase>(operator: ChannelOperator<C>, c: C): number {
  const { batch, length, channels, dtype } = c;
  const tensors = Object.values(allTensors(operator, c)).map((tensor) =>
    (tensor.per === "sequence" ? 2 : 1) * elementBytes(tensor.dtype ?? dtype) *
    volume(shapeOf(c, tensor))
  );
  const out = elementBytes(dtype) * batch * length * channels;
  return tensors.reduce((sum, bytes) => sum + bytes, out);
}

/** The inputs of a case on the host. */
export function channelInputs<C extends ChannelCase>(
  operator: ChannelOperator<C>,
  c: C,
): Named<HostTensor> {
  const random = new Random(c.seed);
  const inputs = Object.entries(allTensors(operator, c)).map(([name, tensor]) => {
    const { dtype = c.dtype, draw = (random: Random) => random.normal() } = tensor;
    return [name, hostTensor(dtype, shapeOf(c, tensor), () => draw(random))];
  });
  return Object.fromEntries(inputs);
}

/** The arguments of an operator, of the library or the reference, from tensors by name. */
function argumentsOf<C extends ChannelCase, T>(
  operator: ChannelOperator<C>,
  c: C,
  tensors: Named<T>,
): { readonly required: T[]; readonly options: Record<string, unknown> } {
  const { parameters } = RUNNABLE[operator.name];
  const others = Object.entries(tensors).filter(([name]) => !parameters.includes(name));
  const options = { ...operator.optionsOf(c), ...(c.state && { finalState: true }) };
  return {
    required: parameters.map((name) => tensors[name]),
    options: { ...options, ...Object.fromEntries(others) },
  };
}

/** Asks an operator about tensors without data. */
function onEmpty<C extends ChannelCase, R>(
  operator: ChannelOperator<C>,
  gpu: Gpu,
  c: C,
  ask: (gpu: Gpu, tensors: Named<Tensor>, options: object) => R,
): R {
  using stack = new DisposableStack();
  const empty = Object.entries(allTensors(operator, c)).map(([name, tensor]) => [
    ...[name, stack.use(gpu.empty(shapeOf(c, tensor), tensor.dtype ?? c.dtype))],
  ]);
  const tensors: Named<Tensor> = Object.fromEntries(empty);
  return ask(gpu, tensors, argumentsOf(operator, c, tensors).options);
}

function loadWorkload<C extends ChannelCase>(
  operator: ChannelOperator<C>,
  gpu: Gpu,
  c: C,
): LoadedWorkload {
  const inputs = channelInputs(operator, c);
  const uploaded = Object.entries(inputs).map(([name, { data, shape }]) => [
    ...[name, gpu.tensor(data, shape)],
  ]);
  const tensors: Named<Tensor> = Object.fromEntries(uploaded);
  const { required, options } = argumentsOf(operator, c, tensors);
  return {
    compute: () => Object.values(RUNNABLE[operator.name].call(required, options)),
    errorOf: (out) => spotCheckChannels(operator, c, inputs, out),
    [Symbol.dispose]: () => Object.values(tensors).forEach((tensor) => tensor.dispose()),
  };
}

/**
 * Compares an output with float64 on as many first tokens as the budget allows, all of them where the
 * problem is small: causality makes what they give independent of the others. Of a single token a
 * channel has one value, maybe near 0, so that all channels count together.
 */
export function spotCheckChannels<C extends ChannelCase>(
  operator: ChannelOperator<C>,
  c: C,
  inputs: Named<HostTensor>,
  out: ArrayLike<number>,
): number {
  const { batch, length, channels } = c;
  const affordable = Math.floor(BUDGET / (batch * operator.flopsOf(c)));
  const tokens = Math.min(length, Math.max(1, affordable));
  const all = allTensors(operator, c);
  const cut = Object.entries(inputs).map(([name, tensor]) => [
    ...[name, all[name].per === "token" ? firstTokens(tensor, tokens) : tensor],
  ]);
  const { required, options } = argumentsOf(operator, c, Object.fromEntries(cut));
  const oracle = reference[operator.name] as (...args: unknown[]) => {
    readonly out: reference.Float64Tensor;
  };
  const expected = oracle(...required, options).out.data;
  const actual = firstTokens({ data: out, shape: [batch, length, channels] }, tokens).data;
  return compare(actual, expected).ratio;
}
