import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { elementReader, elementWriter } from "../shared/rows.ts";
import {
  FAST_NAMES,
  FAST_PARAMS,
  type FastConfig,
  fastWidth,
  ROW_CODE,
  type Rule,
} from "./config.ts";
import { fastStates } from "./states.ts";
import { missingRates } from "./walk.ts";

/** Invocations of a workgroup: a layer norm couples all columns. */
export function naiveFastThreads(
  { rule, valueDim }: Pick<FastConfig, "rule" | "valueDim">,
): number {
  return rule === "ttt" ? valueDim : 64;
}

/** Loop iterations of the baseline for a token, and for states in and out. */
export function naiveFastIterations(
  { rule, keyDim, valueDim, group }: Pick<FastConfig, "rule" | "keyDim" | "valueDim" | "group">,
): { readonly token: number; readonly states: number } {
  const sums = rule === "ttt" ? (4 + 2 * group) * (valueDim + 1) : 0;
  return { token: (3 + group) * (keyDim + 2) + 2 + sums, states: 6 * (keyDim + 1) };
}

/**
 * The baseline that speed-ups are measured against: the token loop with one thread for each column of
 * the matrices, which are private arrays walked by loops; scalar loads, nothing shared but the sums of a
 * layer norm.
 */
export function naiveFastWeights(config: FastConfig): Program {
  const { rule, inputs, elem, keyDim, valueDim, group, initial, final, parted } = config;
  const accessors = [
    ...FAST_NAMES.flatMap((name) => {
      const stored = inputs[name];
      return stored ? [elementReader({ name, elem: stored, width: fastWidth(name, config) })] : [];
    }),
    elementWriter({ name: "out", elem, width: valueDim }),
  ];
  const states = fastStates(config, true);
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...accessors.map(({ binding }) => binding),
    ...states.bindings,
  ];
  const params: Record<string, ParamType> = {
    ...FAST_PARAMS,
    ...Object.fromEntries(accessors.map(({ binding: { name } }) => [`${name}First`, "u32"])),
  };
  const sizes = { KEYS: keyDim, VALUES: valueDim, GROUP: group };
  const code = [
    constants({ ...sizes, THREADS: naiveFastThreads(config) }),
    constants({ INITIAL: initial, FINAL: final, PARTED: parted }),
    declare(bindings, params),
    ROW_CODE,
    ...accessors.map((accessor) => accessor.code),
    ...missingRates(inputs),
    states.code,
    naiveMain(rule),
  ].join("\n");
  return { label: `fastWeights (${rule}, naive)`, code, bindings, params, subgroups: false };
}

function naiveMain(rule: Rule): string {
  const { functions, entry, token, finish, exit } = NAIVE_RULES[rule];
  return /* wgsl */ `
${functions}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let head = tile.y;
  let row = segment.z * params.heads + head;
  let e = tile.x * THREADS + lane;
  let own = min(e, VALUES - 1u);
  var w = array<f32, KEYS>();
  var a = array<f32, KEYS>();
  var met = met_before(segment); // tokens of the mini-batch
  ${entry}
  for (var t = segment.x; t < segment.y; t++) {
    met++;
    let full = met == params.mini_batch;
    let ends = full || (t + 1u == segment.y && !goes_on(segment));
    let eta = element_eta(row_v(t, head), 0u);
    ${token}
    if full { met = 0u; }
  }
  if e >= VALUES { return; }
  for (var d = 0u; d < select(0u, KEYS, FINAL); d++) { put_weights(row, d, e, w[d]); }
  if PARTED && goes_on(segment) { ${finish} }
  ${exit}
}
`;
}

const NAIVE_TTT = {
  functions: /* wgsl */ `
var<workgroup> terms: array<f32, VALUES>;

/// The sum of the terms of all columns.
fn sum_of(lane: u32, x: f32) -> f32 {
  workgroupBarrier();
  terms[lane] = x;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < VALUES; i++) { sum += terms[i]; }
  return sum;
}

/// x less the mean, and 1 / deviation.
fn standard_of(lane: u32, x: f32) -> vec2f {
  let centred = x - sum_of(lane, x) / f32(VALUES);
  let variance = sum_of(lane, centred * centred) / f32(VALUES);
  return vec2f(centred, inverseSqrt(variance + params.eps));
}`,
  entry: /* wgsl */ `
  let norm_weight = element_norm_weights(head, e);
  let norm_bias = element_norm_bias(head, e);
  var c = 0.0;
  var sum_g = 0.0;
  for (var d = 0u; d < select(0u, KEYS, INITIAL); d++) { w[d] = get_weights(row, d, e); }
  if INITIAL { c = get_bias(row, 0u, e); }
  if PARTED && met > 0u {
    for (var d = 0u; d < KEYS; d++) { a[d] = get_pending(row, d, e); }
    sum_g = get_pending(row, KEYS, e);
  }`,
  token: /* wgsl */ `
    var z = c;
    for (var d = 0u; d < KEYS; d++) { z += element_k(row_k(t, head), d) * w[d]; }
    let standard = standard_of(lane, z);
    let hat = standard.x * standard.y;
    let aim = element_v(row_v(t, head), e) - element_k(row_k(t, head), e);
    let inner = (hat * norm_weight + norm_bias - aim) * norm_weight;
    let mean = sum_of(lane, inner) / f32(VALUES);
    let g = (inner - mean - hat * sum_of(lane, inner * hat) / f32(VALUES)) * standard.y;
    for (var d = 0u; d < KEYS; d++) { a[d] += element_k(row_k(t, head), d) * g; }
    sum_g += g;
    for (var r = 0u; r < GROUP; r++) {
      var read = 0.0;
      for (var d = 0u; d < KEYS; d++) {
        read += element_q(row_q(t, head, r), d) * (w[d] - eta * a[d]);
      }
      let o = params.scale * read + c - eta * sum_g;
      let of_o = standard_of(lane, o);
      put_out(row_v(t, head) * GROUP + r, e, o + of_o.x * of_o.y * norm_weight + norm_bias);
    }
    if ends {
      for (var d = 0u; d < KEYS; d++) {
        w[d] -= eta * a[d];
        a[d] = 0.0;
      }
      c -= eta * sum_g;
      sum_g = 0.0;
    }`,
  finish: /* wgsl */ `
    for (var d = 0u; d < KEYS; d++) { put_pending(row, d, e, a[d]); }
    put_pending(row, KEYS, e, sum_g);`,
  exit: "if FINAL { put_bias(row, 0u, e, c); }",
};

const NAIVE_TITANS = {
  functions: "",
  entry: /* wgsl */ `
  var h = array<f32, KEYS>(); // the memory that gradients are taken from
  var decayed = 1.0; // what is left of it
  for (var d = 0u; d < select(0u, KEYS, INITIAL); d++) {
    w[d] = get_weights(row, d, own);
    a[d] = get_momentum(row, d, own);
    h[d] = w[d];
  }
  if PARTED && met > 0u {
    for (var d = 0u; d < KEYS; d++) { h[d] = get_pending(row, d, own); }
    decayed = get_pending(row, KEYS, own);
  }`,
  token: /* wgsl */ `
    let theta = element_theta(row_v(t, head), 0u);
    let kept = 1.0 - element_alpha(row_v(t, head), 0u);
    decayed *= kept;
    var read = 0.0;
    for (var d = 0u; d < KEYS; d++) { read += element_k(row_k(t, head), d) * h[d]; }
    let surprise = element_v(row_v(t, head), own) - decayed * read;
    for (var d = 0u; d < KEYS; d++) {
      a[d] = eta * a[d] + theta * element_k(row_k(t, head), d) * surprise;
      w[d] = kept * w[d] + a[d];
    }
    for (var r = 0u; r < GROUP; r++) {
      var o = 0.0;
      for (var d = 0u; d < KEYS; d++) { o += element_q(row_q(t, head, r), d) * w[d]; }
      put_out(row_v(t, head) * GROUP + r, e, params.scale * o);
    }
    if ends {
      for (var d = 0u; d < KEYS; d++) { h[d] = w[d]; }
      decayed = 1.0;
    }`,
  finish: /* wgsl */ `
    for (var d = 0u; d < KEYS; d++) { put_pending(row, d, e, h[d]); }
    put_pending(row, KEYS, e, decayed);`,
  exit: "for (var d = 0u; d < select(0u, KEYS, FINAL); d++) { put_momentum(row, d, e, a[d]); }",
};

const NAIVE_RULES = { ttt: NAIVE_TTT, titans: NAIVE_TITANS } as const;
