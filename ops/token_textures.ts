import { elementBytes } from "../gpu/dtype.ts";
import type { Operation } from "../gpu/recorder.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { aligned } from "../kernels/shared/rows.ts";
import { texture } from "./attention/bind.ts";
import type { PlanDevice } from "./attention/schedule.ts";
import { areCopyable } from "./attention/sizes.ts";
import { inputSources } from "./attention/sources.ts";

/** A tensor as rows of so many elements. */
export interface TokenRows {
  readonly tensor: Tensor;
  readonly width: number;
}

/** Bytes of a tensor from which copies cost less than slow loads. */
const MANY_BYTES = 2 ** 16;

/**
 * Copies tensors whose rows a kernel reads once into textures, where a driver reads texels so much faster
 * than buffers that it pays; those whose rows fill no vec4s stay where they are.
 *
 * @returns textures by name: all that can be, or none
 */
export function tokenTextures(
  operation: Operation,
  device: Pick<PlanDevice, "adapter" | "limits">,
  inputs: Readonly<Record<string, TokenRows>>,
): Record<string, GPUTextureView> {
  const whole = Object.entries(inputs).filter(([, { width }]) => aligned(width));
  const tensors = whole.map(([, { tensor }]) => tensor);
  const widths = whole.map(([, { width }]) => width);
  const rows = Math.max(0, ...whole.map(([, { tensor, width }]) => tensor.size / width));
  const many = tensors.some(({ size, dtype }) => size * elementBytes(dtype) >= MANY_BYTES);
  const copyable = many && areCopyable(tensors);
  if (inputSources({ rows, widths, copyable }, device)[0] === "buffer") return {};
  return Object.fromEntries(
    whole.map(([name, { tensor, width }]) => [name, texture(operation, tensor, { width })]),
  );
}
