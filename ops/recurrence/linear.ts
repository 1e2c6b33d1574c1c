import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type FeatureMap, type Features, withFeatures } from "./feature_map.ts";
import type { RecurrenceOptions, RecurrenceState, SequenceOptions } from "./options.ts";
import { plannedRecurrence, type RecurrenceResult, runRecurrence } from "./run.ts";

export type { FeatureMap } from "./feature_map.ts";

/** Options of {@linkcode linearAttention}. */
export interface LinearAttentionOptions extends SequenceOptions {
  /**
   * φ of queries and keys, channel by channel: x; elu(x) + 1; max(x, 0); e^x. Or of K channels together:
   * `"taylor2"`, with φ(x)·φ(y) = 1 + s + s²/2 of s = x·y / √K, makes 1 + K + K(K+1)/2 features, at most
   * 256 (K up to 21); `"hedgehog"`, softmax([2y, −2y]) of y = W x, makes 2F of the F channels of y.
   *
   * @default {"identity"}
   */
  featureMap?: FeatureMap;
  /**
   * W of `"hedgehog"`, f32 or f16: `[F, K]` for all heads, `[H, F, K]` for each, or `[2, H, F, K]`, first
   * for the queries, then for the keys; F up to 128. With K + 1 columns the last one is a bias. The unit
   * matrix by default. Queries or keys of HX heads use weights ⌊h·H/HX⌋; H divides HQ and HK.
   */
  hedgehogWeights?: Tensor;
  /**
   * Whether outputs are divided by what the query reads from the running sum of the keys' features. The
   * state is then the record `{ s, z }`.
   *
   * @default {featureMap !== "identity"}
   */
  normalize?: boolean;
  /**
   * Added to the divisor.
   *
   * @default {1e-10}
   */
  eps?: number;
  /** The state that the first token of each sequence finds, f32; a record with `normalize`; 0 by default. */
  initialState?: Tensor<"f32"> | RecurrenceState;
}

/** Options of {@linkcode linearAttentionStep}. */
export type LinearAttentionStepOptions = Pick<
  LinearAttentionOptions,
  "featureMap" | "hedgehogWeights" | "normalize" | "eps" | "scale" | "stateLayout" | "schedule"
>;

const ACTION = "compute linear attention";
const STEP_OPTIONS: readonly (keyof LinearAttentionStepOptions)[] = [
  ...["featureMap", "hedgehogWeights", "normalize", "eps", "scale"] as const,
  ...["stateLayout", "schedule"] as const,
];
const OPTIONS: readonly (keyof LinearAttentionOptions)[] = [
  ...STEP_OPTIONS,
  ...["initialState", "finalState", "cuSeqlens", "reverse", "mode", "chunkSize"] as const,
];

/** Runs the engine on q, k and v, or on the features of Hedgehog and v. */
function run<T extends "f32" | "f16">(
  inPlace: boolean,
  features: Features,
  [q, k, v]: readonly [Tensor<T>, Tensor<T>, Tensor<T>],
  options: RecurrenceOptions,
): RecurrenceResult<T> {
  const family = { name: "linearAttention", action: ACTION, inPlace };
  return withFeatures(
    family,
    features,
    { q, k, v },
    {
      check: (featureMap, features) =>
        void plannedRecurrence({ ...family, featureMap, features }, [q, k, v], options),
      run: (q, k, featureMap) => runRecurrence({ ...family, featureMap }, [q, k, v], options),
    },
  );
}

/**
 * Causal linear attention (Katharopoulos et al., "Transformers are RNNs", 2020):
 * S_t = S_{t-1} + φ(k_t)ᵀ v_t and o_t = scale · φ(q_t) S_t.
 *
 * With `normalize`, the default of all feature maps but the identity, the output is
 * o_t / (scale · φ(q_t)·z_t + eps), z_t the running sum of φ(k). Features are computed when q and k are
 * loaded and never stored, but for `"hedgehog"`, whose features are a tensor in the dtype of q while the
 * work is under way. States have a row for each feature. Heads are grouped as in `recurrence`.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, HQ, K]`
 * @param k `[B, T, HK, K]`
 * @param v `[B, T, HV, V]`
 * @param options feature map, normalisation, scale (default K'^-1/2, K' features), states, sequences,
 * mode
 * @returns out `[B, T, HO, V]`, and the final state where it is asked for
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function linearAttention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LinearAttentionOptions = {},
): RecurrenceResult<T> {
  checkOptionNames(ACTION, options, OPTIONS);
  const { featureMap = "identity", normalize = featureMap !== "identity", ...given } = options;
  const { hedgehogWeights: weights, ...others } = given;
  return recall(run<T>, false, { featureMap, weights }, [q, k, v], { ...others, normalize });
}

/**
 * The next token of `linearAttention`, in place.
 *
 * @typeParam T storage of q, k and v
 * @param state f32 `[B, HV, K', V]`, with `normalize` the record of it and the running sum: the state
 * before the token, then the one behind it
 * @param q `[B, 1, HQ, K]`
 * @param k `[B, 1, HK, K]`
 * @param v `[B, 1, HV, V]`
 * @param options feature map, normalisation, scale, layout of the state
 * @returns `[B, 1, HO, V]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 */
export function linearAttentionStep<T extends "f32" | "f16">(
  state: Tensor<"f32"> | RecurrenceState,
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: LinearAttentionStepOptions = {},
): Tensor<T> {
  checkOptionNames(ACTION, options, STEP_OPTIONS);
  const { featureMap = "identity", normalize = featureMap !== "identity", ...given } = options;
  const { hedgehogWeights: weights, ...others } = given;
  const stepped = { ...others, normalize, initialState: state, mode: "loop" as const };
  return recall(run<T>, true, { featureMap, weights }, [q, k, v], stepped).out;
}
