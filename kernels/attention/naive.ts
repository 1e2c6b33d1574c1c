import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { ATTENTION_PARAMS, type AttentionConfig, attentionRows } from "./config.ts";
import { describe } from "./description.ts";
import { gatesCode } from "./gates.ts";
import { NO_HOOKS } from "./hooks.ts";
import { patternCode } from "./pattern.ts";
import { textOf, type WeightTexts } from "./weights.ts";
import { elementReader, elementWriter } from "../shared/rows.ts";

/** The three passes of the baseline. */
export interface NaiveAttention {
  /** One thread per score. */
  readonly scores: Program;
  /** One thread per row. */
  readonly softmax: Program;
  /** One thread per output element. */
  readonly values: Program;
}

/** Invocations of a workgroup. */
export const NAIVE_THREADS = 64;

/**
 * The baseline that speed-ups are measured against, as a textbook has it: materialise the scores
 * [B, Hq, T, S], normalise each row, multiply by the values; one thread per element, scalar loads,
 * no tiles, no workgroup memory.
 */
export function naiveAttention(config: AttentionConfig): NaiveAttention {
  const description = describe(config);
  const pattern = patternCode(config.pattern, { queries: 1, keys: 1 });
  const params = { ...ATTENTION_PARAMS, ...pattern.params, ...description.params };
  const tensors = attentionRows(config);
  const [q, k, v] = (["q", "k", "v"] as const).map((name) => elementReader(tensors[name]));
  const out = elementWriter(tensors.out);
  const scores: Binding = { name: "scores", access: "read_write", type: "array<f32>" };
  const only = (...names: string[]): Binding[] =>
    description.bindings.filter(({ name }) => names.includes(name));
  const program = (pass: string, bindings: Binding[], code: string[]): Program => ({
    label: `attention (naive ${pass})`,
    code: [
      constants({
        THREADS: NAIVE_THREADS,
        HEAD_DIM: config.headDim,
        VALUE_DIM: config.valueDim,
        ...description.constants,
        MASKS: pattern.masked,
        QUERIES_OF_TILE: 1,
      }),
      declare(bindings, params),
      pattern.code,
      ...code,
    ].join("\n"),
    bindings,
    params,
    subgroups: false,
  });
  const gates = gatesCode(config.gates);
  const hooks = description.bindings.filter(({ name }) => name.startsWith("hook"));
  const shapes = describe({ ...config, sinks: null, lse: false }).code;
  const ends = describe({ ...config, bias: null, hooks: NO_HOOKS }).code;
  const plain = describe({ ...config, bias: null, hooks: NO_HOOKS, sinks: null, lse: false }).code;
  return {
    scores: program("scores", [q.binding, k.binding, scores, ...only("bias"), ...hooks], [
      q.code,
      k.code,
      shapes,
      SCORES,
    ]),
    softmax: program("softmax", [scores, ...only("sinks", "lse"), ...gates.bindings], [
      ends,
      gates.code,
      rows(textOf(WEIGHTS, config.weight)),
    ]),
    values: program("values", [scores, v.binding, out.binding], [v.code, out.code, plain, VALUES]),
  };
}

const SCORES = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let j = at.x;
  if j >= params.kv_len { return; }
  let b = at.z / params.heads;
  let h = at.z % params.heads;
  let t = params.t0 + at.y;
  var s = 0.0;
  for (var d = 0u; d < HEAD_DIM; d++) {
    let q_d = params.q_scale * element_q(q_row(b, t, h), d);
    s += q_d * element_k(kv_row(b, j, h / params.group), d);
  }
  scores[(at.z * params.q_len + t) * params.kv_len + j] =
    score(s, true, b, h, Query(t), KeyTile(j, params.kv_len, 0, 0u), 0u);
}
`;

const WEIGHTS: WeightTexts = {
  softmax: /* wgsl */ `
  var m = FLOOR;
  for (var j = 0u; j < params.kv_len; j++) { m = max(m, scores[first + j]); }
  var l = 0.0;
  for (var j = 0u; j < params.kv_len; j++) { l += exp2(scores[first + j] - m); }
  let end = gated(finish(m, l, h, 0u), 0u, b, t, h);
  for (var j = 0u; j < params.kv_len; j++) {
    scores[first + j] = end.x * exp2(scores[first + j] - m);
  }`,
  direct: /* wgsl */ `
  var l = 0.0;
  for (var j = 0u; j < params.kv_len; j++) { l += weight(scores[first + j]); }
  let end = gated(finish(FLOOR, l, h, 0u), 0u, b, t, h);
  for (var j = 0u; j < params.kv_len; j++) {
    scores[first + j] = end.x * weight(scores[first + j]);
  }`,
  stick: /* wgsl */ `
  var l = 0.0;
  for (var j = params.kv_len; j > 0u; j--) {
    let piece = broken(scores[first + j - 1u], l);
    scores[first + j - 1u] = piece.x;
    l = piece.y;
  }
  let end = gated(finish(FLOOR, l, h, 0u), 0u, b, t, h);`,
};

const rows = (weights: string): string => /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let t = at.x;
  if t >= params.q_len { return; }
  let b = at.y / params.heads;
  let h = at.y % params.heads;
  let first = (at.y * params.q_len + t) * params.kv_len;
  ${weights.trim()}
  store_lse(q_row(b, t, h), end.y);
}
`;

const VALUES = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let d = at.x;
  if d >= VALUE_DIM { return; }
  let b = at.z / params.heads;
  let h = at.z % params.heads;
  let t = params.t0 + at.y;
  let first = (at.z * params.q_len + t) * params.kv_len;
  var sum = 0.0;
  for (var j = 0u; j < params.kv_len; j++) {
    sum += scores[first + j] * element_v(kv_row(b, j, h / params.group), d);
  }
  put_out(q_row(b, t, h), d, sum);
}
`;
