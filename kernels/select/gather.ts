import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, type InputSource, reader, writer } from "../shared/rows.ts";

/** What gathering must know when it is compiled. */
export interface GatherConfig {
  /** Storage of x and out. */
  readonly elem: Elem;
  /** D. */
  readonly dim: number;
  /** Whether heads have indices of their own. */
  readonly byHead: boolean;
  /** Where x is read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup. */
export const GATHER_THREADS = 128;

/**
 * Copies the tokens that indices name, an invocation for each head and four channels: neighbours copy
 * neighbours. An index that names no token leaves 0.
 */
export function gatherRows({ elem, dim, byHead, source }: GatherConfig): Program {
  const x = reader({ name: "x", elem, width: dim }, source);
  const out = writer({ name: "out", elem, width: dim, infinite: true });
  const bindings: Binding[] = [
    x.binding,
    { name: "indices", access: "read", type: "array<i32>" }, // [B, M] or [B, M, H]
    out.binding,
  ];
  const params: Readonly<Record<string, ParamType>> = {
    start: "u32", // first invocation of this launch: out's rows and columns, counted together
    end: "u32",
    heads: "u32",
    length: "u32", // tokens of x
    places: "u32", // tokens of out
    indicesFirst: "u32", // first rows that are bound
    xFirst: "u32",
    outFirst: "u32",
  };
  const code = [
    constants({ THREADS: GATHER_THREADS, C4: Math.ceil(dim / 4), BY_HEAD: byHead }),
    declare(bindings, params),
    x.code,
    out.code,
    COPY,
  ].join("\n");
  return { label: "gathering", code, bindings, params, subgroups: false };
}

const COPY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let c = id % C4;
  let row = id / C4;
  let h = row % params.heads;
  let token = row / params.heads; // of all batch entries
  let index = indices[select(token, row, BY_HEAD) - params.indices_first];
  var found = vec4f();
  if index >= 0 && u32(index) < params.length {
    let b = token / params.places;
    found = load_x((b * params.length + u32(index)) * params.heads + h, c);
  }
  store_out(row, c, found);
}
`;
