import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { NeighborhoodPattern } from "./axes.ts";
import { launchUnfused, planUnfused } from "./unfused.ts";
import { valuesProblem } from "./unfused_problem.ts";

/**
 * The weighted sums of neighborhood attention, unfused: Σ weights · v over the keys of every window.
 *
 * The weights come from outside, usually a softmax of what `neighborhoodScores` returned; slots are
 * counted as there. Weights in slots of keys that a causal query does not see are not read.
 *
 * @typeParam T storage of v
 * @param weights `[B, X(, Y(, Z)), Hq, windowVolume]`, f32 or f16
 * @param v `[B, X(, Y(, Z)), Hkv, Dv]`
 * @param pattern window, stride, dilation, causality
 * @returns `[B, X(, Y(, Z)), Hq, Dv]`, in the dtype of v
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example The mean of three neighbours
 * ```ts
 * import { neighborhoodValues, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const v = gpu.tensor(new Float32Array(8).map((_, i) => i), [1, 8, 1, 1]);
 * const weights = gpu.tensor(new Float32Array(24).fill(1 / 3), [1, 8, 1, 3]);
 * const out = await neighborhoodValues(weights, v, { windowSize: 3 }).read();
 * assertAlmostEquals(out[0], 1, 1e-6);
 * assertAlmostEquals(out[5], 5, 1e-6);
 * ```
 */
export function neighborhoodValues<T extends "f32" | "f16">(
  weights: Tensor<"f32" | "f16">,
  v: Tensor<T>,
  pattern: NeighborhoodPattern,
): Tensor<T> {
  return recall(run<T>, weights, v, pattern);
}

function run<T extends "f32" | "f16">(
  weights: Tensor<"f32" | "f16">,
  v: Tensor<T>,
  pattern: NeighborhoodPattern,
): Tensor<T> {
  const { problem, gpu } = valuesProblem(weights, v, pattern);
  const plan = planUnfused(problem, gpu);
  if (plan.tokens.parts > 1) {
    throw new RangeError(
      `Cannot compute neighborhood values as the keys of a query tile must fit one binding and one loop: they need ${plan.tokens.parts} parts`,
    );
  }
  return record(gpu, "neighborhoodValues", (operation) => {
    const out = gpu.empty([...weights.shape.slice(0, -1), v.shape[v.shape.length - 1]], v.dtype);
    launchUnfused(operation, gpu, { problem, plan, tensors: { v, weights, out } });
    return out;
  });
}
