import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";
import { recurrence, type RecurrenceOptions, type RecurrenceResult } from "./engine.ts";
import { applyFeatureMap, type FeatureMapOptions } from "./feature_map.ts";
import type { RecurrenceStateRecord, SequenceOptions } from "./options.ts";

/** Options for {@linkcode linearAttention}. */
export interface LinearAttentionOptions
  extends FeatureMapOptions, SequenceOptions, Pick<RecurrenceOptions, "stateLayout" | "eps"> {
  /**
   * The state that the first token of each sequence finds, `[N, HV, K', V]`, with `normalize` a record
   * of it and the sum of the keys' features so far, `[N, HV, K']`; 0 by default.
   *
   * @default {undefined}
   */
  initialState?: ReferenceTensor | RecurrenceStateRecord;
  /**
   * Whether the output is divided by what the query reads from the running sum of the keys' features.
   * The state is then the record `{ s, z }`.
   *
   * @default {featureMap !== "identity"}
   */
  normalize?: boolean;
  /**
   * The factor of the read-out, K' ** -0.5 by default: K' features, not K channels.
   *
   * @default {K' ** -0.5}
   */
  scale?: number;
}

/**
 * Causal linear attention (Katharopoulos et al., Transformers are RNNs, 2020; Zhang et al., The
 * Hedgehog & the Porcupine, 2024): S_t = S_{t-1} + φ(k_t)ᵀ v_t and o_t = scale φ(q_t) S_t.
 *
 * There is no gate. With `normalize`, the default of all feature maps but the identity, the output is
 * o_t / (scale φ(q_t) · z_t + eps), z_t = z_{t-1} + φ(k_t). Heads are grouped as in
 * {@linkcode recurrence}; states have K' rows, one for each feature.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options Feature map, normalisation, states and sequences.
 * @returns The output `[B, T, HO, V]`, and the final state where it is asked for.
 *
 * @example Equal features give a running mean
 * ```ts
 * import { linearAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 3, 1, 1];
 * const zeros = { data: [0, 0, 0], shape };
 * const v = { data: [6, 12, 30], shape };
 *
 * const { out } = linearAttention(zeros, zeros, v, { featureMap: "elu1" });
 *
 * [6, 9, 16].forEach((o, t) => assertAlmostEquals(out.data[t], o));
 * ```
 */
export function linearAttention(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: LinearAttentionOptions = {},
): RecurrenceResult {
  const { featureMap = "identity", normalize = featureMap !== "identity" } = options;
  const [qs, ks] = [applyFeatureMap(q, "q", options), applyFeatureMap(k, "k", options)];
  return recurrence(qs, ks, v, { ...options, normalize });
}

/** Options for {@linkcode linearAttentionFull}. */
export interface LinearAttentionFullOptions extends FeatureMapOptions {
  /**
   * Whether the weights of a row are divided by their sum.
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
   * The factor of φ(q) · φ(k), K' ** -0.5 by default: K' features, not K channels.
   *
   * @default {K' ** -0.5}
   */
  scale?: number;
  /**
   * Multiplies the features of each key, `[B, S, HK]`.
   *
   * @default {undefined}
   */
  tokenWeights?: ReferenceTensor;
  /**
   * Shifts the weights of a row so that their mean is 1 / S; not together with `normalize`.
   *
   * @default {false}
   */
  subtractMean?: boolean;
}

/**
 * Linear attention of all queries over all keys: out_i = Σ_j w_ij v_j with
 * w_ij = scale α_j φ(q_i) · φ(k_j), α the token weights.
 *
 * `normalize` makes it Σ_j w_ij v_j / (Σ_j w_ij + eps). `subtractMean` makes it
 * Σ_j (w_ij - mean_s w_is + 1) v_j / S, whose weights add up to 1. Heads are grouped as in
 * {@linkcode recurrence}.
 *
 * Its settings are LinFusion (Liu et al., 2024): `elu1`, eps 1e-4 S, scale 1; RALA (Fan et al., 2024):
 * `elu1`, its α as tokenWeights, eps 1e-6 S, scale 1; SLAB (Guo et al., 2024): `relu`, eps 1e-6, scale
 * 1; InLine (Han et al., Bridging the Divide, 2024): subtractMean. What they add outside the sums,
 * positions and convolutions, is left out.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, S, HK, K]`.
 * @param v The values, `[B, S, HV, V]`.
 * @param options Feature map, normalisation and token weights.
 * @returns The output, `[B, T, HO, V]`, HO = max(HQ, HV).
 *
 * @example Weights of 1/4 and 3/4
 * ```ts
 * import { linearAttentionFull } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const q = { data: [1], shape: [1, 1, 1, 1] };
 * const k = { data: [1, 3], shape: [1, 2, 1, 1] };
 * const v = { data: [4, 8], shape: [1, 2, 1, 1] };
 *
 * const { out } = linearAttentionFull(q, k, v, { featureMap: "relu", eps: 0 });
 *
 * assertAlmostEquals(out.data[0], 7);
 * ```
 */
export function linearAttentionFull(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: LinearAttentionFullOptions = {},
): { out: Float64Tensor } {
  const { featureMap = "identity", subtractMean = false, tokenWeights, eps = 1e-6 } = options;
  const { normalize = featureMap !== "identity" && !subtractMean } = options;
  const [batch, qLen, qHeads] = q.shape;
  const [, kvLen, heads, valueDim] = v.shape;
  const keyHeads = k.shape[2];
  const outHeads = Math.max(qHeads, heads);
  const [qs, ks] = [applyFeatureMap(q, "q", options), applyFeatureMap(k, "k", options)];
  const features = qs.shape[3];
  const { scale = features ** -0.5 } = options;
  const w = new Float64Array(kvLen);
  const out = new Float64Array(batch * qLen * outHeads * valueDim);

  for (let row = 0; row < batch * qLen * outHeads; row++) {
    const [i, h] = [Math.floor(row / outHeads), row % outHeads]; // query i of the whole batch
    const b = Math.floor(i / qLen);
    const qStart = (i * qHeads + Math.floor(h * qHeads / outHeads)) * features;
    const s = Math.floor(h * heads / outHeads);
    const keyHead = Math.floor(s * keyHeads / heads);
    let sum = 0;
    for (let j = 0; j < kvLen; j++) {
      const key = (b * kvLen + j) * keyHeads + keyHead;
      let dot = 0;
      for (let d = 0; d < features; d++) dot += qs.data[qStart + d] * ks.data[key * features + d];
      w[j] = scale * (tokenWeights ? tokenWeights.data[key] : 1) * dot;
      sum += w[j];
    }
    for (let j = 0; j < kvLen; j++) {
      let weight = w[j];
      if (subtractMean) weight = (w[j] - sum / kvLen + 1) / kvLen;
      else if (normalize) weight = w[j] / (sum + eps);
      const vStart = ((b * kvLen + j) * heads + s) * valueDim;
      for (let e = 0; e < valueDim; e++) out[row * valueDim + e] += weight * v.data[vStart + e];
    }
  }
  return { out: { data: out, shape: [batch, qLen, outHeads, valueDim] } };
}
