import type { Gpu } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { FeatureMap as KernelFeatureMap } from "../../kernels/recurrence/features.ts";
import type { Inputs } from "../../kernels/recurrence/inputs.ts";
import { areCopyable, checkElem, checkScale } from "../attention/sizes.ts";
import { checkDType, checkShape, checkTensors } from "../tensors.ts";
import type { FeatureMap } from "./feature_map.ts";
import { checkEps, checkFlags } from "../options.ts";
import { checkSizes, type InputRows, inputRows, type RecurrenceProblem } from "./problem.ts";

/** Options of {@linkcode linearAttentionFull}. */
export interface LinearAttentionFullOptions {
  /**
   * φ of queries and keys, as in `linearAttention`.
   *
   * @default {"identity"}
   */
  featureMap?: FeatureMap;
  /** W of `"hedgehog"`, as in `linearAttention`. */
  hedgehogWeights?: Tensor;
  /**
   * Whether the weights of a query are divided by their sum.
   *
   * @default {featureMap !== "identity" && !subtractMean}
   */
  normalize?: boolean;
  /**
   * Added to the sum of the weights.
   *
   * @default {1e-6}
   */
  eps?: number;
  /**
   * Multiplies what a query reads.
   *
   * @default {K'^-1/2}
   */
  scale?: number;
  /** Multiplies the features of each key, f32 or f16 `[B, S, HK]`. */
  tokenWeights?: Tensor;
  /**
   * Shifts the weights of a query so that their mean is 1 / S; not together with `normalize`.
   *
   * @default {false}
   */
  subtractMean?: boolean;
}

/** What linear attention over all keys is to compute, validated: two or three passes of the engine. */
export interface FullProblem {
  /** Sums of features times values, over the keys. */
  readonly keys: RecurrenceProblem;
  /** Sums of the values, where outputs are centred by their mean. */
  readonly totals: RecurrenceProblem | null;
  /** Products of the queries with the sums. */
  readonly queries: RecurrenceProblem;
}

/** What the operator does, for errors. */
export const ACTION = "compute full linear attention";

/** What is left of the options once features are dealt with. */
export interface FullSettings
  extends Omit<LinearAttentionFullOptions, "featureMap" | "hedgehogWeights"> {
  readonly featureMap: KernelFeatureMap;
  /** Channels of the features that take the place of q and k; q and k themselves by default. */
  readonly features?: number;
  readonly normalize: boolean;
}

/** Validates the arguments: the one place that throws for them. */
export function fullProblem(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  settings: FullSettings,
): { problem: FullProblem; gpu: Gpu } {
  const { featureMap, features, normalize, subtractMean = false, eps = 1e-6, scale } = settings;
  const { tokenWeights } = settings;
  checkFlags(ACTION, { normalize, subtractMean });
  const more = tokenWeights === undefined ? {} : { tokenWeights };
  const gpu = checkTensors(ACTION, { q, k, v, ...more });
  const sizes = checkSizes({ action: ACTION, featureMap, features, cross: true }, q, k, v);
  const { batch, length, kHeads, dim } = sizes;
  const keys = v.shape[1];
  if (normalize && subtractMean) {
    throw new TypeError(
      `Cannot ${ACTION} as normalize and subtractMean exclude each other: both are true`,
    );
  }
  checkEps(ACTION, eps);
  if (tokenWeights !== undefined) {
    checkDType(ACTION, "tokenWeights", tokenWeights, ["f32", "f16"]);
    checkShape(ACTION, "tokenWeights", tokenWeights, [batch, keys, kHeads]);
  }
  const bounds = (length: number): number[] =>
    Array.from({ length: batch + 1 }, (_, b) => b * length);
  const shared: RecurrenceProblem = {
    ...{ ...sizes, elem: checkElem(ACTION, { q, k, v }), gate: "none" },
    inputs: inputRows({ q, k, v, ...(tokenWeights && { keyWeights: tokenWeights }) }),
    ...{ softplus: false, stepLimits: [0, 0], lowerBound: 0, gateForm: "log" },
    ...{ erase: "none", betaForm: "plain", l2norm: false, substeps: 1 },
    ...{ featureMap, featureScale: dim ** -0.25, normalize: normalize || subtractMean },
    divisor: "sum",
    // without keys the sums are 0, and so are the outputs whatever they are divided by
    ...{ eps: keys === 0 ? 1 : eps, scale: checkScale(ACTION, scale, sizes.keyDim) },
    ...{ initial: false, final: false, valueFirst: false, reverse: false, mode: "auto" },
    ...{ bounds: bounds(length), chunkSize: 64, copyable: areCopyable([q, k, v]), schedule: null },
    keyCount: Math.max(1, keys),
  };
  const sums: RecurrenceProblem = { ...shared, length: keys, bounds: bounds(keys) };
  const { keyWeights: _weights, ...plain } = shared.inputs;
  const totals: Inputs<InputRows> = { totals: { elem: "f32", heads: sizes.heads } };
  const problem: FullProblem = {
    keys: sums,
    totals: subtractMean
      ? { ...sums, inputs: plain, featureMap: "one", keyDim: 1, normalize: false }
      : null,
    queries: { ...shared, inputs: { ...shared.inputs, ...(subtractMean && totals) } },
  };
  return { problem, gpu };
}
