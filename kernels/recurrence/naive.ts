import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type ChannelConfig, channels } from "./channels.ts";
import { divisorOf, type Erase } from "./config.ts";

/** What the baseline must know when it is compiled. */
export interface NaiveRecurrenceConfig extends ChannelConfig {
  readonly initial: boolean;
  readonly final: boolean;
}

/** Invocations of a workgroup. */
export const NAIVE_THREADS = 64;

/**
 * The baseline that speed-ups are measured against: the token loop with one thread for each column of
 * the state, which is a private array walked by loops; scalar loads, nothing shared.
 */
export function naiveRecurrence(config: NaiveRecurrenceConfig): Program {
  const { keyDim, valueDim, group, inputs, normalize, initial, final, valueFirst, erase } = config;
  const reads = channels(config);
  const storage = (name: string): Binding => ({ name, access: "read_write", type: "array<f32>" });
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...reads.bindings,
    ...(initial || final ? [storage("state")] : []),
    ...(initial && normalize ? [storage("sums")] : []),
    ...(final && normalize ? [storage("newSums")] : []),
  ];
  const place = valueFirst
    ? "(state_row * VALUES + e) * KEYS + d"
    : "(state_row * KEYS + d) * VALUES + e";
  const divisor = divisorOf(config, { norm: "norm", token: "t" });
  const write = `
    for (var d = 0u; d < KEYS; d++) {
      let k = key_at(t, head, d, step);
      var decay = 1.0;
      if decays_now { decay = decay_at(t, head, d, step); }
      s[d] = decay * s[d] * value_decay_at(t, head, e) + k * v;
      z[d] = decay * z[d] + k;
    }`;
  const read = `
    for (var r = 0u; r < select(0u, GROUP, read_now); r++) {
      let query_scale = query_norm(t, head * GROUP + r);
      var o = 0.0;
      var norm = 0.0;
      for (var d = 0u; d < KEYS; d++) {
        let q = query_scale * query_at(t, head * GROUP + r, d);
        let own = ${inputs.u ? "bonus_at(head, d) * key_at(t, head, d, step)" : "0.0"};
        o += q * (s[d] + own * v);
        norm += q * (z[d] + own);
      }
      let divisor = ${normalize ? divisor : "1.0"};
      finish(t, head, r, e, params.scale * o / divisor, v);
    }`;
  const load = `for (var d = 0u; d < KEYS; d++) {
    s[d] = state[${place}];
    ${normalize ? "z[d] = sums[state_row * KEYS + d];" : ""}
  }`;
  const store = `for (var d = 0u; d < KEYS; d++) {
    state[${place}] = s[d];
    ${normalize ? "if e == 0u { new_sums[state_row * KEYS + d] = z[d]; }" : ""}
  }`;
  const main = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let e = at.x;
  if e >= VALUES { return; }
  let head = at.y;
  let segment = segments[params.segment0 + at.z];
  let state_row = segment.z * params.heads + head;
  var s = array<f32, KEYS>();
  var z = array<f32, KEYS>();
  ${initial ? load : ""}
  for (var i = segment.x; i < segment.y; i++) {
    let t = ${config.reverse ? "segment.x + segment.y - 1u - i" : "i"};
    let decays_now = (i - segment.x) % SUBSTEPS == 0u;
    let read_now = (i - segment.x) % SUBSTEPS == SUBSTEPS - 1u;
    var v = value_at(t, head, e);
    let step = step_at(t, head);
    ${erase === "none" ? (inputs.u ? read + write : write + read) : erased(erase) + read}
  }
  ${final ? store : ""}
}
`;
  const sizes = {
    THREADS: NAIVE_THREADS,
    KEYS: keyDim,
    VALUES: valueDim,
    GROUP: group,
    SUBSTEPS: config.substeps,
  };
  const code = [constants(sizes), declare(bindings, reads.params), reads.code, main].join("\n");
  return { label: "recurrence (naive)", code, bindings, params: reads.params, subgroups: false };
}

/** w = p S behind or before the decay, then the write. */
function erased(erase: Erase): string {
  const [before, after] = erase === "late" ? ["", "s[d]"] : ["s[d]", ""];
  return `
    var w = 0.0;
    for (var d = 0u; d < KEYS; d++) {
      ${before && "w += erase_at(t, head, d, step) * s[d];"}
      if decays_now { s[d] *= decay_at(t, head, d, step); }
      ${after && "w += erase_at(t, head, d, step) * s[d];"}
    }
    ${erase === "pair" ? "" : "v = beta_at(t, head) * (v - w);"}
    for (var d = 0u; d < KEYS; d++) {
      s[d] += key_at(t, head, d, step) * v${erase === "pair" ? " + erased_at(t, head, d) * w" : ""};
    }`;
}
