import type { ParamType } from "../../gpu/program.ts";
import type { Elem } from "../shared/rows.ts";

/** What scoring centroids must know when it is compiled. */
export interface CentroidScoresConfig {
  readonly elem: Elem;
  /** Storage of the centroids. */
  readonly centroidElem: Elem;
  /** D. */
  readonly dim: number;
  /** Whether the nearest centroid has the largest product, or the smallest distance. */
  readonly metric: "dot" | "l2";
  /** Centroids of a workgroup: a multiple of 4. */
  readonly tile: number;
}

/** Tokens of a workgroup. */
export const SCORED_TOKENS = 64;

/** Sizes and places that kernels of scores know. */
export const SCORE_PARAMS: Readonly<Record<string, ParamType>> = {
  line0: "u32", // first batch entry and head of this launch, counted together
  heads: "u32",
  length: "u32", // T
  centroids: "u32", // C
  centroidBatch: "u32", // 1 where batch entries have centroids of their own, or 0
  centroidHeads: "u32", // H where heads have centroids of their own, or 1
  xFirst: "u32", // first rows that are bound
  centersFirst: "u32",
};

/** `score_of(x, mu)`: what four channels of a token and a centroid add to their score. */
export const SCORE_OF: Readonly<Record<CentroidScoresConfig["metric"], string>> = {
  dot: "fn score_of(x: vec4f, mu: vec4f) -> f32 { return dot(x, mu); }",
  l2: "fn score_of(x: vec4f, mu: vec4f) -> f32 { return -dot(x - mu, x - mu); }",
};

/** `row_x(b, h, t)` and `row_centers(b, h, n)`: the rows of a token and of a centroid. */
export const SCORE_ROWS = /* wgsl */ `
fn row_x(b: u32, h: u32, t: u32) -> u32 { return (b * params.length + t) * params.heads + h; }
fn row_centers(b: u32, h: u32, n: u32) -> u32 {
  let row = b * params.centroid_batch * params.centroids + n;
  return row * params.centroid_heads + h % params.centroid_heads;
}`;
