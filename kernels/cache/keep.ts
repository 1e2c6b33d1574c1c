import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, reader, writer } from "../shared/rows.ts";
import { CACHE_THREADS } from "./append.ts";

/** What a pass of a compaction must know when it is compiled. */
export interface KeepConfig {
  /** Storage of the cache. */
  readonly elem: Elem;
  /** D or Dv. */
  readonly width: number;
  /** Whether kept rows are gathered from the cache; else put back to its front. */
  readonly pass: "gather" | "put";
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch
  end: "u32",
  kept: "u32", // M
  heads: "u32", // Hkv
  capacity: "u32", // tokens of a batch entry
  indexHeads: "u32", // lists of a batch entry, and kv heads of each
  indexGroup: "u32",
  givenFirst: "u32", // first row of each bound range
  movedFirst: "u32",
};

/** Moves the rows that are kept, an invocation for each four channels of one. */
export function keepTokens({ elem, width, pass }: KeepConfig): Program {
  const given = reader({ name: "given", elem, width }, "buffer");
  const moved = writer({ name: "moved", elem, width });
  const gather = pass === "gather";
  const bindings: Binding[] = [
    ...[given.binding, moved.binding],
    ...(gather ? [{ name: "indices", access: "read", type: "array<u32>" } as const] : []), // [B, H, M]
  ];
  const code = [
    constants({ THREADS: CACHE_THREADS, D4: Math.ceil(width / 4) }),
    declare(bindings, PARAMS),
    given.code,
    moved.code,
    gather ? GATHER : PUT,
    MAIN,
  ].join("\n");
  return { label: `compact a cache (${pass})`, code, bindings, params: PARAMS, subgroups: false };
}

const GATHER = /* wgsl */ `
fn move_row(b: u32, m: u32, head: u32, row: u32, c: u32) {
  let list = (b * params.index_heads + head / params.index_group) * params.kept;
  let token = min(indices[list + m], params.capacity - 1u);
  store_moved(row, c, load_given((b * params.capacity + token) * params.heads + head, c));
}`;

const PUT = /* wgsl */ `
fn move_row(b: u32, m: u32, head: u32, row: u32, c: u32) {
  store_moved((b * params.capacity + m) * params.heads + head, c, load_given(row, c));
}`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let row = id / D4; // of those that are kept, [B, M, Hkv]
  let head = row % params.heads;
  let m = row / params.heads % params.kept;
  move_row(row / params.heads / params.kept, m, head, row, id % D4);
}
`;
