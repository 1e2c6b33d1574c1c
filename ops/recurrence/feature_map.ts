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

/** Calls `run` with queries, keys and what is applied to them on load; Hedgehog's come first. */
export function withFeatures<T extends "f32" | "f16", R>(
  { name, action }: { readonly name: string; readonly action: string },
  { featureMap, weights }: Features,
  tensors: { readonly q: Tensor<T>; readonly k: Tensor<T>; readonly v: Tensor<T> },
  run: (q: Tensor<T>, k: Tensor<T>, featureMap: KernelFeatureMap) => R,
): R {
  oneOf(action, "featureMap", featureMap, FEATURE_MAPS);
  if (featureMap !== "hedgehog") {
    if (weights === undefined) return run(tensors.q, tensors.k, featureMap);
    throw new TypeError(
      `Cannot ${action} as hedgehogWeights needs the feature map hedgehog: featureMap is ${featureMap}`,
    );
  }
  const { problem, gpu } = hedgehogProblem(action, { ...tensors, weights });
  return record(gpu, name, (operation) => {
    const [q, k] = launchHedgehog(operation, gpu, problem, { ...tensors, weights });
    try {
      return run(q, k, "stored");
    } finally {
      [q, k].forEach((tensor) => tensor.dispose());
    }
  });
}
