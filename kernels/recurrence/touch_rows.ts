import { lineOf, touchCode, touches } from "../shared/touch.ts";
import type { LoopConfig } from "./loop.ts";

/** WGSL that fetches the cache lines of the next tokens: each invocation those of its own token. */
export interface TouchText {
  /** Functions of the module. */
  readonly code: string;
  /** Before the tokens are walked. */
  readonly rows: string;
  /** Behind all of them. */
  readonly end: string;
}

/** What a walk over tokens touches: their outputs, and the values that it would load one by one. */
export function touchText(config: LoopConfig): TouchText {
  const { outputs, series, own, source, elem, valueDim } = config;
  const out = { name: "out", elem, width: valueDim };
  if (!outputs || series || own === 1 || !touches(out, source)) {
    return { code: "", rows: "", end: "" };
  }
  return {
    code: touchCode(out, source),
    rows: /* wgsl */ `
    @unroll for (var c = 0u; c < LANES * COLS; c += ${lineOf(out)}) {
      let col = min(tile.x * LANES * COLS + c, VALUE_COLS - 1u);
      touch(load_v(row_v(own, head), col).x);
      @unroll for (var r = 0u; r < GROUP; r++) {
        touch_out((own / SUBSTEPS * params.heads + head) * GROUP + r, col);
      }
    }`,
    end: "keep_touched(params.segment0);",
  };
}
