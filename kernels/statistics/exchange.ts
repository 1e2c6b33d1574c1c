import type { PairTile, StatisticsConfig } from "./config.ts";

/** How walked tokens reach the invocations of a workgroup: WGSL of a walk over pairs. */
export interface Exchange {
  /** Memory that they pass through, and that of their lse. */
  readonly code: string;
  readonly lseCode: string;
  /** Statements that load those of a tile, then their lse where it is wanted. */
  readonly load: string;
  readonly loadLse: string;
  /** A statement after which all are loaded. */
  readonly loaded: string;
  /** Statements that declare `s`, the products of the rows that are held and the n-th of them. */
  readonly products: string;
  /** Its lse, declared as `lse_y`. */
  readonly lse: string;
}

/** Products with a token whose d-th vec4 column is `column`. */
const productsOf = (column: string): string => /* wgsl */ `
        @registers var s: array<f32, ROWS>;
        @unroll for (var d = 0u; d < D4; d++) {
          let y_d = ${column};
          @unroll for (var r = 0u; r < ROWS; r++) { s[r] += dot(x[r][d], y_d); }
        }`;

/** Lanes of a subgroup load one token each. */
const LANES = {
  ...{ code: "", lseCode: "", loaded: "" },
  load: /* wgsl */ `
      let row_own = y_row(b, min(y_first + thread, ys.y - 1u), h);
      @registers var y_own: array<vec4f, D4>;
      @unroll for (var d = 0u; d < D4; d++) { y_own[d] = load_y(row_own, d); }`,
  loadLse: "let lse_own = lse_of(row_own);",
  lse: "let lse_y = subgroupShuffle(lse_own, n);",
};

/**
 * Lanes hand their tokens round: by shuffles, one at a time; or by broadcasts in text, all of them before
 * the first is used. Workgroups stage tokens in their memory.
 */
export const EXCHANGES: Readonly<Record<PairTile["exchange"], Exchange>> = {
  shuffle: { ...LANES, products: productsOf("subgroupShuffle(y_own[d], n)") },
  broadcast: {
    ...LANES,
    load: /* wgsl */ `${LANES.load}
      @registers var products: array<array<f32, Y>, ROWS>;
      @unroll for (var d = 0u; d < D4; d++) {
        @unroll for (var n = 0u; n < Y; n++) {
          let y_d = subgroupBroadcast(y_own[d], n);
          @unroll for (var r = 0u; r < ROWS; r++) { products[r][n] += dot(x[r][d], y_d); }
        }
      }`,
    products: /* wgsl */ `
        @registers var s: array<f32, ROWS>;
        @unroll for (var r = 0u; r < ROWS; r++) {
          @unroll for (var i = 0u; i < Y; i++) { s[r] = select(s[r], products[r][i], i == n); }
        }`,
  },
  stage: {
    code: /* wgsl */ `
var<workgroup> stage: array<vec4f, Y * D4>; // [Y, D4]
`,
    lseCode: /* wgsl */ `
var<workgroup> stage_lse: array<f32, Y>;
`,
    load: /* wgsl */ `
      workgroupBarrier();
      for (var i = thread; i < count * D4; i += THREADS) {
        stage[i] = load_y(y_row(b, y_first + i / D4, h), i % D4);
      }`,
    loadLse: /* wgsl */ `
      for (var i = thread; i < count; i += THREADS) {
        stage_lse[i] = lse_of(y_row(b, y_first + i, h));
      }`,
    loaded: "workgroupBarrier();",
    products: productsOf("stage[n * D4 + d]"),
    lse: "let lse_y = stage_lse[n];",
  },
};

/** Bytes of workgroup memory through which walked tokens pass. */
export function stageBytes({ headDim, tile }: Pick<StatisticsConfig, "headDim" | "tile">): number {
  return tile.exchange !== "stage" ? 0 : tile.columns * (16 * Math.ceil(headDim / 4) + 4);
}
