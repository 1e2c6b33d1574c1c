import { aligned } from "../shared/rows.ts";
import { ENTRY } from "./entry_exit.ts";
import type { LoopConfig, LoopTile } from "./loop.ts";
import { outputText } from "./output.ts";

/**
 * The layout of a pass by series; blocks hand rows round as subgroups do. There is text for each pair of
 * tokens of a tile: few where a row of v takes branches, of which SwiftShader compiles 32 in minutes.
 */
export function seriesTile(tile: LoopTile, valueDim: number): LoopTile {
  const exchange = tile.exchange === "workgroup" ? tile.exchange : "subgroup";
  const { lanes } = tile;
  return { ...tile, exchange, tokens: Math.min(aligned(valueDim) ? 8 : 4, lanes) };
}

/** Loop iterations of an invocation for a chunk and the queries of a state, those that end loops included. */
export function seriesIterations({ tokens }: LoopTile, chunkSize: number, group: number): number {
  const tiles = Math.ceil(chunkSize / tokens);
  return 1 + group * (1 + tiles * (tiles + 1) / 2 + tiles * (tokens + 3));
}

/** How rows, weights and sums of tokens are handed round. */
interface SeriesExchange {
  /** Variables of the module. */
  readonly memory: string;
  /** What each token hands round: channels of its key; weights of its query; its query and sum. */
  readonly give: Readonly<Record<"key" | "weights" | "query", string>>;
  /** Channels of key j; the weight of key j for query i, both literals; query j and its sum. */
  readonly take: Readonly<Record<"k" | "weight" | "q" | "norm", string>>;
}

const staged = (statements: string): string => /* wgsl */ `
      if lane < TOKENS { ${statements} }
      workgroupBarrier();`;

const EXCHANGES: Readonly<Record<"subgroup" | "workgroup", SeriesExchange>> = {
  subgroup: {
    memory: "",
    give: { key: "", weights: "", query: "" },
    take: {
      k: "subgroupBroadcast(own_k[d], j)",
      weight: "subgroupBroadcast(own_weight[j], i)",
      q: "subgroupShuffle(own_q[d], j)",
      norm: "subgroupShuffle(own_norm, j)",
    },
  },
  workgroup: {
    memory: /* wgsl */ `
var<workgroup> staged_k: array<vec4f, TOKENS * R4>;
var<workgroup> staged_q: array<vec4f, TOKENS * R4>;
var<workgroup> staged_weight: array<f32, TOKENS * TOKENS>; // [queries, keys]
var<workgroup> staged_norm: array<f32, TOKENS>;`,
    give: {
      key: staged("@unroll for (var d = 0u; d < R4; d++) { staged_k[lane * R4 + d] = own_k[d]; }"),
      weights: staged(`@unroll for (var j = 0u; j < TOKENS; j++) {
        staged_weight[lane * TOKENS + j] = own_weight[j];
      }`),
      query: staged(`@unroll for (var d = 0u; d < R4; d++) { staged_q[lane * R4 + d] = own_q[d]; }
        staged_norm[lane] = own_norm;`),
    },
    take: {
      k: "staged_k[j * R4 + d]",
      weight: "staged_weight[i * TOKENS + j]",
      q: "staged_q[j * R4 + d]",
      norm: "staged_norm[j]",
    },
  },
};

const exchangeOf = ({ exchange }: LoopTile): SeriesExchange =>
  EXCHANGES[exchange === "workgroup" ? exchange : "subgroup"];

/**
 * The outputs of a chunk of Based, whose state at the entry is only read.
 *
 * A workgroup has one state head of one chunk, columns of its state, and their queries one after another.
 * For a tile of queries i, what tokens j of the chunk give comes from their scores, over raw channels,
 *
 *     o_i = φ(q_i) S + Σ_{j<=i} (1 + s_ij + s_ij² / 2) v_j,  s_ij = scale q_i·k_j
 *
 * so that no key is expanded and no state is written. Each invocation loads one query and one key, and
 * weighs all keys of a tile for its query; rows of v are loaded once for all queries of a tile. A weight
 * reaches no query before its key, not even as 0: what comes later may be infinite.
 */
export function seriesMain(config: LoopConfig): string {
  const { memory, give, take } = exchangeOf(config);
  const output = outputText(config, {
    ...{ sum: "sum[c]", norm: take.norm, value: "Own()", token: "token", there: "true" },
  });
  return /* wgsl */ `
${memory}
${ENTRY}

  for (var r = 0u; r < GROUP; r++) {
    for (var first = 0u; first < count; first += TOKENS) {
      @registers var own_q: array<vec4f, R4>;
      let query = row_q(token_at(segment, min(first + lane, count - 1u)), head * GROUP + r);
      @unroll for (var d = 0u; d < R4; d++) { own_q[d] = params.feature_scale * load_q(query, d); }
      var own_norm = 0.0;
      if NORMALIZE { ${read({ sum: "own_norm", type: "f32", q: "own_q", row: vectorRow })} }

      ${tiles(config)}
      ${give.query}
      for (var j = 0u; j < min(TOKENS, count - first); j++) {
        let token = token_at(segment, first + j);
        @registers var q: array<vec4f, R4>;
        @unroll for (var d = 0u; d < R4; d++) { q[d] = ${take.q}; }
        @registers var sum: array<Own, COLS>;
        @unroll for (var c = 0u; c < COLS; c++) {
          @unroll for (var i = 0u; i < TOKENS; i++) { sum[c] = select(sum[c], o[i][c], i == j); }
          ${read({ sum: "sum[c]", type: "Own", q: "q", row: (at) => `s[${at}][c]` })}
        }
        ${output}
      }
    }
  }
}
`;
}

/** o_i of what tokens give: the weights of a tile of keys for the own query, then their values for all. */
function tiles(config: LoopConfig): string {
  const { give, take } = exchangeOf(config);
  return /* wgsl */ `
      @registers var o: array<array<Own, COLS>, TOKENS>;
      for (var tile = 0u; tile <= first; tile += TOKENS) {
        @registers var own_k: array<vec4f, R4>;
        let key = row_k(token_at(segment, min(tile + lane, count - 1u)), head);
        @unroll for (var d = 0u; d < R4; d++) { own_k[d] = params.feature_scale * load_k(key, d); }
        ${give.key}
        @registers var own_weight: array<f32, TOKENS>;
        @unroll for (var j = 0u; j < TOKENS; j++) {
          var score = 0.0;
          @unroll for (var d = 0u; d < R4; d++) { score += dot(own_q[d], ${take.k}); }
          own_weight[j] = fma(score, fma(0.5, score, 1.0), 1.0);
          own_norm += select(0.0, own_weight[j], tile + j <= first + lane);
        }
        ${give.weights}
        @registers var v: array<array<Own, COLS>, TOKENS>;
        @unroll for (var j = 0u; j < TOKENS; j++) {
          let token = token_at(segment, min(tile + j, count - 1u));
          @unroll for (var c = 0u; c < COLS; c++) {
            v[j][c] = load_v(row_v(token, head), min(first_col + c * LANES, VALUE_COLS - 1u));
          }
          @unroll for (var i = j; i < TOKENS; i++) { ${weigh(take.weight)} }
        }
        if tile < first { // whose keys are before all queries
          @unroll for (var j = 0u; j < TOKENS; j++) {
            @unroll for (var i = 0u; i < j; i++) { ${weigh(take.weight)} }
          }
        }
      }`;
}

/** o_i += w_ij v_j */
const weigh = (weight: string): string => /* wgsl */ `
            let w = ${weight};
            @unroll for (var c = 0u; c < COLS; c++) { o[i][c] = fma(Own(w), v[j][c], o[i][c]); }`;

const vectorRow = (at: string): string => `z[(${at}) / 4][(${at}) % 4]`;

/**
 * Adds what a query reads from the rows of a state: S_0 + Σ_m q_m (S_m + q_m S_mm / √2 + Σ_{n>m} q_n S_mn),
 * nested so that not even features of queries are formed.
 */
function read(
  { sum, type, q, row }: {
    readonly sum: string;
    readonly type: "f32" | "Own";
    readonly q: string;
    readonly row: (at: string) => string;
  },
): string {
  const channel = (m: string): string => `${q}[${m} / 4][${m} % 4]`;
  // in the order of taylorTerms
  const square = row("1 + DIM + m");
  const pair = row("1 + 2 * DIM + m * (2 * DIM - m - 1) / 2 + n - m - 1");
  return /* wgsl */ `
          ${sum} += ${row("0")};
          @unroll for (var m = 0u; m < DIM; m++) {
            var part = fma(${type}(INV_SQRT2 * ${channel("m")}), ${square}, ${row("1 + m")});
            @unroll for (var n = m + 1; n < DIM; n++) {
              part = fma(${type}(${channel("n")}), ${pair}, part);
            }
            ${sum} = fma(${type}(${channel("m")}), part, ${sum});
          }`;
}
