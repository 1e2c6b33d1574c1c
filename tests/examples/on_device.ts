import { assert } from "@std/assert";
import { type Gpu, requestGpu, type Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";
import type { DenseProblem } from "./dense.ts";

/** Whether tests of mechanisms are ignored, for want of an adapter. */
export const ignore: boolean = adapter === null;

const shared = ignore ? null : await requestGpu({ poison: true });

/** Largest error ratio of f32 that passes. */
export const RATIO = { ratio: 2e-5 } as const;

/** The device of these tests; every new buffer is full of NaN. */
export function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** q, k and v on the device. */
export function upload({ B, T, S, Hq, Hkv, D, Dv, q, k, v }: DenseProblem): Tensor<"f32">[] {
  const gpu = theGpu();
  return [
    gpu.tensor(q, [B, T, Hq, D]),
    gpu.tensor(k, [B, S, Hkv, D]),
    gpu.tensor(v, [B, S, Hkv, Dv]),
  ];
}
