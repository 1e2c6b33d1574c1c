import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type Accessor, elementReader, elementWriter } from "../shared/rows.ts";
import {
  GATE_CODE,
  RECURRENCE_PARAMS,
  type RecurrenceConfig,
  stepCode,
  stepReaders,
} from "./config.ts";
import { featureCode, taylorTerms } from "./features.ts";

/** What the baseline must know when it is compiled. */
export interface NaiveRecurrenceConfig extends Omit<RecurrenceConfig, "source"> {
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
  const { elem, keyDim, valueDim, group, gate, gateElem, valueGate, bonus, normalize } = config;
  const { initial, final, valueFirst, reverse, step, dim, featureMap, lowerBounds } = config;
  const reads = (name: string, width: number, stored = elem): Accessor =>
    elementReader({ name, elem: stored, width });
  const accessors = [
    reads("q", dim),
    reads("k", dim),
    reads("v", valueDim),
    ...(gate === "none" || gate === "forget"
      ? []
      : [reads("g", gate === "channel" ? keyDim : 1, gateElem)]),
    ...(valueGate ? [reads("gv", valueDim, valueGate)] : []),
    ...(bonus ? [reads("u", keyDim, bonus)] : []),
    ...(lowerBounds ? [reads("lowerBounds", dim, lowerBounds)] : []),
    ...(step ? stepReaders(step) : []),
    ...(step?.skip ? [reads("skip", step.skipChannels ? valueDim : 1, step.skip)] : []),
    ...(step?.outGate ? [reads("outGate", valueDim, step.outGate)] : []),
    elementWriter({ name: "out", elem, width: valueDim }),
  ];
  const storage = (name: string): Binding => ({ name, access: "read_write", type: "array<f32>" });
  const states = initial || final;
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...accessors.map(({ binding }) => binding),
    ...(states ? [storage("state")] : []),
    ...(initial && normalize ? [storage("sums")] : []),
    ...(final && normalize ? [storage("newSums")] : []),
  ];
  const firsts = accessors.map(({ binding }) => [`${binding.name}First`, "u32"] as const);
  const params = { ...RECURRENCE_PARAMS, ...Object.fromEntries(firsts) };
  const row = "t * params.heads + head";
  const keyHead = "head * params.k_heads / params.heads";
  const keyRow = `t * params.k_heads + ${keyHead}`;
  const queryRow = "t * params.q_heads + h * params.q_heads / (params.heads * GROUP)";
  const raw = `element_k(${keyRow}, d)`;
  const bound = lowerBounds ? `element_lower_bounds(${keyHead}, d)` : "params.lower_bound";
  const gates = {
    none: "1.0",
    head: "decay_of(element_g(head, 0u))",
    token: `decay_of(element_g(${row}, 0u))`,
    channel: `decay_of(element_g(${row}, d))`,
    step: "decay_of_step(step, head)",
    forget: `${bound} + (1.0 - ${bound}) * sigmoid(${raw})`,
  };
  const place = valueFirst
    ? "(state_row * VALUES + e) * KEYS + d"
    : "(state_row * KEYS + d) * VALUES + e";
  const key = gate === "forget"
    ? `((1.0 - ${bound}) * sigmoid(-${raw}))`
    : `feature_k(${keyRow}, d)`;
  const own = bonus ? `element_u(u_row, d) * ${key}` : "0.0";
  const write = `
    for (var d = 0u; d < KEYS; d++) {
      let k = step * ${key};
      let decay = ${gates[gate]};
      s[d] = decay * s[d]${valueGate ? ` * decay_of(element_gv(${row}, e))` : ""} + k * v;
      z[d] = decay * z[d] + k;
    }`;
  const read = `
    for (var r = 0u; r < GROUP; r++) {
      let h = head * GROUP + r;
      var o = 0.0;
      var norm = 0.0;
      for (var d = 0u; d < KEYS; d++) {
        let q = feature_q(${queryRow}, d);
        let own = ${own};
        o += q * (s[d] + own * v);
        norm += q * (z[d] + own);
      }
      let divisor = ${normalize ? "params.scale * norm + params.eps" : "1.0"};
      var y = params.scale * o / divisor;
      ${step?.skip ? `y += element_skip(head, ${step.skipChannels ? "e" : "0u"}) * v;` : ""}
      ${step?.outGate ? `let z = element_out_gate(${row}, e); y *= z * sigmoid(z);` : ""}
      put_out(t * params.heads * GROUP + h, e, y);
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
  let u_row = head * params.bonus_heads / params.heads;
  var s = array<f32, KEYS>();
  var z = array<f32, KEYS>();
  ${initial ? load : ""}
  for (var i = segment.x; i < segment.y; i++) {
    let t = ${reverse ? "segment.x + segment.y - 1u - i" : "i"};
    let v = element_v(${row}, e);
    let step = ${step ? `step_of(element_g(${row}, 0u), head)` : "1.0"};
    ${bonus ? read + write : write + read}
  }
  ${final ? store : ""}
}
`;
  const code = [
    constants({ THREADS: NAIVE_THREADS, KEYS: keyDim, VALUES: valueDim, GROUP: group }),
    declare(bindings, params),
    ...accessors.map((accessor) => accessor.code),
    GATE_CODE,
    featureCode(featureMap),
    ...["q", "k"].map((name) => rowFeatures(config, name)),
    stepCode(step),
    main,
  ].join("\n");
  return { label: "recurrence (naive)", code, bindings, params, subgroups: false };
}

/** `feature_<name>(row, d)`: the d-th feature of a row of q or k. */
function rowFeatures({ featureMap, dim }: NaiveRecurrenceConfig, name: string): string {
  const head = `fn feature_${name}(row: u32, d: u32) -> f32 {`;
  if (featureMap !== "taylor2") return `${head} return feature(element_${name}(row, d)); }`;
  const terms = taylorTerms(dim).map(({ i, j, square }) => `vec3u(${i}u, ${j}u, ${+square}u)`);
  return /* wgsl */ `
/// Channels of which feature d is the product; number ${dim} is the constant 1.
var<private> terms_${name}: array<vec3u, KEYS> = array<vec3u, KEYS>(${terms.join(", ")});
fn channel_${name}(row: u32, i: u32) -> f32 {
  if i == ${dim}u { return 1.0; }
  return params.feature_scale * element_${name}(row, i);
}
${head}
  let term = terms_${name}[d];
  let x = channel_${name}(row, term.x) * channel_${name}(row, term.y);
  return select(x, INV_SQRT2 * x, term.z == 1u);
}`;
}
