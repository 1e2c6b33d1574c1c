import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { reader, writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { GATE_CODE } from "./config.ts";
import { STORED } from "./features.ts";
import { HEDGEHOG_PARAMS, type HedgehogConfig } from "./hedgehog.ts";

/** Tokens of a workgroup, and most invocations of a subgroup. */
export const HEDGEHOG_LANES = 32;

/** What the same features must know when lanes share weights; D and F are multiples of 4. */
export interface HedgehogLanesConfig extends HedgehogConfig {
  /** Invocations of a subgroup, which load one row of W each; 1 where each loads all of them. */
  readonly lanes: number;
}

/**
 * The same features where texels are read faster than workgroup memory. An invocation has a token and
 * walks its logits twice, some outputs at a time: for the largest and the sum of the exponentials, which
 * is rescaled where the largest grows, then for the features.
 */
export function hedgehogByLanes(config: HedgehogLanesConfig): Program {
  const { elem, dim, outputs, weights, lanes } = config;
  const bias = weights?.bias ?? false;
  const width = dim + Number(bias);
  const accessors = [
    reader({ name: "x", elem, width: dim }, "texture"), // [tokens, heads, D]
    ...(weights ? [reader({ name: "weights", elem: weights.elem, width }, "texture")] : []), // [H, F, D]
    writer({ name: "features", elem, width: 2 * outputs }), // [tokens, heads, 2F]
  ];
  const bindings: Binding[] = accessors.map(({ binding }) => binding);
  const tile = [16, 8, 4].find((size) => outputs % size === 0) ?? 4;
  const sizes = {
    THREADS: HEDGEHOG_LANES,
    LANES: lanes,
    TILE: tile, // outputs at a time
    OWN: Math.ceil(tile / lanes), // rows of W that a lane loads
    D4: dim / 4,
    W4: Math.ceil(width / 4),
    F: outputs,
  };
  const subgroups = weights !== null && lanes > 1;
  const code = [
    constants({ STORED, ...sizes }),
    declare(bindings, HEDGEHOG_PARAMS),
    ...accessors.map((accessor) => accessor.code),
    GATE_CODE,
    unroll(mainCode(weights ? logitsCode(subgroups) : UNIT, subgroups), sizes),
  ].join("\n");
  const label = "features of hedgehog (lanes)";
  return { label, code, bindings, params: HEDGEHOG_PARAMS, subgroups };
}

/** y of the unit matrix. */
const UNIT = /* wgsl */ `
      @unroll for (var n = 0u; n < TILE; n++) { y[n] = load_x(row, f / 4u + n / 4u)[n % 4u]; }`;

/** y = W x, the 1 of a bias behind the channels of x. */
function logitsCode(subgroups: boolean): string {
  return /* wgsl */ `
      for (var c = 0u; c < W4; c++) {
        var x = vec4f(1.0, 0.0, 0.0, 0.0);
        if c < D4 { x = load_x(row, c); }
        @registers var own: array<vec4f, OWN>;
        @unroll for (var i = 0u; i < OWN; i++) {
          own[i] = load_weights(matrix * F + f + ${
    subgroups ? "min(LANES * i + lane, TILE - 1u)" : "i"
  }, c);
        }
        @unroll for (var n = 0u; n < TILE; n++) {
          y[n] += dot(x, ${subgroups ? "subgroupBroadcast(own[n / LANES], n % LANES)" : "own[n]"});
        }
      }`;
}

function mainCode(logits: string, subgroups: boolean): string {
  return /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) at: vec3u,
  @builtin(local_invocation_index) thread: u32,
  ${subgroups ? "@builtin(subgroup_invocation_id) lane: u32," : ""}
) {
  let token = params.token0 + at.x * THREADS + thread;
  let head = at.y;
  let row = min(token, params.token1 - 1u) * params.heads + head;
  let matrix = params.matrix0 + head * params.matrices / params.heads;
  var m = 0.0;
  var l = 0.0;
  for (var round = 0u; round < 2u; round++) {
    for (var f = 0u; f < F; f += TILE) {
      @registers var y: array<f32, TILE>;
      @unroll for (var n = 0u; n < TILE; n++) { y[n] = 0.0; }
      ${logits}
      if round == 0u {
        let before = m;
        @unroll for (var n = 0u; n < TILE; n++) { m = max(m, abs(2.0 * y[n])); }
        l *= exp2(LOG2E * (before - m));
        @unroll for (var n = 0u; n < TILE; n++) { l += weight(2.0 * y[n], m) + weight(-2.0 * y[n], m); }
      } else if token < params.token1 {
        @unroll for (var i = 0u; i < TILE / 4u; i++) {
          let s = 2.0 * vec4f(y[4 * i], y[4 * i + 1], y[4 * i + 2], y[4 * i + 3]);
          store_features(row, f / 4u + i, f32(STORED) / l * weights_of(s, m));
          store_features(row, (F + f) / 4u + i, f32(STORED) / l * weights_of(-s, m));
        }
      }
    }
  }
}

/// e^(s - m): the difference is taken first, so that large logits lose no digits.
fn weight(s: f32, m: f32) -> f32 { return exp2(LOG2E * (s - m)); }
fn weights_of(s: vec4f, m: f32) -> vec4f { return exp2(LOG2E * (s - m)); }
`;
}
