import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { reader } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import {
  type CentroidScoresConfig,
  SCORE_OF,
  SCORE_PARAMS,
  SCORE_ROWS,
  SCORED_TOKENS,
} from "./config.ts";

/**
 * The scores of all tokens with all centroids, `[lines, C, T]`: x μ, or for distances -|x - μ|². A
 * workgroup computes a tile of both, four by four scores in the registers of an invocation.
 */
export function centroidScores(config: CentroidScoresConfig): Program {
  const { elem, centroidElem, dim, metric, tile } = config;
  const x = reader({ name: "x", elem, width: dim }, "buffer");
  const centers = reader({ name: "centers", elem: centroidElem, width: dim }, "buffer");
  const bindings: Binding[] = [
    x.binding,
    centers.binding,
    { name: "scores", access: "read_write", type: "array<f32>" },
  ];
  const sizes = {
    TOKENS: SCORED_TOKENS,
    CENTROIDS: tile,
    C4: Math.ceil(dim / 4),
    DEPTH: 4, // vec4s of a row at a time
    STEP: tile / 4,
    THREADS: SCORED_TOKENS / 4 * (tile / 4),
  };
  const code = [
    constants(sizes),
    declare(bindings, SCORE_PARAMS),
    x.code,
    centers.code,
    SCORE_OF[metric],
    SCORE_ROWS,
    unroll(MAIN, {}),
  ].join("\n");
  return {
    ...{ label: `centroids (${metric})`, code, bindings },
    ...{ params: SCORE_PARAMS, subgroups: false },
  };
}

const MAIN = /* wgsl */ `
var<workgroup> xs: array<vec4f, TOKENS * DEPTH>; // [DEPTH, TOKENS]
var<workgroup> centers_of: array<vec4f, CENTROIDS * DEPTH>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let line = params.line0 + at.z;
  let b = line / params.heads;
  let h = line % params.heads;
  let t0 = at.x * TOKENS;
  let c0 = at.y * CENTROIDS;
  let token = thread % 16u; // and those 16, 32 and 48 behind it
  let center = thread / 16u; // and those one, two and three steps behind it
  @registers var sums: array<array<f32, 4>, 4>;
  for (var column = 0u; column < C4; column += DEPTH) {
    workgroupBarrier();
    for (var i = thread; i < TOKENS * DEPTH; i += THREADS) {
      let t = t0 + i / DEPTH;
      let c = column + i % DEPTH;
      var found = vec4f();
      if t < params.length && c < C4 { found = load_x(row_x(b, h, t), c); }
      xs[i % DEPTH * TOKENS + i / DEPTH] = found;
    }
    for (var i = thread; i < CENTROIDS * DEPTH; i += THREADS) {
      let n = c0 + i / DEPTH;
      let c = column + i % DEPTH;
      var found = vec4f();
      if n < params.centroids && c < C4 { found = load_centers(row_centers(b, h, n), c); }
      centers_of[i % DEPTH * CENTROIDS + i / DEPTH] = found;
    }
    workgroupBarrier();
    for (var depth = 0u; depth < DEPTH; depth++) {
      @registers var own: array<vec4f, 4>;
      @unroll for (var j = 0u; j < 4u; j++) { own[j] = xs[depth * TOKENS + token + 16u * j]; }
      @unroll for (var i = 0u; i < 4u; i++) {
        let mu = centers_of[depth * CENTROIDS + center + STEP * i];
        @unroll for (var j = 0u; j < 4u; j++) { sums[i][j] += score_of(own[j], mu); }
      }
    }
  }
  @unroll for (var i = 0u; i < 4u; i++) {
    @unroll for (var j = 0u; j < 4u; j++) {
      let n = c0 + center + STEP * i;
      let t = t0 + token + 16u * j;
      if n < params.centroids && t < params.length {
        scores[(at.z * params.centroids + n) * params.length + t] = sums[i][j];
      }
    }
  }
}
`;
