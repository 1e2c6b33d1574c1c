import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { selectiveScan, selectiveScanStep } from "../ops/selective_scan/mod.ts";
import * as reference from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor } from "./host_tensor.ts";
import { caseItems, type CheckGroup, type CheckSelection } from "./outcome.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
interface SelectiveCase {
  readonly batch: number;
  readonly length: number;
  readonly channels: number;
  readonly states: number;
  readonly dtype: "f32" | "f16";
  /** Rates: those of a model, or some that clear a state at once and some that keep it. */
  readonly rates: "gentle" | "hard";
  /** Whether there are d, z and deltaBias. */
  readonly full: boolean;
  /** Whether sequences start from states. */
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  /** Tokens that steps compute behind the others, one by one. */
  readonly steps: number;
  /** The options that are no tensors, but finalState. */
  readonly options: {
    readonly mode?: "loop" | "chunk";
    readonly chunkSize?: 16 | 64;
    readonly reverse?: boolean;
    readonly deltaSoftplus?: boolean;
    readonly schedule?: "naive" | "workgroup";
  };
}

type Named<T> = Readonly<Record<string, T>>;

const LOOP = { mode: "loop", deltaSoftplus: true } as const;
const CHUNK = { mode: "chunk", chunkSize: 16, deltaSoftplus: true } as const;
const NAIVE = { schedule: "naive", deltaSoftplus: true } as const;

/** Sequences that are empty, of one token, of less than a chunk and of several. */
const PACKED = [0, 0, 1, 1, 18, 100, 100];

/** What `--quick` computes. */
const QUICK: readonly Partial<SelectiveCase>[] = [
  { cuSeqlens: PACKED, options: LOOP },
  { cuSeqlens: PACKED, options: { ...CHUNK, reverse: true } },
  { batch: 2, channels: 7, states: 5, rates: "hard", options: CHUNK },
  { channels: 40, dtype: "f16", options: LOOP },
  { channels: 6, states: 1, steps: 3, options: LOOP },
  { batch: 2, length: 20, channels: 66, states: 5, options: NAIVE },
];

const REST: readonly Partial<SelectiveCase>[] = [
  { length: 0, options: LOOP }, // hands its states on
  { length: 1, options: CHUNK },
  { batch: 2, length: 37, channels: 34, full: false, initial: false, options: { mode: "loop" } },
  { channels: 5, states: 64, options: { ...LOOP, reverse: true } },
  { batch: 2, rates: "hard", steps: 2, options: { ...LOOP, schedule: "workgroup" } },
  { dtype: "f16", states: 5, channels: 9, options: CHUNK },
  { dtype: "f16", states: 3, channels: 8, steps: 1, options: { ...NAIVE, reverse: true } },
  { length: 8192, channels: 32, options: { ...CHUNK, chunkSize: 64 } },
  { length: 8192, channels: 8, options: NAIVE }, // beyond the loops of llvmpipe
  { length: 70_000, channels: 4, states: 2, options: LOOP },
];

const TOLERANCE = { f32: 1e-4, f16: 2e-3 } as const;

/** The selective scan of Mamba against float64. */
export function selectiveScanGroup(selection: CheckSelection): CheckGroup {
  const parts = selection.quick ? QUICK : [...QUICK, ...REST];
  const items = caseItems(parts.map(caseOf), selection, { nameOf, tolerance: TOLERANCE, errorOf });
  return { operator: "selectiveScan", group: "forms", items };
}

function caseOf(part: Partial<SelectiveCase>): SelectiveCase {
  return {
    ...{ batch: 1, length: 100, channels: 32, states: 16, dtype: "f32", rates: "gentle" },
    ...{ full: true, initial: true, steps: 0, options: {} },
    ...part,
  };
}

function nameOf(c: SelectiveCase): string {
  const { batch, length, channels, states, dtype, full, initial, cuSeqlens, steps, options } = c;
  const { mode = "", chunkSize = "", reverse = false, schedule = "" } = options;
  const words = [
    ...[`B${batch} T${length} C${channels} N${states}`, dtype, c.rates === "hard" ? "hard" : ""],
    ...[full ? "d z deltaBias" : "", options.deltaSoftplus ? "softplus" : ""],
    ...[initial ? "initial" : "", cuSeqlens ? `packed ${cuSeqlens}` : ""],
    ...[reverse ? "reverse" : "", mode, chunkSize, schedule, steps > 0 ? `${steps} steps` : ""],
  ];
  return words.filter((word) => word !== "").join(" ");
}

/** The arguments of a case by name, of so many tokens. */
function inputsOf(c: SelectiveCase, random: Random, length: number): Record<string, HostTensor> {
  const { batch, channels, states, dtype, options } = c;
  const normal = (): number => random.normal();
  // steps of about 0.1 as models take them, of either sign before their softplus
  const step = options.deltaSoftplus ? () => random.normal() - 3 : () => 0.2 * random.next();
  const token = (width: number, next = normal): HostTensor =>
    hostTensor(dtype, [batch, length, width], next);
  return {
    ...{ u: token(channels), delta: token(channels, step) },
    ...{ b: token(states), c: token(states), z: token(channels) },
  };
}

/** The arguments that all tokens share. */
function sharedOf(c: SelectiveCase, random: Random): Record<string, HostTensor> {
  const { channels, states } = c;
  const hard = (): number => random.pick([-1e-3, -1, -1e4, -Infinity]);
  const gentle = (): number => -1 - 15 * random.next();
  const channel = (): HostTensor => hostTensor("f32", [channels], () => random.normal());
  return {
    a: hostTensor("f32", [channels, states], c.rates === "hard" ? hard : gentle),
    ...(c.full && { d: channel(), deltaBias: channel() }),
  };
}

/** Calls the scan, of the library or the reference, with arguments by name. */
function called<T, R extends object>(
  operator: (...args: never[]) => R,
  { u, delta, a, b, c, d, z, deltaBias }: Named<T>,
  { full }: SelectiveCase,
  { before = [], ...options }: { before?: T[]; [name: string]: unknown },
): R {
  const others = full ? { d, z, deltaBias } : {};
  return (operator as (...args: unknown[]) => R)(...before, u, delta, a, b, c, {
    ...{ ...options, ...others },
  });
}

/** The error ratio of the worst output and channel: of a scan, then of the steps behind it. */
async function errorOf(gpu: Gpu, c: SelectiveCase): Promise<number> {
  const { batch, length, channels, states, cuSeqlens, steps, options } = c;
  const random = new Random(length + channels + states);
  const shared = sharedOf(c, random);
  const rows = [cuSeqlens ? cuSeqlens.length - 1 : batch, channels, states];
  const begun = c.initial ? hostTensor("f32", rows, () => random.normal()) : undefined;
  const packed = cuSeqlens &&
    { data: Int32Array.from(cuSeqlens), shape: [cuSeqlens.length] };
  const uploaded: Tensor[] = [];
  const upload = <D extends HostTensor["data"] | Int32Array>(
    { data, shape }: { readonly data: D; readonly shape: readonly number[] },
  ): Tensor => {
    const tensor = gpu.tensor(data, shape);
    uploaded.push(tensor);
    return tensor;
  };
  const ratios = [0];
  const compareOut = async (tensor: Tensor, { data }: reference.Float64Tensor, width: number) =>
    ratios.push(compareHeads(await tensor.read(), data, channels, width).ratio);

  const inputs: Named<HostTensor> = { ...inputsOf(c, random, length), ...shared };
  let expected = called(reference.selectiveScan, inputs, c, {
    ...{ ...options, finalState: true },
    ...{ ...(begun && { initialState: begun }), ...(packed && { cuSeqlens: packed }) },
  });
  const result = called(selectiveScan<"f32" | "f16">, mapped(inputs, upload), c, {
    ...{ ...options, finalState: true, ...(begun && { initialState: upload(begun) }) },
    ...(packed && { cuSeqlens: upload(packed) }),
  });
  const state = result.finalState as Tensor<"f32">;
  uploaded.push(result.out, state);
  await compareOut(result.out, expected.out, 1);
  for (let step = 0; step < steps; step++) {
    const token: Named<HostTensor> = { ...inputsOf(c, random, 1), ...shared };
    const { deltaSoftplus = false } = options;
    const initialState = expected.finalState;
    expected = called(reference.selectiveScan, token, c, {
      ...{ deltaSoftplus, initialState, finalState: true },
    });
    const next = { before: [state as Tensor], deltaSoftplus };
    const out = called(selectiveScanStep<"f32" | "f16">, mapped(token, upload), c, next);
    uploaded.push(out);
    await compareOut(out, expected.out, 1);
  }
  if (expected.finalState) await compareOut(state, expected.finalState, states);
  for (const tensor of uploaded) tensor.dispose();
  return Math.max(...ratios);
}

function mapped<T, R>(values: Named<T>, map: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]));
}
