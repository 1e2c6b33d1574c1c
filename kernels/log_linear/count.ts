import { constants, declare, type Program } from "../../gpu/program.ts";
import { LOG_LINEAR_THREADS, type LogLinearConfig } from "./config.ts";
import { storage } from "./inputs.ts";

const PARAMS = { start: "u32", end: "u32" } as const;

/** Counts the tokens of each sequence, from what was counted before where it is resumed. */
export function logLinearCount({ resumed }: Pick<LogLinearConfig, "resumed">): Program {
  const bindings = [
    storage("pieces", "vec4u", "read"), // one for each sequence
    storage("counts", "i32", "read_write"),
  ];
  const code = [
    constants({ THREADS: LOG_LINEAR_THREADS, RESUMED: resumed }),
    declare(bindings, PARAMS),
    MAIN,
  ].join("\n");
  return { label: "logLinearAttention (count)", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let n = params.start + at.x;
  if n >= params.end { return; }
  let piece = pieces[2u * n];
  counts[n] = select(0, counts[n], RESUMED) + i32(piece.y - piece.x);
}
`;
