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
  /** The d-th vec4 column of the n-th of them. */
  readonly column: string;
  /** Its lse, declared as `lse_y`. */
  readonly lse: string;
}

/** Lanes of a subgroup load one token each and shuffle; workgroups stage them in their memory. */
export const EXCHANGES: Readonly<Record<PairTile["exchange"], Exchange>> = {
  shuffle: {
    ...{ code: "", lseCode: "", loaded: "" },
    load: /* wgsl */ `
      let row_own = y_row(b, min(y_first + thread, ys.y - 1u), h);
      @registers var y_own: array<vec4f, D4>;
      @unroll for (var d = 0u; d < D4; d++) { y_own[d] = load_y(row_own, d); }`,
    loadLse: "let lse_own = lse_of(row_own);",
    column: "subgroupShuffle(y_own[d], n)",
    lse: "let lse_y = subgroupShuffle(lse_own, n);",
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
    column: "stage[n * D4 + d]",
    lse: "let lse_y = stage_lse[n];",
  },
};

/** Bytes of workgroup memory through which walked tokens pass. */
export function stageBytes({ headDim, tile }: Pick<StatisticsConfig, "headDim" | "tile">): number {
  return tile.exchange === "shuffle" ? 0 : tile.columns * (16 * Math.ceil(headDim / 4) + 4);
}
