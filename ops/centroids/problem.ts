import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { oneOf } from "../options.ts";
import { checkScored, type ScoreProblem } from "./scores.ts";

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
export interface CentroidProblem extends ScoreProblem {
  /** T where nothing is full. */
  readonly capacity: number;
}

const ACTION = "assign centroids";
const NAMES = { action: ACTION, name: "centroids", one: "centroid", letter: "C" };

/** Validates the arguments of the assignment. */
export function centroidProblem(
  x: Tensor,
  centroids: Tensor,
  options: AssignCentroidsOptions,
): { problem: CentroidProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, ["metric", "capacity"]);
  const { sizes, gpu } = checkScored(NAMES, x, centroids);
  const { metric = "dot", capacity = sizes.length } = options;
  oneOf(ACTION, "metric", metric, ["dot", "l2"]);
  if (options.capacity !== undefined && !(Number.isSafeInteger(capacity) && capacity >= 1)) {
    throw new RangeError(
      `Cannot ${ACTION} as capacity must be an integer >= 1: capacity is ${kindOf(capacity)}`,
    );
  }
  return { problem: { ...sizes, metric, capacity: Math.min(capacity, sizes.length) }, gpu };
}
