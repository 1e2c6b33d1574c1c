import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { type Elem, type InputSource, reader, writer } from "../shared/rows.ts";

/** What an append must know when it is compiled. */
export interface AppendConfig {
  /** Storage of the cache and of what is appended. */
  readonly elem: Elem;
  /** D or Dv. */
  readonly width: number;
  /** Whether tokens are in pages that a table names; else in rows of their batch entry. */
  readonly paged: boolean;
  /** Whether tokens beyond the capacity take the place of the oldest but the sinks. */
  readonly ring: boolean;
  /** Where what is appended is read. */
  readonly source: InputSource;
}

/** Invocations of a workgroup, in all kernels of caches. */
export const CACHE_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch
  end: "u32",
  tokens: "u32", // T
  heads: "u32", // Hkv
  capacity: "u32", // tokens of a batch entry
  sinks: "u32", // tokens that stay
  pageSize: "u32",
  pages: "u32",
  givenFirst: "u32", // first row of each bound range
  cacheFirst: "u32",
};

/** Writes tokens behind those of a cache, an invocation for each four channels of a row. */
export function appendTokens({ elem, width, paged, ring, source }: AppendConfig): Program {
  const given = reader({ name: "given", elem, width }, source); // [B, T, Hkv, D]
  const cache = writer({ name: "cache", elem, width });
  const bindings: Binding[] = [
    ...[given.binding, cache.binding],
    { name: "lengths", access: "read", type: "array<i32>" }, // [B]
    ...(paged ? [{ name: "table", access: "read", type: "array<u32>" } as const] : []), // [B, M]
  ];
  const code = [
    constants({ THREADS: CACHE_THREADS, D4: Math.ceil(width / 4), RING: ring }),
    declare(bindings, PARAMS),
    given.code,
    cache.code,
    paged ? PAGES : ROWS,
    MAIN,
  ].join("\n");
  return { label: "append to a cache", code, bindings, params: PARAMS, subgroups: false };
}

const ROWS = /* wgsl */ `
fn slot_of(b: u32, place: u32) -> u32 { return b * params.capacity + place; }`;

const PAGES = /* wgsl */ `
fn slot_of(b: u32, place: u32) -> u32 {
  let page = table[b * (params.capacity / params.page_size) + place / params.page_size];
  return min(page, params.pages - 1u) * params.page_size + place % params.page_size;
}`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let c = id % D4;
  let row = id / D4; // of what is given
  let head = row % params.heads;
  let t = row / params.heads % params.tokens;
  let b = row / params.heads / params.tokens;
  let n = u32(max(lengths[b], 0)) + t; // tokens before this one
  var place = n;
  if RING && n >= params.capacity {
    let ring = params.capacity - params.sinks;
    if params.tokens - t > ring { return; } // a later token takes the place
    place = params.sinks + (n - params.sinks) % ring;
  }
  if place >= params.capacity { return; }
  store_cache(slot_of(b, place) * params.heads + head, c, load_given(row, c));
}
`;
