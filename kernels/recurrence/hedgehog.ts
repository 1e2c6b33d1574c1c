import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, reader, writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { GATE_CODE } from "./config.ts";
import { STORED } from "./features.ts";

/** Tokens of a workgroup. */
export const HEDGEHOG_TOKENS = 8;

const THREADS = 64;

/** What the features of Hedgehog must know when they are compiled. */
export interface HedgehogConfig {
  /** Storage of the rows and of their features. */
  readonly elem: Elem;
  /** D, channels of a row. */
  readonly dim: number;
  /** F, channels of y = W x; there are twice as many features. */
  readonly outputs: number;
  /** Storage of W, and whether its last column is a bias; null for the unit matrix. */
  readonly weights: { readonly elem: Elem; readonly bias: boolean } | null;
}

/** Run-time parameters. */
export const HEDGEHOG_PARAMS: Readonly<Record<string, ParamType>> = {
  token0: "u32", // tokens of this launch
  token1: "u32",
  heads: "u32",
  matrices: "u32", // H, weights of all heads
  matrix0: "u32", // the first of them
  xFirst: "u32", // first row of each bound range
  weightsFirst: "u32",
  featuresFirst: "u32",
};

/**
 * The features of Hedgehog (Zhang et al., 2024): φ(x) = softmax([2y, -2y]), y = W x.
 *
 * A workgroup has eight tokens of one head; the grid is over the others. Rows are staged, then an
 * invocation owns rows of W: each vec4 of them is loaded once for all tokens. Eight invocations find
 * the largest logit of a token, which is that of |2y|, and the sum of the exponentials. Differences
 * are taken before they are scaled to base 2, so that large logits lose no digits to that.
 */
export function hedgehogFeatures({ elem, dim, outputs, weights }: HedgehogConfig): Program {
  const bias = weights?.bias ?? false;
  const width = dim + Number(bias);
  const accessors = [
    reader({ name: "x", elem, width: dim }, "buffer"), // [tokens, heads, D]
    ...(weights ? [reader({ name: "weights", elem: weights.elem, width }, "buffer")] : []), // [H, F, D]
    writer({ name: "features", elem, width: 2 * outputs }), // [tokens, heads, 2F]
  ];
  const bindings: Binding[] = accessors.map(({ binding }) => binding);
  const sizes = {
    THREADS,
    TOKENS: HEDGEHOG_TOKENS,
    LANES: THREADS / HEDGEHOG_TOKENS, // invocations of a token
    D: dim,
    D4: Math.ceil(dim / 4),
    W4: Math.ceil(width / 4),
    F: outputs,
    PITCH: 32 * Math.ceil(outputs / 32) + 8, // lanes of four tokens then meet in no bank
    P4: Math.ceil(2 * outputs / 4),
  };
  const code = [
    constants({ STORED, ...sizes, BIAS: bias, UNIT: weights === null }),
    declare(bindings, HEDGEHOG_PARAMS),
    ...accessors.map((accessor) => accessor.code),
    ...(weights ? [] : ["fn load_weights(row: u32, c: u32) -> vec4f { return vec4f(); }"]),
    GATE_CODE,
    unroll(MAIN, sizes),
  ].join("\n");
  const label = "features of hedgehog";
  return { label, code, bindings, params: HEDGEHOG_PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
var<workgroup> rows: array<vec4f, TOKENS * W4>; // [TOKENS, W4]: x, the 1 of the bias, zeros
var<workgroup> logits: array<f32, TOKENS * PITCH>; // [TOKENS, PITCH]: 2y
var<workgroup> parts: array<f32, THREADS>; // [TOKENS, LANES]
var<workgroup> largest: array<f32, TOKENS>;
var<workgroup> sums: array<f32, TOKENS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = params.token0 + at.x * TOKENS;
  let head = at.y;
  for (var i = thread; i < TOKENS * W4; i += THREADS) {
    rows[i] = row_of(token + i / W4, head, i % W4);
  }
  workgroupBarrier();

  if UNIT {
    for (var i = thread; i < TOKENS * F; i += THREADS) {
      let j = i / F;
      let f = i % F;
      logits[j * PITCH + f] = 2.0 * rows[j * W4 + f / 4u][f % 4u];
    }
  } else {
    let matrix = params.matrix0 + head * params.matrices / params.heads;
    for (var f = thread; f < F; f += THREADS) {
      @registers var y: array<vec4f, TOKENS>;
      for (var c = 0u; c < W4; c++) {
        let w = load_weights(matrix * F + f, c);
        @unroll for (var j = 0u; j < TOKENS; j++) { y[j] = fma(w, rows[j * W4 + c], y[j]); }
      }
      @unroll for (var j = 0u; j < TOKENS; j++) {
        logits[j * PITCH + f] = 2.0 * dot(y[j], vec4f(1.0));
      }
    }
  }
  workgroupBarrier();

  let own = thread / LANES; // token
  var m = 0.0;
  for (var f = thread % LANES; f < F; f += LANES) { m = max(m, abs(logits[own * PITCH + f])); }
  parts[thread] = m;
  workgroupBarrier();
  @unroll for (var i = 0u; i < LANES; i++) { m = max(m, parts[own * LANES + i]); }
  var l = 0.0;
  for (var f = thread % LANES; f < F; f += LANES) {
    let s = logits[own * PITCH + f];
    l += exp2(LOG2E * (s - m)) + exp2(LOG2E * (-s - m));
  }
  workgroupBarrier();
  parts[thread] = l;
  workgroupBarrier();
  if thread % LANES == 0u {
    var sum = 0.0;
    @unroll for (var i = 0u; i < LANES; i++) { sum += parts[own * LANES + i]; }
    largest[own] = m;
    sums[own] = sum;
  }
  workgroupBarrier();

  for (var i = thread; i < TOKENS * P4; i += THREADS) {
    let j = i / P4;
    let p = 4u * (i % P4);
    if token + j >= params.token1 { continue; }
    let e = vec4f(weight(j, p), weight(j, p + 1u), weight(j, p + 2u), weight(j, p + 3u));
    store_features((token + j) * params.heads + head, i % P4, f32(STORED) * e / sums[j]);
  }
}

/// Four channels of a token, the 1 of a bias behind the last of them.
fn row_of(token: u32, head: u32, c: u32) -> vec4f {
  var x = vec4f();
  if c < D4 && token < params.token1 { x = load_x(token * params.heads + head, c); }
  if BIAS && c == D / 4u { x[D % 4u] = 1.0; }
  return x;
}

/// e^(s - m) of a feature: of 2y, then of -2y.
fn weight(j: u32, p: u32) -> f32 {
  let s = logits[j * PITCH + p % F];
  return exp2(LOG2E * (select(-s, s, p < F) - largest[j]));
}
`;
