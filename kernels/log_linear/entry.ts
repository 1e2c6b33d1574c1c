import { constants, declare, type Program } from "../../gpu/program.ts";
import { storesOf } from "../recurrence/states.ts";
import {
  LOG_LINEAR_THREADS,
  type LogLinearChunkConfig,
  type LogLinearStateConfig,
  stateSizes,
} from "./config.ts";
import {
  BLOCK_PARAMS,
  blocks,
  chunkSizes,
  PIECE_PARAMS,
  pieceBindings,
  pieceCode,
} from "./pieces.ts";

/** What kernels that begin or end with states must know when they are compiled. */
export interface LogLinearEntryConfig extends LogLinearChunkConfig, LogLinearStateConfig {}

/** States `[N, HV, L, K, V]`, or with V before K, as rows of four values. */
export function stateParts(
  { valueDim, valueFirst }: Pick<LogLinearStateConfig, "valueDim" | "valueFirst">,
): ReturnType<typeof storesOf> {
  const plain = { gate: "none", inputs: {}, normalize: false, decays: false } as const;
  return storesOf({ ...plain, valueDim, valueFirst, initial: true, final: true });
}

/** Makes blocks of the levels that pieces find, merged for their first token; four values an invocation. */
export function logLinearEntry(config: LogLinearEntryConfig): Program {
  const states = stateParts(config);
  const bindings = [...pieceBindings(config), ...states.bindings, blocks("read_write")];
  const params = { ...PIECE_PARAMS, ...BLOCK_PARAMS, heads: "u32" } as const;
  const code = [
    constants({ THREADS: LOG_LINEAR_THREADS, ...stateSizes(config), ...chunkSizes(config) }),
    declare(bindings, params),
    pieceCode(config),
    states.code,
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (entry)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x >= KEYS * V4 { return; }
  let d = at.x / V4;
  let e = 4u * (at.x % V4);
  let piece = piece_at(params.piece0 + at.z);
  if piece.place == 0u { return; } // finds nothing
  let row = (piece.sequence * params.heads + at.y) * LEVELS;
  let target_level = min(1u + countTrailingZeros(piece.place), LEVELS - 1u);
  var merged = vec4f();
  for (var l = 0u; l < LEVELS; l++) {
    var s = load_state(row + l, d, e);
    if l <= target_level { merged += s; s = vec4f(); }
    if l == target_level { s = merged; }
    let block = ((piece.number * params.heads + at.y) * LEVELS + l) * STRIDE;
    blocks[block + at.x] = s;
    if at.x == 0u { blocks[block + SPAN] = vec4f(1.0); }
  }
}
`;
