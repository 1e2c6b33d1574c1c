import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { ReferenceTensor } from "../reference/mod.ts";
import type { HostTensor } from "./host_tensor.ts";
import { type CheckItem, checkItem } from "./outcome.ts";

/** What an operator returned, beside its oracle's result. */
export type Pairs = readonly (readonly [actual: Tensor, expected: ReferenceTensor])[];

/** Uploads what the oracle reads; the tensor is freed when the case ends. */
export type Upload = (tensor: HostTensor) => Tensor<"f32">;

/** An item whose results must be those of the oracle; the ratio counts elements that are not. */
export function exact(name: string, pairsOf: (upload: Upload, gpu: Gpu) => Pairs): CheckItem {
  return checkItem(name, 0, async (gpu) => {
    using stack = new DisposableStack();
    const upload: Upload = ({ data, shape }) => stack.use(gpu.tensor(data, shape)) as Tensor<"f32">;
    const pairs = pairsOf(upload, gpu);
    for (const [actual] of pairs) stack.use(actual);
    let wrong = 0;
    for (const [actual, expected] of pairs) {
      const data = await actual.read();
      if (data.length !== expected.data.length) return Infinity;
      for (let i = 0; i < data.length; i++) wrong += Number(data[i] !== expected.data[i]);
    }
    return wrong;
  });
}
