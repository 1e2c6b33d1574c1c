import { EXCHANGES } from "./exchange.ts";
import type { LoopConfig } from "./loop.ts";
import { ENTRY, EXIT, OWN_GATE } from "./entry_exit.ts";
import { outputText } from "./output.ts";
import { ownRows } from "./own_rows.ts";
import { touchText } from "./touch_rows.ts";

/** What the text of {@linkcode loopMain} calls. */
export const FUNCTIONS = /* wgsl */ `
/// The i-th token of a segment, in the order in which the recurrence meets them.
fn token_at(segment: vec4u, i: u32) -> u32 {
  if REVERSE { return segment.y - 1u - i; }
  return segment.x + i;
}`;

/** Everything a workgroup does, from the state at the entry of its segment to the one behind it. */
export function loopMain(config: LoopConfig & { exchange: keyof typeof EXCHANGES }): string {
  const { exchange, inputs, writes } = config;
  const { memory, declare, before, after, absent, own, shared, walk, there } = EXCHANGES[exchange];
  const { erase } = config;
  const output = outputText(config, {
    ...{ sum: "fma(Own(own_weight), v[c], o[r][c])", norm: "(norm[r] + own_weight)" },
    ...{ value: "v[c]", token: "token", there },
  });
  const touch = touchText(config);
  const write = writes ? (erase === "none" ? WRITE : erasedWrite(config, shared.b)) : "";
  const token = /* wgsl */ `
      let token = token_at(segment, min(first + j, count - 1u));
      let gate = ${shared.gate};
      @registers var v: array<Own, COLS>;
      @registers var ev: array<Own, COLS>;
      @unroll for (var c = 0u; c < COLS; c++) {
        let col = min(first_col + c * LANES, VALUE_COLS - 1u);
        v[c] = select(Own(), load_v(row_v(token, head), col), ${there});
        if WRITE_GATE { v[c] *= load_write_gate(row_write_gate(token, head), col); }
        if VALUE_GATE {
          ev[c] = select(Own(1.0), value_decays_of(load_gv(row_gv(token, head), col)), ${there});
          value_product[c] *= ev[c];
        }
      }
      ${erase === "none" || !writes ? "" : erased(config, shared)}
      @registers var o: array<array<Own, COLS>, GROUP>;
      @registers var norm: array<f32, GROUP>;
      @unroll for (var d = 0u; d < D4; d++) {
        let k = ${shared.k};
        var e = vec4f(gate);
        if CHANNEL_GATE { e = ${shared.e}; }
        ${inputs.u ? read(shared.q) + write : write + read(shared.q)}
      }
      if OUTPUTS && (first + j) % SUBSTEPS == SUBSTEPS - 1u {
        @unroll for (var r = 0u; r < GROUP; r++) {
          var own_weight = 0.0; // q diag(u) k
          if BONUS { own_weight = ${shared.bonus}; }
          ${output}
        }
      }`;
  return /* wgsl */ `
${memory}
${ENTRY}

  for (var first = 0u; first < count; first += TOKENS) {
    // every invocation loads one of the next tokens, however few of them are walked
    ${declare}
    ${before}
    let own = token_at(segment, min(first + lane, count - 1u));
    ${OWN_GATE}
    ${ownRows(config, own)}
    ${absent}
    ${touch.rows}
    ${after}

    ${walk(token)}
  }

  ${touch.end}
  ${EXIT}
}
`;
}

/** o_t += q_t S */
const read = (q: string): string => /* wgsl */ `
        if OUTPUTS {
          @unroll for (var r = 0u; r < GROUP; r++) {
            let q = ${q};
            @unroll for (var x = 0u; x < 4; x++) {
              @unroll for (var c = 0u; c < COLS; c++) {
                o[r][c] = fma(Own(q[x]), s[4 * d + x][c], o[r][c]);
              }
            }
            if NORMALIZE { norm[r] += dot(q, z[d]); }
          }
        }`;

/** w = p S behind or before the decay of S; delta rules write beta (v - w) in the place of v. */
function erased(
  { erase, inputs }: LoopConfig,
  { k, p, e, gate, beta }: Readonly<Record<"k" | "p" | "e" | "gate" | "beta", string>>,
): string {
  const accumulate = "w[c] = fma(Own(p[x]), s[4 * d + x][c], w[c]);";
  const keep = "s[4 * d + x][c] = kept(s[4 * d + x][c], e[x], Own(1.0));";
  return /* wgsl */ `
      @registers var w: array<Own, COLS>;
      @unroll for (var d = 0u; d < D4; d++) {
        let p = ${inputs.p || inputs.eraseGate ? p : k};
        var e = vec4f(${gate});
        if CHANNEL_GATE { e = ${e}; }
        @unroll for (var x = 0u; x < 4; x++) {
          @unroll for (var c = 0u; c < COLS; c++) {
            ${erase === "late" ? `${keep} ${accumulate}` : `${accumulate} ${keep}`}
          }
        }
      }
      ${
    erase === "pair"
      ? ""
      : `@unroll for (var c = 0u; c < COLS; c++) { v[c] = ${beta} * (v[c] - w[c]); }`
  }`;
}

/** S_t = (S_{t-1} decayed) + k_t^T v_t, and b_t^T w of a pair. */
function erasedWrite({ erase }: LoopConfig, b: string): string {
  return /* wgsl */ `
        @unroll for (var x = 0u; x < 4; x++) {
          @unroll for (var c = 0u; c < COLS; c++) {
            s[4 * d + x][c] = fma(Own(k[x]), v[c], s[4 * d + x][c]);
          }
        }
        ${
    erase === "pair"
      ? `let b = ${b};
        @unroll for (var x = 0u; x < 4; x++) {
          @unroll for (var c = 0u; c < COLS; c++) {
            s[4 * d + x][c] = fma(Own(b[x]), w[c], s[4 * d + x][c]);
          }
        }`
      : ""
  }`;
}

/** S_t = diag(e_t) S_{t-1} diag(ev_t) + k_t^T v_t */
const WRITE = /* wgsl */ `
        @unroll for (var x = 0u; x < 4; x++) {
          @unroll for (var c = 0u; c < COLS; c++) {
            s[4 * d + x][c] = fma(Own(k[x]), v[c], kept(s[4 * d + x][c], e[x], ev[c]));
          }
        }
        if NORMALIZE { z[d] = e * z[d] + k; }
        if DECAYS { product[d] *= e; }`;
