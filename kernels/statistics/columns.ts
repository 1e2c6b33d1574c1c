import type { Program } from "../../gpu/program.ts";
import type { StatisticsConfig } from "./config.ts";
import { walkPairs } from "./pairs.ts";

/**
 * Column sums Σ_i e^{s_ij - lse_i}: keys are held and queries are walked, so that every sum has one
 * owner and no two launches of a problem differ.
 */
export function columnSums(config: StatisticsConfig): Program {
  return walkPairs(config, {
    ...{ name: "columns", held: "keys", walkedLse: true },
    bindings: [
      { name: "lse", access: "read", type: "array<f32>" }, // [B, T, Hq]
      { name: "sums", access: "read_write", type: "array<f32>" }, // [B, S, Hq]
    ],
    ...{ params: {}, sizes: {}, code: CODE, hold: "", step: "", after: "" },
    ...{ begin: "@registers var sum: array<f32, ROWS>;", use: USE, end: END },
  });
}

const CODE = /* wgsl */ `
fn span_of(tile: u32) -> Span {
  let first = params.j0 + tile * X;
  return Span(first, min(first + X, params.j1), params.t0, params.t1, 0u);
}
fn walked(span: Span, x_first: u32, x_last: u32) -> vec2u {
  return queries_seeing(vec2u(span.y_first, span.y_end), vec2u(x_first, x_last));
}
`;

const USE = "sum[r] += exp2(LOG2E * (s_own - lse_y));";

const END = /* wgsl */ `
  @unroll for (var r = 0u; r < ROWS; r++) {
    let own = span.x_first + r * THREADS + thread;
    if own < span.x_end {
      let place = (b * params.kv_len + own) * params.heads + h - params.out_first;
      if params.t0 > 0u { sum[r] += sums[place]; }
      sums[place] = sum[r];
    }
  }`;
