import type { Gpu } from "../gpu/device.ts";
import { type DType, elementBytes, volume } from "../gpu/dtype.ts";
import type { Operation } from "../gpu/recorder.ts";
import { Tensor } from "../gpu/tensor.ts";

/**
 * A tensor in scratch memory, which other operators may reuse after this one.
 *
 * A caller's own encoder may run long after the operator returned: a tensor that is freed meanwhile would
 * be missing then, scratch is not. Disposing it only takes it out of the books.
 */
export function lent<T extends DType>(
  operation: Operation,
  gpu: Gpu,
  shape: readonly number[],
  dtype: T,
): Tensor<T> {
  const bytes = volume(shape) * elementBytes(dtype);
  const { buffer } = operation.scratch(4 * Math.ceil(bytes / 4) + 16);
  // gpu.wrap() would refuse what stands in for scratch while calls are prepared
  return new Tensor(gpu, buffer, shape, dtype, false);
}
