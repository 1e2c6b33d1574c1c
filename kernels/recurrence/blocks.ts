import { ENTRY, EXIT, OWN_GATE } from "./entry_exit.ts";
import type { Erase, GateShape } from "./config.ts";
import type { Inputs } from "./inputs.ts";
import type { LoopConfig } from "./loop.ts";
import { outputText } from "./output.ts";
import { ownRows } from "./own_rows.ts";
import { touchText } from "./touch_rows.ts";

/** Whether blocks compute a recurrence: one decay for all channels, and reads behind the write. */
export function hasBlocks(
  { gate, erase, inputs }: {
    readonly gate: GateShape;
    readonly erase: Erase;
    readonly inputs: Inputs<unknown>;
  },
): boolean {
  return erase === "none" && gate !== "channel" && gate !== "forget" && !inputs.gv && !inputs.u;
}

/**
 * The recurrence in blocks of tokens, the state in registers (math/recurrence.md, 1.1, the chunk form).
 *
 * A subgroup has one state head of one segment and columns of its state. Each lane loads one token of a
 * block, its scores q_i · k_j, and the decays of query and key to the entry and the end of the block;
 * then, by columns,
 *
 *     o_i = q_i (decay from the entry to i) S + Σ_{j<=i} score_ij v_j
 *     S  <- (decay of the block) S + Σ_j (k_j decayed to the end)ᵀ v_j
 *
 * so that the state is read and written once for all tokens of a block. Decays are products of e^gate:
 * no exponent is a sum of gates or a difference of sums, so that no gate overflows. The text is 8 times
 * that of the token loop, and its first call as much slower on llvmpipe (docs/performance.md).
 */
export function blocksMain(config: LoopConfig): string {
  const { outputs } = config;
  const touch = touchText(config);
  const own = { k: "own_k[d]", e: "own_e[d]", q: "own_q[r][d]", bonus: "", p: "", b: "" };
  return /* wgsl */ `
${ENTRY}

  for (var first = 0u; first < count; first += TOKENS) {
    @registers var own_k: array<vec4f, D4>;
    @registers var own_e: array<vec4f, D4>;
    @registers var own_q: array<array<vec4f, D4>, GROUP>;
    let left = count - first;
    let own = token_at(segment, first + min(lane, left - 1u));
    ${OWN_GATE}
    ${ownRows(config, own)}
    ${touch.rows}
    ${DECAYS}
    ${outputs ? SCORES : ""}
    ${VALUES}
    ${columns(config)}
    ${outputs ? outputsOf(config) : ""}
  }

  ${touch.end}
  ${EXIT}
}
`;
}

/** Decays from a token to the own one, from the entry to the own one, from it to the end, and of all. */
const DECAYS = /* wgsl */ `
    if lane >= left { // what is not there adds nothing and keeps everything
      own_gate = 1.0;
      @unroll for (var d = 0u; d < D4; d++) { own_k[d] = vec4f(); }
    }
    @registers var since: array<f32, TOKENS>;
    var entry = 1.0;
    var end = 1.0;
    var all = 1.0;
    @unroll for (var n = 0u; n < TOKENS; n++) { // back from the last token
      let e = subgroupBroadcast(own_gate, TOKENS - 1u - n);
      since[TOKENS - 1 - n] = entry;
      entry = select(entry, entry * e, lane >= TOKENS - 1u - n);
      end = select(end, end * e, lane < TOKENS - 1u - n);
      all *= e;
    }`;

/** score_ij = q_i · k_j decayed, for the own token i; and its normaliser. */
const SCORES = /* wgsl */ `
    @registers var score: array<array<f32, TOKENS>, GROUP>;
    @unroll for (var d = 0u; d < D4; d++) {
      @unroll for (var j = 0u; j < TOKENS; j++) {
        let k_j = subgroupBroadcast(own_k[d], j);
        @unroll for (var r = 0u; r < GROUP; r++) { score[r][j] += dot(own_q[r][d], k_j); }
      }
    }
    @registers var own_norm: array<f32, GROUP>;
    @unroll for (var r = 0u; r < GROUP; r++) {
      @unroll for (var j = 0u; j < TOKENS; j++) {
        score[r][j] = select(0.0, since[j] * score[r][j], lane >= j);
        own_norm[r] += score[r][j];
      }
      @unroll for (var d = 0u; d < D4; d++) {
        own_q[r][d] *= entry;
        if NORMALIZE { own_norm[r] += dot(own_q[r][d], z[d]); }
      }
    }`;

const VALUES = /* wgsl */ `
    @unroll for (var d = 0u; d < D4; d++) {
      own_k[d] *= end;
      if NORMALIZE { z[d] *= all; }
      if DECAYS { product[d] *= all; }
    }
    @registers var v: array<array<Own, COLS>, TOKENS>;
    @unroll for (var j = 0u; j < TOKENS; j++) {
      let token = token_at(segment, first + min(j, left - 1u));
      @unroll for (var c = 0u; c < COLS; c++) {
        let col = min(first_col + c * LANES, VALUE_COLS - 1u);
        v[j][c] = select(Own(), load_v(row_v(token, head), col), j < left);
      }
    }`;

/** o_i += q_i S, and S <- all S + k_jᵀ v_j; two rows at a time share the registers of v_j. */
function columns({ outputs, gate }: LoopConfig): string {
  const read = /* wgsl */ `
      @unroll for (var r = 0u; r < GROUP; r++) {
        @unroll for (var j = 0u; j < TOKENS; j++) {
          @unroll for (var x = 0u; x < 4; x++) {
            let q = subgroupBroadcast(own_q[r][d][x], j);
            @unroll for (var c = 0u; c < COLS; c++) {
              o[r][j][c] = fma(Own(q), s[4 * d + x][c], o[r][j][c]);
            }
          }
        }
      }`;
  const keep = /* wgsl */ `
      @unroll for (var x = 0u; x < 4; x++) {
        @unroll for (var c = 0u; c < COLS; c++) { s[4 * d + x][c] *= all; }
      }`;
  return /* wgsl */ `
    @registers var o: array<array<array<Own, COLS>, TOKENS>, GROUP>;
    @unroll for (var d = 0u; d < D4; d++) {
      ${outputs ? read : ""}
      ${gate === "none" ? "" : keep}
      if NORMALIZE {
        @unroll for (var j = 0u; j < TOKENS; j++) { z[d] += subgroupBroadcast(own_k[d], j); }
      }
      @unroll for (var half = 0u; half < 4; half += 2u) {
        @unroll for (var j = 0u; j < TOKENS; j++) {
          @unroll for (var x = half; x < half + 2; x++) {
            let k = subgroupBroadcast(own_k[d][x], j);
            @unroll for (var c = 0u; c < COLS; c++) {
              s[4 * d + x][c] = fma(Own(k), v[j][c], s[4 * d + x][c]);
            }
          }
        }
      }
    }`;
}

/** o_i += Σ_{j<=i} score_ij v_j, normalised and stored. */
function outputsOf(config: LoopConfig): string {
  const output = outputText(config, {
    ...{ sum: "o[r][i][c]", norm: "subgroupBroadcast(own_norm[r], i)" },
    ...{ value: "v[i][c]", token: "token", there: "i < left" },
  });
  return /* wgsl */ `
    @unroll for (var i = 0u; i < TOKENS; i++) {
      let token = token_at(segment, first + min(i, left - 1u));
      @unroll for (var r = 0u; r < GROUP; r++) {
        @unroll for (var j = 0u; j < i + 1; j++) {
          let a = subgroupBroadcast(score[r][j], i);
          @unroll for (var c = 0u; c < COLS; c++) { o[r][i][c] = fma(Own(a), v[j][c], o[r][i][c]); }
        }
        ${output}
      }
    }`;
}
