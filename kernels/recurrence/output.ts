import { divisorOf, type RecurrenceConfig } from "./config.ts";

/** What a token's output is made of, as WGSL. */
export interface OutputText {
  /** What its query r reads from the state, at column c of the invocation. */
  readonly sum: string;
  /** What it reads from the running sum of the keys. */
  readonly norm: string;
  /** Its value, at the same column. */
  readonly value: string;
  /** Its number. */
  readonly token: string;
  /** Whether it is there. */
  readonly there: string;
}

/** Normalises, gates and stores the output of query r of a token. */
export function outputText(
  config: Pick<RecurrenceConfig, "divisor">,
  { sum, norm, value, token, there }: OutputText,
): string {
  return /* wgsl */ `
        {
          var factor = params.scale;
          var keys = 0.0; // q · the running sum of the keys
          if NORMALIZE || CENTER { keys = ${norm}; }
          if NORMALIZE && !CENTER { factor /= ${divisorOf(config, { norm: "keys", token })}; }
          @unroll for (var c = 0u; c < COLS; c++) {
            let col = first_col + c * LANES;
            if ${there} && col < VALUE_COLS {
              var y = factor * ${sum};
              if SKIP { y += skip_of(head, col) * ${value}; }
              if CENTER {
                let mean = params.scale * keys / params.key_count;
                y = (y - (mean - 1.0) * load_totals(row, col)) / params.key_count;
              }
              if OUT_GATE { y *= silu(load_out_gate(row_out_gate(${token}, head), col)); }
              store_out((${token} / SUBSTEPS * params.heads + head) * GROUP + r, col, y);
            }
          }
        }`;
}
