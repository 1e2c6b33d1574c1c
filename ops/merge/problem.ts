import type { Gpu } from "../../gpu/device.ts";
import { kindOf, volume } from "../../gpu/dtype.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkDType, checkTensors } from "../tensors.ts";

/** A result over some of the keys, as `attention(…, { lse: true })` returns it. */
export interface AttentionPart<T extends "f32" | "f16" = "f32" | "f16"> {
  /** `[…, H, Dv]`: what these keys alone give. */
  readonly out: Tensor<T>;
  /** `[…, H]`, f32: natural logarithm of the sum of their exponentiated scores. */
  readonly lse: Tensor<"f32">;
}

/** What is merged, validated. */
export interface MergeProblem {
  /** All axes of the outputs but the last, flattened. */
  readonly rows: number;
  readonly valueDim: number;
  readonly elem: "f32" | "f16";
}

const ACTION = "merge attention";

/** Validates the parts: the one place that throws for them. */
export function mergeProblem(parts: readonly AttentionPart[]): { problem: MergeProblem; gpu: Gpu } {
  if (!Array.isArray(parts) || parts.length === 0) {
    throw new TypeError(
      `Cannot ${ACTION} as parts must be an array of at least one: parts is ${kindOf(parts)}`,
    );
  }
  const named = parts.flatMap((part: Partial<AttentionPart> | null, i) => [
    [`parts[${i}].out`, part?.out] as const,
    [`parts[${i}].lse`, part?.lse] as const,
  ]);
  const gpu = checkTensors(ACTION, Object.fromEntries(named));
  const { shape } = parts[0].out;
  if (shape.length < 2 || shape[shape.length - 1] < 1) {
    throw new TypeError(
      `Cannot ${ACTION} as an output must have the axes [..., H, Dv]: parts[0].out is [${shape}]`,
    );
  }
  const elem = checkDType(ACTION, "parts[0].out", parts[0].out, ["f32", "f16"]);
  parts.forEach((part, i) => checkPart(part, i, shape, elem));
  const rows = shape.slice(0, -1);
  return { problem: { rows: volume(rows), valueDim: shape[shape.length - 1], elem }, gpu };
}

function checkPart(
  { out, lse }: AttentionPart,
  i: number,
  shape: readonly number[],
  elem: "f32" | "f16",
): void {
  checkDType(ACTION, `parts[${i}].out`, out, [elem]);
  checkDType(ACTION, `parts[${i}].lse`, lse, ["f32"]);
  const expected = { out: shape, lse: shape.slice(0, -1) };
  for (const [name, tensor] of Object.entries({ out, lse })) {
    const wanted = expected[name as "out" | "lse"];
    if (String(tensor.shape) === String(wanted) && tensor.shape.length === wanted.length) continue;
    throw new TypeError(
      `Cannot ${ACTION} as parts must share a shape: parts[${i}].${name} must be [${wanted}], it is [${tensor.shape}]`,
    );
  }
}
