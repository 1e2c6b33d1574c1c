import { compare } from "../../cli/compare.ts";
import { Random } from "../../cli/random.ts";
import type { Gpu, Tensor } from "@tessera/kernels";

/** A random tensor on the device, and its elements on the host for an oracle. */
export interface RandomTensor {
  readonly data: Float32Array;
  readonly shape: number[];
  readonly tensor: Tensor<"f32">;
}

/** Makes tensors of standard normal elements, one for each shape. */
export function randomTensors(gpu: Gpu, ...shapes: number[][]): RandomTensor[] {
  const random = new Random(1);
  return shapes.map((shape) => {
    const length = shape.reduce((product, size) => product * size, 1);
    const data = Float32Array.from({ length }, () => random.normal());
    return { data, shape, tensor: gpu.tensor(data, shape) };
  });
}

/** Waits for a result: RMS of its error over RMS of the oracle's, in words. */
export async function errorOf(
  out: Tensor<"f32">,
  expected: { readonly data: Float64Array },
): Promise<string> {
  return `error ${compare(await out.read(), expected.data).ratio.toExponential(0)}`;
}
