import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  recurrence,
  type RecurrenceOptions,
  type RecurrenceResult,
} from "../ops/recurrence/mod.ts";
import { type RecurrenceProblem, recurrenceProblem } from "../ops/recurrence/problem.ts";
import { runRecurrence } from "../ops/recurrence/run.ts";
import { type Float64Tensor, recurrence as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { hostTensor } from "./host_tensor.ts";
import { Random } from "./random.ts";
import { flattened, nested } from "./records.ts";

/** What has a decay of its own. */
export type GateAxes = "none" | "head" | "token" | "channel";

/** What the gates of a case look like. */
export type GateKind =
  | "gentle" // −0.02 to 0
  | "strong" // −5
  | "mixed" // 0 and −20
  | "reset"; // gentle, every seventh −1e4, −1e30 or −∞

/** A problem with everything that determines its inputs. */
export interface RecurrenceCase {
  readonly batch: number;
  readonly length: number;
  /** HV, HQ and HK. */
  readonly heads: number;
  readonly qHeads: number;
  readonly kHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly gate: GateAxes;
  readonly gates: GateKind;
  readonly seed: number;
  readonly valueGate?: boolean;
  readonly bonus?: boolean;
  /** Whether the delta rule erases what a key reads; keys then have a length of about 1. */
  readonly delta?: boolean;
  readonly normalize?: boolean;
  readonly initial?: boolean;
  readonly final?: boolean;
  /** Whether the final state takes the place of the initial one, as that of a step does. */
  readonly inPlace?: boolean;
  readonly stateLayout?: "kv" | "vk";
  readonly cuSeqlens?: readonly number[];
  readonly reverse?: boolean;
  readonly mode?: "auto" | "chunk" | "loop";
  readonly chunkSize?: 16 | 32 | 64;
  readonly scale?: number;
  readonly schedule?: string;
}

/** An input on the host. */
export interface RecurrenceInput {
  readonly data: Float32Array | Float16Array | Int32Array;
  readonly shape: readonly number[];
}

/** The inputs of a case on the host by name, those of a record by names with a dot. */
export type RecurrenceInputs = Readonly<Record<string, RecurrenceInput>>;

/** A case on the device, ready to be computed many times. */
export interface LoadedRecurrence extends Disposable {
  readonly inputs: RecurrenceInputs;
  /** Records one call. */
  compute(): RecurrenceResult<"f32" | "f16">;
}

/** Largest error ratio that passes (design, section 3.2): states in f32, and rounding of f16 storage. */
export const RECURRENCE_TOLERANCE = { f32: 1e-4, f16: 2e-3 } as const;

/** One line that tells a case from its neighbours, such as `B1 T100 H4 K64 V64 f32 token chunk 16`. */
export function recurrenceCaseName(c: RecurrenceCase): string {
  const words = [
    `B${c.batch} T${c.length} H${c.heads}`,
    c.qHeads === c.heads && c.kHeads === c.heads ? "" : ` HQ${c.qHeads} HK${c.kHeads}`,
    ` K${c.keyDim} V${c.valueDim} ${c.dtype} ${c.gate}`,
    c.gates === "gentle" ? "" : ` ${c.gates}`,
    c.valueGate ? " gv" : "",
    c.bonus ? " bonus" : "",
    c.delta ? " delta" : "",
    c.normalize ? " normalize" : "",
    c.initial ? " initial" : "",
    c.inPlace ? " in place" : "",
    c.stateLayout ? ` ${c.stateLayout}` : "",
    c.cuSeqlens ? ` packed ${c.cuSeqlens.join(",")}` : "",
    c.reverse ? " reverse" : "",
    c.mode ? ` ${c.mode}` : "",
    c.chunkSize ? ` ${c.chunkSize}` : "",
    c.scale === undefined ? "" : ` scale ${c.scale}`,
    c.schedule ? ` ${c.schedule}` : "",
  ];
  return words.join("");
}

/** The shapes of the tensors of a case; cuSeqlens is not among them, whose data is its problem. */
export function recurrenceShapes(c: RecurrenceCase): Record<string, readonly number[]> {
  const { batch, length, heads, qHeads, kHeads, keyDim, valueDim, gate } = c;
  const tokens = [batch, length];
  const gates = { head: [heads], token: [...tokens, heads], channel: [...tokens, heads, keyDim] };
  const rows = [boundsOf(c).length - 1, heads];
  const state = [...rows, ...(c.stateLayout === "vk" ? [valueDim, keyDim] : [keyDim, valueDim])];
  return {
    q: [...tokens, qHeads, keyDim],
    k: [...tokens, kHeads, keyDim],
    v: [...tokens, heads, valueDim],
    ...(gate !== "none" && { g: gates[gate] }),
    ...(c.valueGate && { gv: [...tokens, heads, valueDim] }),
    ...(c.bonus && { u: [kHeads, keyDim] }),
    ...(c.delta && { beta: [...tokens, heads] }),
    ...(c.initial && !c.normalize && { initialState: state }),
    ...(c.initial && c.normalize && { "initialState.s": state }),
    ...(c.initial && c.normalize && { "initialState.z": [...rows, keyDim] }),
  };
}

/** Storage of a tensor of a case: states are f32. */
export function recurrenceDType(c: RecurrenceCase, name: string): "f32" | "f16" {
  return name.startsWith("initialState") ? "f32" : c.dtype;
}

/** Makes the inputs of a case; what is divided by a sum of keys must not be near 0. */
export function recurrenceInputs(c: RecurrenceCase): RecurrenceInputs {
  const random = new Random(c.seed);
  const gate = (): number => gateOf(c.gates, random);
  const positive = (): number => Math.abs(random.normal());
  const draws: Readonly<Record<string, () => number>> = {
    ...{ g: gate, gv: gate, "initialState.z": positive },
    ...(c.normalize && { q: positive, k: positive, u: positive }),
    ...(c.delta && { k: () => random.normal() / Math.sqrt(c.keyDim), beta: () => random.next() }),
  };
  const inputs = Object.entries(recurrenceShapes(c)).map(([name, shape]) => [
    name,
    hostTensor(recurrenceDType(c, name), shape, draws[name] ?? (() => random.normal())),
  ]);
  return { ...Object.fromEntries(inputs), ...packedInput(c) };
}

function packedInput({ cuSeqlens }: RecurrenceCase): RecurrenceInputs {
  if (cuSeqlens === undefined) return {};
  return { cuSeqlens: { data: Int32Array.from(cuSeqlens), shape: [cuSeqlens.length] } };
}

function gateOf(kind: GateKind, random: Random): number {
  if (kind === "strong") return -5;
  if (kind === "mixed") return random.pick([0, -20]);
  const reset = kind === "reset" && random.next() < 1 / 7;
  return reset ? random.pick([-1e4, -1e30, -Infinity]) : -0.02 * random.next();
}

/** Where sequences begin and end among all tokens. */
function boundsOf({ batch, length, cuSeqlens }: RecurrenceCase): readonly number[] {
  return cuSeqlens ?? Array.from({ length: batch + 1 }, (_, b) => b * length);
}

const OPTIONS = [
  ...["normalize", "scale", "stateLayout", "reverse", "mode", "chunkSize", "schedule"] as const,
];

/** The options that are no tensors. */
function optionsOf(
  c: RecurrenceCase,
): Pick<RecurrenceOptions, (typeof OPTIONS)[number] | "finalState"> {
  const given = OPTIONS.filter((name) => c[name] !== undefined).map((name) => [name, c[name]]);
  return { ...Object.fromEntries(given), ...(c.final && { finalState: true }) };
}

type Operand = Tensor<"f32" | "f16">;

/** The arguments of the operator, from tensors by name. */
function argumentsOf(
  c: RecurrenceCase,
  { q, k, v, ...others }: Readonly<Record<string, Tensor>>,
): [q: Operand, k: Operand, v: Operand, options: RecurrenceOptions] {
  return [q as Operand, k as Operand, v as Operand, { ...optionsOf(c), ...nested(others) }];
}

/** What the library makes of a case; throws where it refuses it. */
export function recurrenceProblemOf(gpu: Gpu, c: RecurrenceCase): RecurrenceProblem {
  using stack = new DisposableStack();
  const tensors: Record<string, Tensor> = {};
  for (const [name, shape] of Object.entries(recurrenceShapes(c))) {
    tensors[name] = stack.use(gpu.empty(shape, recurrenceDType(c, name)));
  }
  for (const [name, { data, shape }] of Object.entries(packedInput(c))) {
    tensors[name] = stack.use(gpu.tensor(data, shape));
  }
  return recurrenceProblem(...argumentsOf(c, tensors)).problem;
}

/** Uploads a case. */
export function loadRecurrence(gpu: Gpu, c: RecurrenceCase): LoadedRecurrence {
  const inputs = recurrenceInputs(c);
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  return {
    inputs,
    compute: () => (c.inPlace ? stepped : recurrence)(...argumentsOf(c, tensors)),
    [Symbol.dispose]: () => Object.values(tensors).forEach((tensor) => tensor.dispose()),
  };
}

/** What the steps of the families do. */
function stepped(
  q: Operand,
  k: Operand,
  v: Operand,
  { finalState: _, ...options }: RecurrenceOptions,
): RecurrenceResult<"f32" | "f16"> {
  const family = { name: "recurrence", action: "compute a recurrence", inPlace: true };
  return runRecurrence(family, [q, k, v], options);
}

/** Computes a case and returns the error ratio of its worst output. */
export async function checkRecurrence(gpu: Gpu, c: RecurrenceCase): Promise<number> {
  using loaded = loadRecurrence(gpu, c);
  const outputs: Record<string, ArrayLike<number>> = {};
  for (const [name, tensor] of Object.entries(flattened<Tensor>(loaded.compute()))) {
    outputs[name] = await tensor.read();
    tensor.dispose();
  }
  return recurrenceError(c, loaded.inputs, outputs);
}

/** The error ratio of the worst output, head and sequence against float64. */
export function recurrenceError(
  c: RecurrenceCase,
  { q, k, v, ...others }: RecurrenceInputs,
  outputs: Readonly<Record<string, ArrayLike<number>>>,
): number {
  const expected = reference(q, k, v, { ...optionsOf(c), ...nested(others) });
  const bounds = boundsOf(c);
  const ratios = [0];
  for (const [name, { data, shape }] of Object.entries(flattened<Float64Tensor>(expected))) {
    // [B, T, heads, …] or [N, heads, …]
    const [heads, ...row] = shape.slice(name === "out" ? 2 : 1);
    const width = row.reduce((product, size) => product * size, 1);
    for (let n = 0; n + 1 < bounds.length; n++) {
      const [first, end] = name === "out" ? [bounds[n], bounds[n + 1]] : [n, n + 1];
      const part = (all: ArrayLike<number>): ArrayLike<number> =>
        (all as Float64Array).subarray(first * heads * width, end * heads * width);
      ratios.push(compareHeads(part(outputs[name]), part(data), heads, width).ratio);
    }
  }
  return Math.max(...ratios);
}
