import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { oneOf } from "../options.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options of {@linkcode assignCentroids}. */
export interface AssignCentroidsOptions {
  /**
   * What makes a centroid the best for a token: the largest dot product, or the smallest distance.
   *
   * @default {"dot"}
   */
  metric?: "dot" | "l2";
  /**
   * How many tokens a centroid takes at most.
   *
   * @default {T}
   */
  capacity?: number;
}

/** What is assigned, validated; no tensors and no GPU. */
export interface CentroidProblem {
  readonly elem: "f32" | "f16";
  readonly centroidElem: "f32" | "f16";
  readonly metric: "dot" | "l2";
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly dim: number;
  /** C. */
  readonly count: number;
  /** Whether batch entries have centroids of their own. */
  readonly byBatch: boolean;
  /** Heads that have centroids of their own, or 1. */
  readonly centroidHeads: number;
  /** T where nothing is full. */
  readonly capacity: number;
}

const ACTION = "assign centroids";

/** Validates the arguments of the assignment. */
export function centroidProblem(
  x: Tensor,
  centroids: Tensor,
  options: AssignCentroidsOptions,
): { problem: CentroidProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, ["metric", "capacity"]);
  const gpu = checkTensors(ACTION, { x, centroids });
  const elem = checkDType(ACTION, "x", x, ["f32", "f16"]);
  const centroidElem = checkDType(ACTION, "centroids", centroids, ["f32", "f16"]);
  checkRank(ACTION, "x", x, ["B", "T", "H", "D"]);
  checkRank(ACTION, "centroids", centroids, ["B|1", "C", "H|1", "D"]);
  const [batch, length, heads, dim] = x.shape;
  const [own, count, centroidHeads] = centroids.shape;
  const allowed = [...new Set([batch, 1])].flatMap((b) =>
    [...new Set([heads, 1])].map((h) => [b, count, h, dim])
  );
  checkShape(ACTION, "centroids", centroids, ...allowed);
  if (count < 1) {
    throw new TypeError(
      `Cannot ${ACTION} as there must be a centroid: centroids is [${centroids.shape}]`,
    );
  }
  const { metric = "dot", capacity = length } = options;
  oneOf(ACTION, "metric", metric, ["dot", "l2"]);
  if (options.capacity !== undefined && !(Number.isSafeInteger(capacity) && capacity >= 1)) {
    throw new RangeError(
      `Cannot ${ACTION} as capacity must be an integer >= 1: capacity is ${kindOf(capacity)}`,
    );
  }
  return {
    problem: {
      ...{ elem, centroidElem, metric, batch, length, heads, dim, count, centroidHeads },
      byBatch: own > 1,
      capacity: Math.min(capacity, length),
    },
    gpu,
  };
}
