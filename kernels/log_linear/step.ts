import { constants, declare, type Program } from "../../gpu/program.ts";
import { elementWriter } from "../shared/rows.ts";
import { type LogLinearStateConfig, stateSizes } from "./config.ts";
import { stateParts } from "./entry.ts";
import { inputParts, partsOf } from "./inputs.ts";
import { LEVELS_CODE } from "./levels.ts";
import { PIECE_PARAMS, pieceBindings, pieceCode } from "./pieces.ts";

/** What a step must know when it is compiled. */
export interface LogLinearStepConfig extends LogLinearStateConfig {
  /** Outputs that read one state. */
  readonly group: number;
}

/** vec4 columns of a workgroup. */
const COLUMNS = 8;

/** Value channels of a workgroup. */
export const LOG_LINEAR_STEP_COLUMNS: number = 4 * COLUMNS;

/** Invocations of a column, each with every so-many-th row of the state. */
const SLICES = 8;

/** Bytes of workgroup memory. */
export function logLinearStepBytes({ group }: Pick<LogLinearStepConfig, "group">): number {
  return 16 * group * COLUMNS * SLICES;
}

/**
 * One token of each sequence, in place: the levels that hold tokens stream through once.
 *
 * A workgroup has 32 columns of a state head; each element of a level is read, merged or decayed, and
 * written by the one invocation that owns it.
 */
export function logLinearStep(config: LogLinearStepConfig): Program {
  const { inputs, valueDim, group } = config;
  const reads = inputParts(config, { rows: ["v"], elements: ["q", "k", "g", "lambda"] });
  const out = elementWriter({ name: "out", elem: inputs.q, width: valueDim });
  const stores = partsOf([out]);
  const states = stateParts(config);
  const bindings = [
    ...pieceBindings(config),
    ...reads.bindings,
    ...stores.bindings,
    ...states.bindings,
  ];
  const params = { ...PIECE_PARAMS, ...reads.params, ...stores.params, ...STEP_PARAMS } as const;
  const sizes = { COLUMNS, SLICES, THREADS: COLUMNS * SLICES, GROUP: group };
  const code = [
    constants({ ...stateSizes(config), ...sizes }),
    declare(bindings, params),
    pieceCode(config),
    reads.code,
    stores.code,
    states.code,
    LEVELS_CODE,
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (step)", code, bindings, params, subgroups: false };
}

const STEP_PARAMS = { token: "u32", scale: "f32" } as const; // which of a piece

const MAIN = /* wgsl */ `
var<workgroup> shares: array<vec4f, GROUP * THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let piece = piece_at(params.piece0 + tile.z);
  let head = tile.y;
  let t = piece.first + params.token;
  let token = Token(piece.place + params.token, row_v(t, head), gate_at(t, head));
  let row = (piece.sequence * params.heads + head) * LEVELS;
  let col = tile.x * COLUMNS + lane % COLUMNS;
  let v = load_v(row_v(t, head), min(col, V4 - 1u));
  var o = array<vec4f, GROUP>();
  for (var d = lane / COLUMNS; d < KEYS; d += SLICES) {
    if col >= V4 { break; }
    let x = move_levels(token, row, d, 4u * col, element_k(row_k(t, head), d) * v);
    for (var r = 0u; r < GROUP; r++) {
      o[r] = fma(vec4f(element_q(row_q(t, head * GROUP + r), d)), x, o[r]);
    }
  }
  for (var r = 0u; r < GROUP; r++) { shares[r * THREADS + lane] = o[r]; }
  workgroupBarrier();

  if lane >= COLUMNS { return; }
  for (var r = 0u; r < GROUP; r++) {
    var sum = vec4f();
    for (var i = lane; i < THREADS; i += COLUMNS) { sum += shares[r * THREADS + i]; }
    for (var x = 0u; x < 4u; x++) {
      put_out(t * out_heads() + head * GROUP + r, 4u * col + x, params.scale * sum[x]);
    }
  }
}
`;
