import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { FeatureMap as KernelFeatureMap } from "../../kernels/recurrence/features.ts";
import { hedgehogProblem, launchHedgehog } from "./hedgehog.ts";
import { oneOf } from "../options.ts";

/** φ of linear attention: what is applied to queries and keys. */
export type FeatureMap = "identity" | "elu1" | "relu" | "exp" | "taylor2" | "hedgehog";

/** A feature map and its weights. */
export interface Features {
  readonly featureMap: FeatureMap;
  readonly weights: Tensor | undefined;
}

const FEATURE_MAPS: readonly FeatureMap[] = [
  ...["identity", "elu1", "relu", "exp", "taylor2", "hedgehog"] as const,
];

/** What is made of queries and keys, or of features that take their place. */
interface FeatureUse<T extends "f32" | "f16", R> {
  /** Throws what `run` would throw for features of so many channels, before they are computed. */
  readonly check: (featureMap: KernelFeatureMap, features: number) => void;
  readonly run: (q: Tensor<T>, k: Tensor<T>, featureMap: KernelFeatureMap) => R;
}

/** Calls `run` with queries, keys and what is applied to them on load; Hedgehog's come first. */
export function withFeatures<T extends "f32" | "f16", R>(
  { name, action }: { readonly name: string; readonly action: string },
  { featureMap, weights }: Features,
  tensors: { readonly q: Tensor<T>; readonly k: Tensor<T>; readonly v: Tensor<T> },
  { check, run }: FeatureUse<T, R>,
): R {
  oneOf(action, "featureMap", featureMap, FEATURE_MAPS);
  if (featureMap !== "hedgehog") {
    if (weights === undefined) return run(tensors.q, tensors.k, featureMap);
    throw new TypeError(
      `Cannot ${action} as hedgehogWeights needs the feature map hedgehog: featureMap is ${featureMap}`,
    );
  }
  const { problem, gpu } = hedgehogProblem(action, { ...tensors, weights });
  check("stored", 2 * problem.config.outputs);
  return record(gpu, name, (operation) => {
    const [q, k] = launchHedgehog(operation, gpu, problem, { ...tensors, weights });
    try {
      return run(q, k, "stored");
    } finally {
      [q, k].forEach((tensor) => tensor.dispose());
    }
  });
}
