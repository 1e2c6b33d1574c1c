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

/** What scoring by lanes must know when it is compiled. */
export interface LaneScoresConfig extends CentroidScoresConfig {
  /** Invocations of a subgroup, which load one centroid each; 1 where each loads all of them. */
  readonly lanes: number;
}

/** Most invocations of a subgroup. */
export const SCORE_THREADS = 32;

/**
 * The same scores where texels are read faster than workgroup memory: an invocation has two tokens and
 * all centroids of the tile, which the lanes of a subgroup load and hand round.
 */
export function laneScores(config: LaneScoresConfig): Program {
  const { elem, centroidElem, dim, metric, tile, lanes } = config;
  const accessors = [
    reader({ name: "x", elem, width: dim }, "texture"),
    reader({ name: "centers", elem: centroidElem, width: dim }, "texture"),
  ];
  const bindings: Binding[] = [
    ...accessors.map(({ binding }) => binding),
    { name: "scores", access: "read_write", type: "array<f32>" },
  ];
  const sizes = {
    THREADS: SCORE_THREADS,
    ROWS: SCORED_TOKENS / SCORE_THREADS, // tokens of an invocation
    CENTROIDS: tile,
    OWN: Math.ceil(tile / lanes), // centroids that a lane loads
    LANES: lanes,
    C4: Math.ceil(dim / 4),
  };
  const subgroups = lanes > 1;
  const code = [
    constants(sizes),
    declare(bindings, SCORE_PARAMS),
    ...accessors.map((accessor) => accessor.code),
    SCORE_OF[metric],
    SCORE_ROWS,
    unroll(mainCode(subgroups), sizes),
  ].join("\n");
  return { label: `centroids (${metric}, lanes)`, code, bindings, params: SCORE_PARAMS, subgroups };
}

function mainCode(subgroups: boolean): string {
  const lane = subgroups ? "@builtin(subgroup_invocation_id) lane: u32," : "";
  const handed = subgroups ? "subgroupBroadcast(own[n / LANES], n % LANES)" : "own[n]";
  return /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) at: vec3u,
  @builtin(local_invocation_index) thread: u32,
  ${lane}
) {
  let line = params.line0 + at.z;
  let b = line / params.heads;
  let h = line % params.heads;
  let t0 = at.x * THREADS * ROWS + thread; // and those THREADS, ... behind it
  let c0 = at.y * CENTROIDS;
  @registers var tokens: array<u32, ROWS>; // rows of x; beyond the last token, the last one
  @unroll for (var j = 0u; j < ROWS; j++) {
    tokens[j] = row_x(b, h, min(t0 + THREADS * j, params.length - 1u));
  }
  @registers var centroids: array<u32, OWN>;
  @unroll for (var i = 0u; i < OWN; i++) {
    centroids[i] = row_centers(b, h, min(c0 + LANES * i${
    subgroups ? " + lane" : ""
  }, params.centroids - 1u));
  }
  @registers var sums: array<array<f32, ROWS>, CENTROIDS>;
  for (var c = 0u; c < C4; c++) {
    @registers var x: array<vec4f, ROWS>;
    @unroll for (var j = 0u; j < ROWS; j++) { x[j] = load_x(tokens[j], c); }
    @registers var own: array<vec4f, OWN>;
    @unroll for (var i = 0u; i < OWN; i++) { own[i] = load_centers(centroids[i], c); }
    @unroll for (var n = 0u; n < CENTROIDS; n++) {
      let mu = ${handed};
      @unroll for (var j = 0u; j < ROWS; j++) { sums[n][j] += score_of(x[j], mu); }
    }
  }
  @unroll for (var n = 0u; n < CENTROIDS; n++) {
    @unroll for (var j = 0u; j < ROWS; j++) {
      let t = t0 + THREADS * j;
      if c0 + n < params.centroids && t < params.length {
        scores[(at.z * params.centroids + c0 + n) * params.length + t] = sums[n][j];
      }
    }
  }
}
`;
}
