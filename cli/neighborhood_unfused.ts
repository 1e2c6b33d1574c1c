import type { Gpu } from "../gpu/device.ts";
import { record } from "../gpu/runtime.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { launchSoftmax } from "../ops/neighborhood/launch_naive.ts";
import { neighborhoodScores, neighborhoodValues } from "../ops/neighborhood/mod.ts";
import { neighborhoodProblemOf } from "../ops/neighborhood/problem.ts";
import type { NeighborhoodCase } from "./neighborhood_case.ts";

/** Neighborhood attention from its unfused halves, with the softmax of the baseline between them. */
export function unfusedNeighborhood(
  gpu: Gpu,
  c: NeighborhoodCase,
  { q, k, v }: Readonly<Record<"q" | "k" | "v", Tensor<"f32" | "f16">>>,
): Tensor[] {
  const scale = (c.scale ?? c.headDim ** -0.5) * Math.LOG2E; // the softmax is in base 2
  using scores = neighborhoodScores(q, k, { ...c.pattern, scale });
  record(
    gpu,
    "softmax",
    (operation) =>
      launchSoftmax(operation, neighborhoodProblemOf(c), { scores: { buffer: scores.buffer } }),
  );
  return [neighborhoodValues(scores, v, c.pattern)];
}
