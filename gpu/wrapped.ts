import { checkElementType, checkShape, type DType, elementBytes, kindOf, volume } from "./dtype.ts";

/** Refuses a buffer of the caller's that cannot be a tensor. */
export function checkWrapped(buffer: GPUBuffer, shape: readonly number[], dtype: DType): void {
  if (typeof buffer?.usage !== "number") {
    throw new TypeError(
      `Cannot wrap a buffer as it must be a GPUBuffer: buffer is ${kindOf(buffer)}`,
    );
  }
  checkShape("wrap a buffer", shape);
  checkElementType("wrap a buffer", dtype);
  if ((buffer.usage & GPUBufferUsage.STORAGE) === 0) {
    throw new TypeError(
      `Cannot wrap a buffer as it must have STORAGE usage: current usage is 0x${
        buffer.usage.toString(16)
      }`,
    );
  }
  const needed = Math.ceil(volume(shape) * elementBytes(dtype) / 4) * 4;
  if (buffer.size < needed) {
    throw new TypeError(
      `Cannot wrap a buffer as it must hold the shape: [${shape}] of ${dtype} takes ${needed} bytes, the buffer has ${buffer.size}`,
    );
  }
}
