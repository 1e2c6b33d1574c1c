import { hostCopyOf } from "../gpu/host_copy.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { checkDType, checkRank } from "./tensors.ts";

/** What messages call bounds of sequences, and the axis that they cut. */
interface BoundNames {
  readonly name: string;
  readonly axis: string;
}

/** Where sequences begin and end among all tokens: batch entries, or what `cuSeqlens` cuts. */
export function boundsOf(
  action: string,
  batch: number,
  length: number,
  cuSeqlens: Tensor | undefined,
  { name, axis }: BoundNames = { name: "cuSeqlens", axis: "T" },
): number[] {
  if (cuSeqlens === undefined) return Array.from({ length: batch + 1 }, (_, b) => b * length);
  if (batch !== 1) {
    throw new TypeError(
      `Cannot ${action} as ${name} needs a batch of 1: current batch is ${batch}`,
    );
  }
  checkDType(action, name, cuSeqlens, ["i32"]);
  checkRank(action, name, cuSeqlens, ["N + 1"]);
  const data = hostCopyOf(cuSeqlens);
  if (data === undefined) {
    throw new TypeError(
      `Cannot ${action} as ${name} must be made from data by gpu.tensor(), for plans depend on it: it was computed or wrapped`,
    );
  }
  const bounds = [...data];
  const falls = bounds.findIndex((bound, n) => n > 0 && bound < bounds[n - 1]);
  if (bounds.length >= 1 && bounds[0] === 0 && bounds[bounds.length - 1] === length && falls < 0) {
    return bounds;
  }
  throw new RangeError(
    `Cannot ${action} as ${name} must rise from 0 to ${axis} = ${length}: ${name} is [${bounds}]`,
  );
}
