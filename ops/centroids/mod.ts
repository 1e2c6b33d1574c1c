import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchCentroids } from "./launch.ts";
import { planCentroids } from "./plan.ts";
import { type AssignCentroidsOptions, centroidProblem } from "./problem.ts";
import { scoreTextures } from "./scores.ts";

export type { AssignCentroidsOptions } from "./problem.ts";

/** Which centroid each token belongs to. */
export interface Assignment {
  /** The centroid of each token, `[B, T, H]`; −1 where none had room. */
  cluster: Tensor<"i32">;
  /** How many tokens each centroid has, `[B, H, C]`. */
  counts: Tensor<"i32">;
}

/**
 * Assigns tokens to centroids: to the best one, or balanced, to at most `capacity` tokens each.
 *
 * Balanced in rounds: each token that has none asks for the best centroid that has room, and each
 * centroid takes the best of those that ask, as far as it has room. Of equals the smaller place comes
 * first, of centroids and of tokens. A round that leaves tokens out fills a centroid: C rounds are
 * recorded, of which those with nothing to do cost next to nothing. Tokens are left over where
 * C · capacity < T. Scores are f32 and kept for all pairs of a token and a centroid meanwhile.
 *
 * Legend: B batch, T tokens, H heads, D channels, C centroids. Routing Transformer (Roy et al. 2021);
 * `argSort(cluster, { axis: 1 })` then sorts tokens by cluster.
 *
 * @param x the tokens, f32 or f16 `[B, T, H, D]`
 * @param centroids the centroids, f32 or f16 `[B, C, H, D]`, B and H may be 1 for all
 * @param options what is best, and how many tokens a centroid takes
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a batch entry too large for the device
 *
 * @example The better of two that want the same place
 * ```ts
 * import { assignCentroids, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(5, 6), [1, 2, 1, 1]);
 * const centroids = gpu.tensor(Float32Array.of(1, 0), [1, 2, 1, 1]);
 * const { cluster } = assignCentroids(x, centroids, { capacity: 1 });
 * assertEquals(await cluster.read(), Int32Array.of(1, 0));
 * ```
 */
export function assignCentroids(
  x: Tensor,
  centroids: Tensor,
  options: AssignCentroidsOptions = {},
): Assignment {
  const { problem, gpu } = centroidProblem(x, centroids, options);
  const { batch, length, heads, count } = problem;
  const plan = planCentroids(problem, gpu.limits);
  return record(gpu, "assignCentroids", (operation) => {
    const cluster = gpu.empty([batch, length, heads], "i32");
    const counts = gpu.empty([batch, heads, count], "i32");
    const tensors = { x, centroids, cluster, counts };
    const textures = scoreTextures(operation, gpu, tensors);
    for (let entry = 0; entry < batch; entry += plan.entries) {
      const entries = [entry, Math.min(batch, entry + plan.entries)] as const;
      launchCentroids(operation, { gpu, problem, tensors, textures, entries }, plan.rounds);
    }
    return { cluster, counts };
  });
}
