import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type Accessor, type Elem, elementReader } from "../shared/rows.ts";
import type { SelectiveConfig } from "./config.ts";

/** What packing d and deltaBias must know when it is compiled. */
export interface PairsConfig {
  readonly skip: Elem;
  readonly deltaBias: Elem;
  readonly channels: number;
}

/** Invocations of a workgroup. */
export const PAIR_THREADS = 64;

/** Whether d and deltaBias are both there, and share a binding: ten are all that many devices have. */
export function arePaired({ inputs }: Pick<SelectiveConfig, "inputs">): boolean {
  return inputs.skip !== undefined && inputs.deltaBias !== undefined;
}

/** `element_skip(row, d)` and `element_delta_bias(row, d)` of pairs. */
export const PAIR_READER: Accessor = {
  binding: { name: "pairs", access: "read", type: "array<vec2f>" }, // [C]
  code: /* wgsl */ `
fn element_skip(row: u32, d: u32) -> f32 { return pairs[d].x; }
fn element_delta_bias(row: u32, d: u32) -> f32 { return pairs[d].y; }`,
};

/** Packs d and deltaBias, one channel an invocation. */
export function selectivePairs({ skip, deltaBias, channels }: PairsConfig): Program {
  const given = [
    elementReader({ name: "skip", elem: skip, width: channels }),
    elementReader({ name: "deltaBias", elem: deltaBias, width: channels }),
  ];
  const bindings: Binding[] = [
    ...given.map(({ binding }) => binding),
    { name: "pairs", access: "read_write", type: "array<vec2f>" },
  ];
  const params = { start: "u32", skipFirst: "u32", deltaBiasFirst: "u32" } as const;
  const code = [
    constants({ THREADS: PAIR_THREADS, CHANNELS: channels }),
    declare(bindings, params),
    ...given.map((accessor) => accessor.code),
    MAIN,
  ].join("\n");
  return { label: "selectiveScan (pairs)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let channel = params.start + at.x;
  if channel >= CHANNELS { return; }
  pairs[channel] = vec2f(element_skip(0u, channel), element_delta_bias(0u, channel));
}
`;
