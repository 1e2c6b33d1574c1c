import { constants, declare, type Program } from "../../gpu/program.ts";
import { writer } from "../shared/rows.ts";
import { LOG_LINEAR_THREADS, stateSizes } from "./config.ts";
import { stateParts } from "./entry.ts";
import { inputParts, partsOf } from "./inputs.ts";
import { LEVELS_CODE } from "./levels.ts";
import { PIECE_PARAMS, pieceBindings, pieceCode } from "./pieces.ts";
import type { LogLinearStepConfig } from "./step.ts";

/** Loop iterations of the baseline for a token, and beside them. */
export function naiveLogLinearIterations(
  { keyDim, levels, group }: Pick<LogLinearStepConfig, "keyDim" | "levels" | "group">,
): [number, number] {
  return [keyDim * (levels + group + 4) + group + 3, levels * (keyDim + 1) + 1];
}

/**
 * The baseline that speed-ups are measured against: the token loop with one thread for four columns of a
 * state, whose levels are walked where they are stored.
 */
export function naiveLogLinear(config: LogLinearStepConfig): Program {
  const { inputs, valueDim, group } = config;
  const reads = inputParts(config, { rows: ["v"], elements: ["q", "k", "g", "lambda"] });
  const out = writer({ name: "out", elem: inputs.q, width: valueDim });
  const stores = partsOf([out]);
  const states = stateParts(config);
  const bindings = [
    ...pieceBindings(config),
    ...reads.bindings,
    ...stores.bindings,
    ...states.bindings,
  ];
  const params = { ...PIECE_PARAMS, ...reads.params, ...stores.params, scale: "f32" } as const;
  const code = [
    constants({ ...stateSizes(config), THREADS: LOG_LINEAR_THREADS, GROUP: group }),
    declare(bindings, params),
    pieceCode(config),
    reads.code,
    stores.code,
    states.code,
    LEVELS_CODE,
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (naive)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let col = at.x;
  if col >= V4 { return; }
  let head = at.y;
  let piece = piece_at(params.piece0 + at.z);
  let row = (piece.sequence * params.heads + head) * LEVELS;
  for (var l = 0u; piece.place == 0u && l < LEVELS; l++) {
    for (var d = 0u; d < KEYS; d++) { store_state(row + l, d, 4u * col, vec4f()); }
  }
  for (var t = piece.first; t < piece.end; t++) {
    let place = piece.place + t - piece.first;
    let token = Token(place, row_v(t, head), gate_at(t, head));
    let v = load_v(row_v(t, head), col);
    var o = array<vec4f, GROUP>();
    for (var d = 0u; d < KEYS; d++) {
      let x = move_levels(token, row, d, 4u * col, element_k(row_k(t, head), d) * v);
      for (var r = 0u; r < GROUP; r++) {
        o[r] += element_q(row_q(t, head * GROUP + r), d) * x;
      }
    }
    for (var r = 0u; r < GROUP; r++) {
      store_out(t * out_heads() + head * GROUP + r, col, params.scale * o[r]);
    }
  }
}
`;
