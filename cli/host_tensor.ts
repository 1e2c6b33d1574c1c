import { volume } from "../gpu/dtype.ts";
import type { ReferenceTensor } from "../reference/mod.ts";

/** What the inputs of a case look like. */
export type InputKind =
  | "normal" // standard normal
  | "huge" // logits up to 1e4
  | "equal"; // all keys the same, so that every weight is

/** Largest error ratio that passes (design, section 3.2): f32 arithmetic, and rounding of f16 storage. */
export const TOLERANCE = { f32: 2e-5, f16: 2e-3 } as const;

/** A host array with its shape. */
export interface HostTensor extends ReferenceTensor {
  readonly data: Float32Array | Float16Array;
}

/** Fills an array of a shape, element after element. */
export function hostTensor(
  dtype: "f32" | "f16",
  shape: readonly number[],
  next: () => number,
): HostTensor {
  const length = volume(shape);
  const data = dtype === "f16" ? new Float16Array(length) : new Float32Array(length);
  for (let i = 0; i < length; i++) data[i] = next();
  return { data, shape };
}

/** The standard deviation of q: logits have √D · scale · this one = 1, or about 1e4 at the extreme. */
export function spreadOf(inputs: InputKind): number {
  return inputs === "huge" ? 3e3 : 1;
}
