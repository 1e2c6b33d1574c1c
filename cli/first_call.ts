import type { Gpu } from "../gpu/device.ts";
import type { LoadedWorkload } from "./workload.ts";

/** What the first call of a workload took, compiling included, and how far it is from float64. */
export interface FirstCall {
  readonly firstMs: number;
  readonly rmsErrorRatio: number;
}

/** Computes a workload once and checks the result. */
export async function firstCall(gpu: Gpu, loaded: LoadedWorkload): Promise<FirstCall> {
  const started = performance.now();
  const outputs = loaded.compute();
  try {
    await gpu.submit();
    const firstMs = performance.now() - started;
    return { firstMs, rmsErrorRatio: loaded.errorOf(await outputs[0].read() as ArrayLike<number>) };
  } finally {
    outputs.forEach((tensor) => tensor.dispose());
  }
}
