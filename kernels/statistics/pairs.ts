import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { describe } from "../attention/description.ts";
import { WEIGHTS } from "../attention/weights.ts";
import { reader } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { bandCode } from "./band.ts";
import { heldTokens, STATISTICS_PARAMS, type StatisticsConfig } from "./config.ts";
import { type Exchange, EXCHANGES } from "./exchange.ts";

/** What tells one kernel of statistics from the next: WGSL beside the walk over pairs. */
export interface PairStatistic {
  readonly name: string;
  /** Whose tokens invocations hold; those of the other side are walked. */
  readonly held: "queries" | "keys";
  /** Whether the lse of each walked query is handed round with it. */
  readonly walkedLse: boolean;
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, ParamType>>;
  /** Constants of its text and of its unrolled loops. */
  readonly sizes: Readonly<Record<string, number | boolean>>;
  /**
   * `span_of(tile) -> Span` of a workgroup, `walked(span, x_first, x_last) -> vec2u` for a tile of what
   * it holds (masks narrow it), and whatever the statements call.
   */
  readonly code: string;
  /** Statements before the first pair. */
  readonly begin: string;
  /** For each token `own`, the r-th that is held. */
  readonly hold: string;
  /** For each pair of the r-th token `own` and the n-th walked one, `y`: its score is `s_own`. */
  readonly use: string;
  /** After the pairs of each walked token. */
  readonly step: string;
  /** After each tile of pairs. */
  readonly after: string;
  /** After the last pair. */
  readonly end: string;
}

/**
 * Walks the pairs of queries and keys, tile by tile, and never stores them.
 *
 * Invocations hold the tokens of one side (x), `rows` each, in registers; the tokens of the other side
 * (y) are loaded once for all of them and handed round, a subgroup's by its lanes, a workgroup's through
 * its memory. Scores are natural logarithms; a hidden one is below FLOOR.
 */
export function walkPairs(config: StatisticsConfig, statistic: PairStatistic): Program {
  const { tile, elem, headDim, source } = config;
  const { name, held, bindings, params, walkedLse } = statistic;
  const natural = { ...WEIGHTS.softmax, binary: false };
  const description = describe({ ...config, sinks: null, lse: false, weight: natural });
  const accessors = ["q", "k"].map((rows) => reader({ name: rows, elem, width: headDim }, source));
  const sizes = {
    THREADS: tile.threads,
    ROWS: tile.rows,
    Y: tile.columns, // tokens that are handed round at a time
    X: heldTokens(tile),
    D4: Math.ceil(headDim / 4),
    ...statistic.sizes,
  };
  const all = [
    ...accessors.map(({ binding }) => binding),
    ...description.bindings,
    ...bindings,
  ];
  const fields = { ...STATISTICS_PARAMS, ...description.params, ...params };
  const exchange = EXCHANGES[tile.exchange];
  const code = [
    constants({ ...sizes, ...description.constants }),
    declare(all, fields),
    ...accessors.map((accessor) => accessor.code),
    bandCode(config.band),
    description.code,
    held === "queries" ? QUERIES_HELD : KEYS_HELD,
    SPAN,
    bindings.some((binding) => binding.name === "lse") ? LSE_OF : "",
    exchange.code + (walkedLse ? exchange.lseCode : ""),
    statistic.code,
    unroll(main(statistic, exchange), sizes),
  ].join("\n");
  return {
    ...{ label: `attention statistics (${name})`, code },
    ...{ bindings: all, params: fields, subgroups: tile.exchange !== "stage" },
  };
}

const QUERIES_HELD = /* wgsl */ `
fn x_row(b: u32, x: u32, h: u32) -> u32 { return q_row(b, x, h); }
fn y_row(b: u32, y: u32, h: u32) -> u32 { return kv_row(b, y, h / params.group); }
fn load_x(row: u32, c: u32) -> vec4f { return load_q(row, c); }
fn load_y(row: u32, c: u32) -> vec4f { return load_k(row, c); }
fn score_of(s: f32, masked: bool, b: u32, h: u32, x: u32, y: u32) -> f32 {
  return score(s, masked, b, h, Query(x), KeyTile(y), 0u);
}
fn is_masked(xs: vec2u, ys: vec2u) -> bool { return hides(xs, ys); }
`;

const KEYS_HELD = /* wgsl */ `
fn x_row(b: u32, x: u32, h: u32) -> u32 { return kv_row(b, x, h / params.group); }
fn y_row(b: u32, y: u32, h: u32) -> u32 { return q_row(b, y, h); }
fn load_x(row: u32, c: u32) -> vec4f { return load_k(row, c); }
fn load_y(row: u32, c: u32) -> vec4f { return load_q(row, c); }
fn score_of(s: f32, masked: bool, b: u32, h: u32, x: u32, y: u32) -> f32 {
  return score(s, masked, b, h, Query(y), KeyTile(x), 0u);
}
fn is_masked(xs: vec2u, ys: vec2u) -> bool { return hides(ys, xs); }
`;

const SPAN = /* wgsl */ `
/// What a workgroup holds: tokens x_first to x_end, in tiles; which tokens it walks, and where it writes.
struct Span { x_first: u32, x_end: u32, y_first: u32, y_end: u32, slot: u32 }
`;

/** That of a row without a key is -inf: any finite number will do, as its weights are 0. */
const LSE_OF = /* wgsl */ `
fn lse_of(row: u32) -> f32 {
  let value = lse[row - params.lse_first];
  return select(value, 0.0, value < FLOOR);
}
`;

const main = (statistic: PairStatistic, exchange: Exchange): string => /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let b = params.b0 + at.z;
  let h = params.h0 + at.y;
  let span = span_of(at.x);
  ${statistic.begin.trim()}

  for (var x_first = span.x_first; x_first < span.x_end; x_first += X) {
    let x_last = min(x_first + X, span.x_end) - 1u;
    @registers var x: array<array<vec4f, D4>, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
      let own = min(x_first + r * THREADS + thread, x_last);
      let row = x_row(b, own, h);
      @unroll for (var d = 0u; d < D4; d++) { x[r][d] = params.q_scale * load_x(row, d); }
    }
    ${statistic.hold.trim()}

    let ys = walked(span, x_first, x_last);
    for (var y_first = ys.x; y_first < ys.y; y_first += Y) {
      let count = min(Y, ys.y - y_first);
      let masked = is_masked(vec2u(x_first, x_last), vec2u(y_first, y_first + count - 1u));
      ${exchange.load.trim()}
      ${statistic.walkedLse ? exchange.loadLse.trim() : ""}
      ${exchange.loaded}
      for (var n = 0u; n < count; n++) {
        // s = scale · q · k, then what the description makes of it
        let y = y_first + n;
        ${statistic.walkedLse ? exchange.lse : ""}
        ${exchange.products.trim()}
        @unroll for (var r = 0u; r < ROWS; r++) {
          let own = x_first + r * THREADS + thread;
          let s_own = score_of(s[r], masked, b, h, min(own, x_last), y);
          ${statistic.use.trim()}
        }
        ${statistic.step.trim()}
      }
      ${statistic.after.trim()}
    }
  }
  ${statistic.end.trim()}
}
`;
