/**
 * The oracles: every operator in double precision, straight from its definition.
 *
 * They share no code with the kernels, so they cannot share their mistakes. They are made to be read
 * beside the equations, and they trust their input: shapes and ranges are checked by the operators.
 *
 * Shapes are given in these letters, heads last: B batch, T queries, S keys, Hq query heads, Hkv key
 * and value heads, D head dim, Dv value dim. Neighborhoods have token axes X, Y, Z in place of T and
 * S, and E additional keys.
 *
 * @example Attention over two keys
 * ```ts
 * import { attention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const q = { data: [1], shape: [1, 1, 1, 1] };
 * const k = { data: [0, Math.log(3)], shape: [1, 2, 1, 1] };
 * const v = { data: [4, 8], shape: [1, 2, 1, 1] };
 *
 * const { out, lse } = attention(q, k, v); // the weights are 1/4 and 3/4
 *
 * assertAlmostEquals(out.data[0], 7);
 * assertAlmostEquals(lse.data[0], Math.log(4));
 * ```
 *
 * @example Neighborhood attention on a map of 4 x 4 tokens, each of which sees 2 x 2
 * ```ts
 * import { neighborhoodAttention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const zeros = { data: new Float64Array(16), shape: [1, 4, 4, 1, 1] };
 * const v = { data: Float64Array.from({ length: 16 }, (_, y) => y), shape: zeros.shape };
 *
 * const { out, lse } = neighborhoodAttention(zeros, zeros, v, { windowSize: 2 });
 *
 * assertAlmostEquals(out.data[0], (0 + 1 + 4 + 5) / 4);
 * assertAlmostEquals(lse.data[0], Math.log(4));
 * ```
 *
 * @module
 */

export * from "./attention.ts";
export { type AppendOptions, type AppendResult, appendToCache, type KvCache } from "./cache.ts";
export * from "./clusters.ts";
export * from "./hashes.ts";
export * from "./merge.ts";
export {
  neighborhoodAttention,
  type NeighborhoodAttentionOptions,
  type NeighborhoodAttentionResult,
  type NeighborhoodWindow,
} from "./neighborhood.ts";
export * from "./neighborhood_unfused.ts";
export * from "./permutation.ts";
export * from "./pooling.ts";
export * from "./recurrence/based.ts";
export * from "./recurrence/comba.ts";
export * from "./recurrence/conv.ts";
export * from "./recurrence/decays.ts";
export * from "./recurrence/delta.ts";
export * from "./recurrence/delta_channels.ts";
export * from "./recurrence/dplr.ts";
export * from "./recurrence/engine.ts";
export type { FeatureMap, FeatureMapOptions } from "./recurrence/feature_map.ts";
export * from "./recurrence/gated_keys.ts";
export * from "./recurrence/hgrn.ts";
export * from "./recurrence/lightning.ts";
export * from "./recurrence/linear.ts";
export * from "./recurrence/log_linear.ts";
export * from "./recurrence/mamba2.ts";
export * from "./recurrence/mlstm.ts";
export * from "./recurrence/options.ts";
export * from "./recurrence/scan.ts";
export * from "./recurrence/selective_scan.ts";
export * from "./recurrence/titans.ts";
export * from "./recurrence/ttt.ts";
export * from "./rope.ts";
export type { MaskHook, ScoreHook, ScoreOptions, ScorePlace } from "./scores.ts";
export {
  type LimitedSelection,
  type Selection,
  type SelectOptions,
  selectThreshold,
  selectTopK,
  selectTopP,
} from "./selection.ts";
export * from "./statistics.ts";
export * from "./tensor.ts";
export * from "./tree.ts";
export * from "./visible_keys.ts";
export type { AttentionWeight, WeightFunction } from "./weights.ts";
