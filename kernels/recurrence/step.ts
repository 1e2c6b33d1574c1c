import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type ChannelConfig, channels } from "./channels.ts";
import type { Erase } from "./config.ts";
import { storesOf } from "./states.ts";

/** What a step must know when it is compiled. */
export interface StepKernelConfig extends ChannelConfig {
  readonly initial: boolean;
  readonly final: boolean;
}

/** vec4 columns of a workgroup. */
const COLUMNS = 8;

/** Value channels of a workgroup. */
export const STEP_COLUMNS: number = 4 * COLUMNS;

/** Invocations of a column, each with every so-many-th row of the state. */
const SLICES = 8;

/** Bytes of workgroup memory. */
export function stepBytes({ keyDim, group }: Pick<StepKernelConfig, "keyDim" | "group">): number {
  return 4 * (4 * keyDim + group * (2 * keyDim + STEP_COLUMNS * SLICES));
}

/**
 * One token of each sequence: the state streams through, each element read, changed and written once by
 * the one invocation that owns it, in registers for no longer than that.
 *
 * A workgroup has 32 columns of the state of a head. Its invocations first compute the token's key,
 * decays and queries, a channel each, into workgroup memory.
 */
export function recurrenceStep(config: StepKernelConfig): Program {
  const { keyDim, valueDim, group, inputs, normalize, initial, erase } = config;
  const reads = channels(config);
  const states = storesOf({ ...config, decays: false });
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...reads.bindings,
    ...states.bindings,
  ];
  const sizes = {
    PAIR: erase === "pair",
    ...{ COLUMNS, SLICES, THREADS: COLUMNS * SLICES },
    KEYS: keyDim,
    VALUES: valueDim,
    GROUP: group,
    SUBSTEPS: 1,
  };
  const old = initial ? "load_state(state_row, d, e)" : "vec4f()";
  const main = /* wgsl */ `
var<workgroup> key: array<f32, KEYS>;
var<workgroup> decay: array<f32, KEYS>;
var<workgroup> eraser: array<f32, ${erase === "none" ? 1 : "KEYS"}>;
var<workgroup> erased: array<f32, ${erase === "pair" ? "KEYS" : 1}>;
var<workgroup> query: array<f32, GROUP * KEYS>;
var<workgroup> norm_terms: array<f32, GROUP * KEYS>;
var<workgroup> shares: array<vec4f, GROUP * THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let there = segment.x < segment.y; // an empty sequence hands its state on
  let t = segment.x;
  let head = tile.y;
  let state_row = segment.z * params.heads + head;
  var step = 1.0;
  if there { step = step_at(t, head); }
  var query_norms = array<f32, GROUP>();
  for (var r = 0u; r < GROUP; r++) {
    if there { query_norms[r] = query_norm(t, head * GROUP + r); }
  }
  for (var d = lane; d < KEYS; d += THREADS) {
    var k = 0.0;
    var kept = 1.0;
    if there {
      k = key_at(t, head, d, step);
      kept = decay_at(t, head, d, step);
    }
    key[d] = k;
    decay[d] = kept;
    ${erase === "none" ? "" : ERASERS}
    let old = get_sums(state_row * KEYS + d);
    let new_sum = kept * old + k;
    if tile.x == 0u { put_new_sums(state_row * KEYS + d, new_sum); }
    for (var r = 0u; r < GROUP; r++) {
      var q = 0.0;
      if there { q = query_norms[r] * query_at(t, head * GROUP + r, d); }
      query[r * KEYS + d] = q;
      norm_terms[r * KEYS + d] = q * ${inputs.u ? "(old + bonus_at(head, d) * k)" : "new_sum"};
    }
  }
  workgroupBarrier();

  let e = 4u * (tile.x * COLUMNS + lane % COLUMNS);
  var v = vec4f();
  var value_decay = vec4f(1.0);
  for (var x = 0u; x < 4u; x++) {
    if there && e + x < VALUES {
      v[x] = value_at(t, head, e + x);
      value_decay[x] = value_decay_at(t, head, e + x);
    }
  }
  ${erase === "none" ? "" : erasedSum(erase, old)}
  var o = array<vec4f, GROUP>();
  for (var d = lane / COLUMNS; d < KEYS; d += SLICES) {
    let s = ${old};
    let write = key[d] * v${erase === "pair" ? " + erased[d] * w" : ""};
    let new_s = decay[d] * s * value_decay + write;
    store_state(state_row, d, e, new_s);
    let read = ${inputs.u ? "s + bonus_at(head, d) * write" : "new_s"};
    for (var r = 0u; r < GROUP; r++) { o[r] += query[r * KEYS + d] * read; }
  }
  for (var r = 0u; r < GROUP; r++) { shares[r * THREADS + lane] = o[r]; }
  workgroupBarrier();

  if lane >= COLUMNS || !there { return; }
  for (var r = 0u; r < GROUP; r++) {
    var sum = vec4f();
    for (var i = lane; i < THREADS; i += COLUMNS) { sum += shares[r * THREADS + i]; }
    var factor = params.scale;
    ${normalize ? NORMALIZE : ""}
    for (var x = 0u; x < 4u; x++) {
      if e + x < VALUES { finish(t, head, r, e + x, factor * sum[x], v[x]); }
    }
  }
}
`;
  const code = [constants(sizes), declare(bindings, reads.params), reads.code, states.code, main]
    .join("\n");
  return { label: "recurrence (step)", code, bindings, params: reads.params, subgroups: false };
}

const NORMALIZE = /* wgsl */ `
    var norm = 0.0;
    for (var d = 0u; d < KEYS; d++) { norm += norm_terms[r * KEYS + d]; }
    factor /= params.scale * norm + params.eps;`;

const ERASERS = /* wgsl */ `
    eraser[d] = 0.0;
    if there { eraser[d] = erase_at(t, head, d, step); }
    if PAIR && there { erased[d] = erased_at(t, head, d); }`;

/** w = p S of the own columns: the shares of all rows, added up by each invocation. */
function erasedSum(erase: Erase, old: string): string {
  return /* wgsl */ `
  var share = vec4f();
  for (var d = lane / COLUMNS; d < KEYS; d += SLICES) {
    share += eraser[d] * ${erase === "late" ? "decay[d] * " : ""}${old};
  }
  shares[lane] = share;
  workgroupBarrier();
  var w = vec4f();
  for (var i = lane % COLUMNS; i < THREADS; i += COLUMNS) { w += shares[i]; }
  workgroupBarrier();
  ${erase === "pair" ? "" : "if there { v = beta_at(t, head) * (v - w); }"}`;
}
