import { kindOf } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDims, checkDType } from "../tensors.ts";

/** B, T, S, Hq, Hkv, D and Dv. */
export interface AttentionSizes {
  readonly batch: number;
  readonly qLen: number;
  readonly kvLen: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
}

/** Checks head dims and the grouping of heads. */
export function checkSizes(action: string, sizes: AttentionSizes): AttentionSizes {
  const { heads, kvHeads, headDim, valueDim } = sizes;
  checkDims(action, { "head dim": headDim, "value dim": valueDim });
  if (heads < 1 || kvHeads < 1 || heads % kvHeads !== 0) {
    throw new TypeError(
      `Cannot ${action} as the heads of q must be a multiple of those of k: current heads are q=${heads}, k=${kvHeads}`,
    );
  }
  return sizes;
}

/** Checks that tensors have one element type that kernels store. */
export function checkElem(
  action: string,
  tensors: Readonly<Record<string, Tensor>>,
): "f32" | "f16" {
  const [[name, first], ...others] = Object.entries(tensors);
  const elem = checkDType(action, name, first, ["f32", "f16"]);
  if (others.every(([, { dtype }]) => dtype === elem)) return elem;
  const names = Object.keys(tensors);
  const current = Object.entries(tensors).map(([name, { dtype }]) => `${name}=${dtype}`);
  throw new TypeError(
    `Cannot ${action} as ${names.slice(0, -1).join(", ")} and ${
      names[names.length - 1]
    } must share a dtype: current dtypes are ${current.join(", ")}`,
  );
}

/** Checks whether `lse` was asked for. */
export function checkLse(action: string, lse: unknown): boolean {
  if (typeof lse === "boolean") return lse;
  throw new TypeError(`Cannot ${action} as lse must be true or false: lse is ${kindOf(lse)}`);
}

/** Whether tensors may be copied (their buffers have `COPY_SRC`). */
export function areCopyable(tensors: readonly Tensor[]): boolean {
  return tensors.every(({ buffer }) => (buffer.usage & GPUBufferUsage.COPY_SRC) !== 0);
}

/** Checks the factor of q · k, D^-1/2 by default. */
export function checkScale(action: string, scale: unknown, headDim: number): number {
  if (scale === undefined) return headDim ** -0.5;
  if (typeof scale !== "number" || !isFiniteF32(scale)) {
    throw new RangeError(
      `Cannot ${action} as scale must be a finite f32: scale is ${kindOf(scale)}`,
    );
  }
  return scale;
}

/** Whether a value, also in base 2, is finite on the device. */
export function isFiniteF32(value: number): boolean {
  return Number.isFinite(Math.fround(value * Math.LOG2E));
}
