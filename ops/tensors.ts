import type { Gpu } from "../gpu/device.ts";
import { type DType, kindOf } from "../gpu/dtype.ts";
import { Tensor } from "../gpu/tensor.ts";

/**
 * Checks that arguments are live tensors of one device.
 *
 * @param action for the message, for example `"compute attention"`
 * @param tensors arguments by name, the first of which names the device
 * @returns the device
 */
export function checkTensors(action: string, tensors: Readonly<Record<string, unknown>>): Gpu {
  let first: { name: string; gpu: Gpu } | null = null;
  for (const [name, tensor] of Object.entries(tensors)) {
    if (!(tensor instanceof Tensor)) {
      throw new TypeError(
        `Cannot ${action} as ${name} must be a Tensor: ${name} is ${kindOf(tensor)}`,
      );
    }
    if (tensor.disposed) {
      throw new TypeError(
        `Cannot ${action} as ${name} must be live: ${name} [${tensor.shape}] was disposed`,
      );
    }
    first ??= { name, gpu: tensor.gpu };
    if (tensor.gpu !== first.gpu) {
      throw new TypeError(
        `Cannot ${action} as tensors must share a device: ${name} lives on another device than ${first.name}`,
      );
    }
  }
  if (first === null) {
    throw new TypeError(`Cannot ${action} as a tensor must be given: there is none`);
  }
  return first.gpu;
}

/** Checks an element type against those that are allowed. */
export function checkDType<T extends DType>(
  action: string,
  name: string,
  tensor: Tensor,
  allowed: readonly T[],
): T {
  const found = allowed.find((dtype) => dtype === tensor.dtype);
  if (found !== undefined) return found;
  throw new TypeError(
    `Cannot ${action} as ${name} must be ${allowed.join(" or ")}: ${name} is ${tensor.dtype}`,
  );
}

/** Checks the number of axes. */
export function checkRank(
  action: string,
  name: string,
  tensor: Tensor,
  axes: readonly string[],
): void {
  if (tensor.shape.length === axes.length) return;
  throw new TypeError(
    `Cannot ${action} as ${name} must have ${axes.length} axes [${
      axes.join(", ")
    }]: ${name} is [${tensor.shape}]`,
  );
}

/** Checks a shape against those that are allowed. */
export function checkShape(
  action: string,
  name: string,
  tensor: Tensor,
  ...allowed: readonly (readonly number[])[]
): void {
  if (allowed.some((shape) => String(shape) === String(tensor.shape))) return;
  throw new TypeError(
    `Cannot ${action} as ${name} must be ${
      allowed.map((shape) => `[${shape}]`).join(" or ")
    }: ${name} is [${tensor.shape}]`,
  );
}

/** Largest size of a row of q, k or v. */
export const MAX_DIM = 256;

/** Checks sizes of rows, by what they are called. */
export function checkDims(action: string, dims: Readonly<Record<string, number>>): void {
  for (const [name, dim] of Object.entries(dims)) {
    if (dim >= 1 && dim <= MAX_DIM) continue;
    throw new RangeError(
      `Cannot ${action} as the ${name} must be 1 to ${MAX_DIM}: current ${name} is ${dim}`,
    );
  }
}

/** Checks that an axis has one size in two tensors. */
export function checkShared(
  action: string,
  what: string,
  sizes: Readonly<Record<string, number>>,
): void {
  if (new Set(Object.values(sizes)).size === 1) return;
  const names = Object.keys(sizes);
  throw new TypeError(
    `Cannot ${action} as ${names.join(" and ")} must share ${what}: current values are ${
      Object.entries(sizes).map(([name, size]) => `${name}=${size}`).join(", ")
    }`,
  );
}
