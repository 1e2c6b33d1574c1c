import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchUnfused, planUnfused } from "./unfused.ts";
import { type NeighborhoodScoresOptions, scoresProblem } from "./unfused_problem.ts";

export type { NeighborhoodScoresOptions } from "./unfused_problem.ts";

/**
 * The scores of neighborhood attention, unfused: scale · q·k for every key of every window.
 *
 * For models that do something with the scores that no option of `neighborhoodAttention` does, such
 * as a bias per offset (NAT, DiNAT). A window has `windowVolume` slots, the product of `windowSize`
 * over the axes; slot w is the w-th key that the query sees, in the order of the layout, last axis
 * fastest. On causal axes a query may see fewer keys: the slots of keys behind it hold −∞.
 *
 * @typeParam T storage of q and k
 * @param q `[B, X(, Y(, Z)), Hq, D]`
 * @param k `[B, X(, Y(, Z)), Hkv, D]`
 * @param options window, stride, dilation, causality, scale
 * @returns `[B, X(, Y(, Z)), Hq, windowVolume]`, in the dtype of q
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Three scores for each of eight queries
 * ```ts
 * import { neighborhoodScores, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(new Float32Array(8).map((_, i) => i), [1, 8, 1, 1]);
 * const scores = neighborhoodScores(x, x, { windowSize: 3, scale: 1 });
 * assertEquals(scores.shape, [1, 8, 1, 3]);
 * assertEquals([...await scores.read()].slice(3, 6), [0, 1, 2]);
 * ```
 */
export function neighborhoodScores<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  options: NeighborhoodScoresOptions,
): Tensor<T> {
  return recall(run<T>, q, k, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  options: NeighborhoodScoresOptions,
): Tensor<T> {
  const { problem, gpu } = scoresProblem(q, k, options);
  const plan = planUnfused(problem, gpu);
  return record(gpu, "neighborhoodScores", (operation) => {
    const scores = gpu.empty([...q.shape.slice(0, -1), problem.slots], q.dtype);
    launchUnfused(operation, gpu, { problem, plan, tensors: { q, k, scores } });
    return scores;
  });
}
