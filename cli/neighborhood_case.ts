import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { NeighborhoodPattern } from "../ops/neighborhood/axes.ts";
import { neighborhoodAttention } from "../ops/neighborhood/mod.ts";
import { neighborhoodAttention as reference } from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { type HostTensor, hostTensor, type InputKind, spreadOf } from "./host_tensor.ts";
import { Random } from "./random.ts";

/** A problem with everything that determines its inputs. */
export interface NeighborhoodCase {
  readonly batch: number;
  /** Tokens along each axis. */
  readonly layout: readonly number[];
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly dtype: "f32" | "f16";
  readonly inputs: InputKind;
  readonly seed: number;
  /** Which keys a query sees. */
  readonly pattern: Readonly<NeighborhoodPattern>;
  /** Additional keys, none by default. */
  readonly additional?: number;
  readonly scale?: number;
  readonly lse?: boolean;
  readonly schedule?: string;
}

/** The inputs of a case on the host. */
export interface NeighborhoodInputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly additionalKeys?: HostTensor;
  readonly additionalValues?: HostTensor;
}

/** A case on the device, ready to be computed many times. */
export interface LoadedNeighborhood extends Disposable {
  readonly inputs: NeighborhoodInputs;
  readonly tensors: Readonly<Record<"q" | "k" | "v", Tensor<"f32" | "f16">>>;
  /** Records one call. */
  compute(): ReturnType<typeof neighborhoodAttention>;
}

/** One line that tells a case from its neighbours, for example `B1 64x64 H4 D64 f32 window 13`. */
export function neighborhoodCaseName(c: NeighborhoodCase): string {
  const { windowSize, stride = 1, dilation = 1, causal = false } = c.pattern;
  const each = (value: unknown): string => Array.isArray(value) ? value.join("x") : String(value);
  const words = [
    `B${c.batch} ${c.layout.join("x")} H${c.heads}`,
    c.kvHeads === c.heads ? "" : `/${c.kvHeads}`,
    ` D${c.headDim}`,
    c.valueDim === c.headDim ? "" : `/${c.valueDim}`,
    ` ${c.dtype}`,
    c.inputs === "normal" ? "" : ` ${c.inputs}`,
    ` window ${each(windowSize)}`,
    stride === 1 ? "" : ` stride ${each(stride)}`,
    dilation === 1 ? "" : ` dilation ${each(dilation)}`,
    causal === false ? "" : causal === true ? " causal" : ` causal ${causal}`,
    c.additional ? ` +${c.additional}` : "",
    c.scale === undefined ? "" : ` scale ${c.scale}`,
  ];
  return words.join("");
}

/** Makes the inputs of a case. */
export function neighborhoodInputs(c: NeighborhoodCase): NeighborhoodInputs {
  const random = new Random(c.seed);
  const normal = (shape: readonly number[], factor = 1): HostTensor =>
    hostTensor(c.dtype, shape, () => factor * random.normal());
  const keys = (tokens: readonly number[]): HostTensor => {
    const shape = [c.batch, ...tokens, c.kvHeads, c.headDim];
    return c.inputs === "equal" ? hostTensor(c.dtype, shape, () => 0.5) : normal(shape);
  };
  const values = (tokens: readonly number[]): HostTensor =>
    normal([c.batch, ...tokens, c.kvHeads, c.valueDim]);
  return {
    q: normal([c.batch, ...c.layout, c.heads, c.headDim], spreadOf(c.inputs)),
    k: keys(c.layout),
    v: values(c.layout),
    ...(c.additional !== undefined && {
      additionalKeys: keys([c.additional]),
      additionalValues: values([c.additional]),
    }),
  };
}

/** Uploads a case. */
export function loadNeighborhood(gpu: Gpu, c: NeighborhoodCase): LoadedNeighborhood {
  const inputs = neighborhoodInputs(c);
  const uploaded = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  ) as Record<string, Tensor<"f32" | "f16">>;
  const { q, k, v, ...additional } = uploaded;
  const options = {
    ...c.pattern,
    ...additional,
    ...(c.scale !== undefined && { scale: c.scale }),
    ...(c.schedule !== undefined && { schedule: c.schedule }),
    lse: c.lse ?? true,
  };
  return {
    inputs,
    tensors: { q, k, v },
    compute: () => neighborhoodAttention(q, k, v, options),
    [Symbol.dispose]: () => Object.values(uploaded).forEach((tensor) => tensor.dispose()),
  };
}

/** Computes a case and compares out and lse with float64; returns the worse error ratio. */
export async function checkNeighborhood(gpu: Gpu, c: NeighborhoodCase): Promise<number> {
  using loaded = loadNeighborhood(gpu, c);
  const { out, lse } = loaded.compute();
  const [outData, lseData] = [await out.read(), await lse?.read()];
  out.dispose();
  lse?.dispose();
  const { q, k, v, ...additional } = loaded.inputs;
  const scale = c.scale === undefined ? {} : { scale: c.scale };
  const expected = reference(q, k, v, { ...c.pattern, ...additional, ...scale });
  return Math.max(
    compareHeads(outData, expected.out.data, c.heads, c.valueDim).ratio,
    lseData ? compareHeads(lseData, expected.lse.data, c.heads, 1).ratio : 0,
  );
}
