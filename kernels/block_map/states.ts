import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { hooksCode, type HooksConfig } from "../attention/hooks.ts";
import { HOOK_FUNCTIONS } from "../hooks/functions.ts";

/** What the states of blocks must know when they are compiled. */
export interface BlockStatesConfig {
  /** Masks, and what they read. */
  readonly hooks: HooksConfig;
  /** Tokens of a block of queries. */
  readonly queryBlock: number;
  /** Tokens of a block of keys. */
  readonly keyBlock: number;
}

/** Invocations of a workgroup, in all kernels of block maps. */
export const MAP_THREADS = 64;

/** States of a block. */
export const BLOCK_STATES = { EMPTY: 0, SOME: 1, FULL: 2 } as const;

const PARAMS: Readonly<Record<string, ParamType>> = {
  qLen: "u32",
  kvLen: "u32",
  heads: "u32", // of the map
  row0: "u32", // first batch entry and head of this launch, counted together
  queryBlocks: "u32",
  keyBlocks: "u32",
};

/** Whether a mask leaves none, some or all pairs of a block, a workgroup for each block. */
export function blockStates({ hooks, queryBlock, keyBlock }: BlockStatesConfig): Program {
  const own = hooksCode(hooks);
  const bindings: Binding[] = [
    ...own.bindings,
    { name: "states", access: "read_write", type: "array<u32>" }, // [B|1, Hq|1, query blocks, key blocks]
  ];
  const params = { ...PARAMS, ...own.params };
  const code = [
    constants({ THREADS: MAP_THREADS, QUERY_BLOCK: queryBlock, KEY_BLOCK: keyBlock }),
    constants(BLOCK_STATES),
    declare(bindings, params),
    HOOK_FUNCTIONS,
    own.code,
    MAIN,
  ].join("\n");
  return { label: "block map (states)", code, bindings, params, subgroups: false };
}

const MAIN = /* wgsl */ `
var<workgroup> seen: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = params.row0 + at.z;
  let b = i32(row / params.heads);
  let h = i32(row % params.heads);
  let q_first = at.y * QUERY_BLOCK;
  let k_first = at.x * KEY_BLOCK;
  var count = 0u;
  for (var n = thread; n < QUERY_BLOCK * KEY_BLOCK; n += THREADS) {
    let i = q_first + n / KEY_BLOCK;
    let j = k_first + n % KEY_BLOCK;
    if i < params.q_len && j < params.kv_len && hook_mask(b, h, i32(i), i32(j)) { count++; }
  }
  atomicAdd(&seen, count);
  workgroupBarrier();
  if thread == 0u {
    let all = min(QUERY_BLOCK, params.q_len - q_first) * min(KEY_BLOCK, params.kv_len - k_first);
    let found = atomicLoad(&seen);
    let state = select(select(SOME, FULL, found == all), EMPTY, found == 0u);
    states[(row * params.query_blocks + at.y) * params.key_blocks + at.x] = state;
  }
}
`;
