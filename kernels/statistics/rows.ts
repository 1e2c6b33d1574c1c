import type { Binding, Program } from "../../gpu/program.ts";
import type { StatisticsConfig } from "./config.ts";
import { walkPairs } from "./pairs.ts";

/** What is kept of each row. */
export interface RowStatistics {
  /** Whether the log-sum-exp is. */
  readonly lse: boolean;
  /** Whether the entropy is, which needs lse. */
  readonly entropy: boolean;
  /** How many of the largest scores are, with their keys. */
  readonly top: number;
  /** Whether the key of the largest is, on its own. */
  readonly argMax: boolean;
}

/**
 * Statistics of rows, in one walk over the keys, as an online softmax carries them: with m the running
 * maximum, l = Σ e^{s - m} and u = Σ e^{s - m} (s - m), lse = m + log l and the entropy is log l - u / l.
 *
 * A launch that does not begin with the first key goes on from what the one before has written.
 */
export function rowStatistics(config: StatisticsConfig, statistics: RowStatistics): Program {
  const { lse, entropy, top, argMax } = statistics;
  const output = (name: string, type: "f32" | "i32"): Binding => ({
    ...{ name, access: "read_write", type: `array<${type}>` },
  });
  const bindings = [
    ...(lse ? [output("lse", "f32")] : []), // [B, T, Hq]
    ...(entropy ? [output("entropy", "f32")] : []),
    ...(top > 0 ? [output("topValues", "f32"), output("topIndices", "i32")] : []), // and top
    ...(argMax ? [output("argMax", "i32")] : []),
  ];
  return walkPairs(config, {
    ...{ name: "rows", held: "queries", walkedLse: false, bindings },
    params: top > 0 ? { topFirst: "u32" } : {},
    sizes: { TOP: top, ENTROPY: entropy },
    code: CODE,
    begin: [lse ? BEGIN_LSE : "", entropy ? BEGIN_ENTROPY : "", top > 0 ? BEGIN_TOP : ""].join(
      "\n",
    ),
    ...{ hold: "", step: "" },
    use: [lse ? USE_LSE(entropy ? USE_ENTROPY : "") : "", top > 0 ? entering(top) : ""].join("\n"),
    after: "",
    end: END([
      lse ? STORE_LSE : "",
      entropy ? STORE_ENTROPY : "",
      top > 0 ? STORE_TOP : "",
      argMax ? "arg_max[row - params.lse_first] = key[r][0];" : "",
    ]),
  });
}

const CODE = /* wgsl */ `
fn span_of(tile: u32) -> Span {
  let first = params.t0 + tile * X;
  return Span(first, min(first + X, params.t1), params.j0, params.j1, 0u);
}
fn walked(span: Span, x_first: u32, x_last: u32) -> vec2u {
  return keys_seen(vec2u(span.y_first, span.y_end), vec2u(x_first, x_last));
}
`;

/** What the r-th row has in the outputs, where keys came before. */
const RESUMED = /* wgsl */ `
  if params.j0 > 0u {
    @unroll for (var r = 0u; r < ROWS; r++) {
      let row = q_row(b, min(span.x_first + r * THREADS + thread, span.x_end - 1u), h);
      LOAD
    }
  }`;

const BEGIN_LSE = /* wgsl */ `
  @registers var m: array<f32, ROWS>;
  @registers var l: array<f32, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) { m[r] = FLOOR; }
  ${
  RESUMED.trim().replace(
    "LOAD",
    /* wgsl */ `
      let before = lse[row - params.lse_first];
      if before > FLOOR { m[r] = before; l[r] = 1.0; }`.trim(),
  )
}`;

const BEGIN_ENTROPY = /* wgsl */ `
  @registers var u: array<f32, ROWS>;
  ${RESUMED.trim().replace("LOAD", "u[r] = -entropy[row - params.lse_first];")}`;

const BEGIN_TOP = /* wgsl */ `
  @registers var top: array<array<f32, TOP>, ROWS>; // the largest first
  @registers var key: array<array<i32, TOP>, ROWS>;
  @unroll for (var r = 0u; r < ROWS; r++) {
    @unroll for (var e = 0u; e < TOP; e++) { top[r][e] = FLOOR; key[r][e] = -1; }
  }
  ${
  RESUMED.trim().replace(
    "LOAD",
    /* wgsl */ `
      let first = (row - params.top_first) * TOP;
      @unroll for (var e = 0u; e < TOP; e++) {
        key[r][e] = top_indices[first + e];
        top[r][e] = select(FLOOR, top_values[first + e], key[r][e] >= 0);
      }`.trim(),
  )
}`;

/** One exponential: of a new maximum it rescales what is summed so far, else it is the summand. */
const USE_LSE = (entropy: string): string => /* wgsl */ `
          let above = s_own > m[r];
          let weight = exp2(-LOG2E * abs(s_own - m[r]));
          ${entropy.trim()}
          l[r] = select(l[r] + weight, fma(l[r], weight, 1.0), above);
          m[r] = max(m[r], s_own);`;

const USE_ENTROPY = /* wgsl */ `
          let shifted = fma(l[r], m[r] - s_own, u[r]) * weight;
          u[r] = select(fma(weight, s_own - m[r], u[r]), shifted, above);`;

/** Scores of a list that move together. */
const SEGMENT = 16;

/**
 * A score enters a sorted list: those behind its place move on by one, from the last segment of the list
 * to the one that has its place. As a loop, a segment costs nothing where none of its scores moves.
 */
function entering(end: number): string {
  const first = Math.max(0, end - SEGMENT);
  const places = Array.from({ length: end - first }, (_, n) => place(end - 1 - n));
  return /* wgsl */ `
          for (var enters = s_own > top[r][${end - 1}]; enters; enters = false) {
            ${places.join("\n").trim()}
            ${first > 0 ? entering(first).trim() : ""}
          }`;
}

/** What stands at a place of the list then: the score before it, the new one, or what stood there. */
function place(e: number): string {
  const own = `select(key[r][${e}], i32(y), s_own > top[r][${e}])`;
  if (e === 0) return `key[r][0] = ${own}; top[r][0] = max(s_own, top[r][0]);`;
  return `key[r][${e}] = select(${own}, key[r][${e - 1}], s_own > top[r][${e - 1}]);
            top[r][${e}] = max(min(top[r][${e - 1}], s_own), top[r][${e}]);`;
}

/** Loops that a score may enter. */
export function listLoops(top: number): number {
  return Math.ceil(top / SEGMENT);
}

const END = (stores: readonly string[]): string => /* wgsl */ `
  @unroll for (var r = 0u; r < ROWS; r++) {
    let own = span.x_first + r * THREADS + thread;
    if own < span.x_end {
      let row = q_row(b, own, h);
      ${stores.map((store) => store.trim()).join("\n")}
    }
  }`;

const STORE_LSE = /* wgsl */ `
      lse[row - params.lse_first] = select(m[r] + log(l[r]), negative_infinity(), l[r] == 0.0);`;

const STORE_ENTROPY = /* wgsl */ `
      let nats = max(log(l[r]) - u[r] / l[r], 0.0);
      entropy[row - params.lse_first] = select(nats, 0.0, l[r] == 0.0);`;

const STORE_TOP = /* wgsl */ `
      let first = (row - params.top_first) * TOP;
      @unroll for (var e = 0u; e < TOP; e++) {
        top_indices[first + e] = key[r][e];
        top_values[first + e] = select(top[r][e], negative_infinity(), key[r][e] < 0);
      }`;
