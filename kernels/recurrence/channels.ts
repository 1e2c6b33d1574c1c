import type { ParamType } from "../../gpu/program.ts";
import { elementWriter } from "../shared/rows.ts";
import {
  formCode,
  GATE_CODE,
  RECURRENCE_PARAMS,
  type RecurrenceConfig,
  stepCode,
} from "./config.ts";
import { featureCode } from "./features.ts";
import { elementReaders, type Parts } from "./inputs.ts";

/** The description of the mathematics, read element by element from buffers. */
export type ChannelConfig = Omit<RecurrenceConfig, "source">;

/** Functions that read one channel of a token, and the store of one. */
export interface Channels extends Parts {
  readonly params: Readonly<Record<string, ParamType>>;
}

/**
 * `step_at(t, head)`, which also divides by the norm of the key and weighs it, `key_at(t, head, d, step)`,
 * `decay_at(t, head, d, step)`, `query_norm(t, h)`, `query_at(t, h, d)`, `bonus_at(head, d)`, `value_at(t,
 * head, e)`, `value_decay_at(t, head, e)`, `beta_at(t, head)`, `erase_at(t, head, d, step)`, `erased_at(t,
 * head, d)` and `finish(t, head, r, e, y, v)`, which stores; t counts writes.
 */
export function channels(config: ChannelConfig): Channels {
  const { elem, valueDim } = config;
  const readers = elementReaders(config);
  const out = elementWriter({ name: "out", elem, width: valueDim });
  const code = [
    readers.code,
    out.code,
    GATE_CODE,
    featureCode(config.featureMap),
    ...["q", "k"].map((name) => rowFeatures(config, name)),
    stepCode(config),
    formCode(config),
    functions(config),
  ];
  return {
    bindings: [...readers.bindings, out.binding],
    params: { ...RECURRENCE_PARAMS, ...readers.params, outFirst: "u32" },
    code: code.join("\n"),
  };
}

function functions(config: ChannelConfig): string {
  const { gate, inputs, l2norm } = config;
  const { gv, u, lowerBounds, skip, skipRows, outGate } = inputs;
  const forget = "element_k(row_k(t, head), d)";
  const decays = {
    none: "1.0",
    head: "decay_of(element_head_gate(row_head_gate(t, head), 0u))",
    token: `decay_of(log_gate(element_g(row_g(t / SUBSTEPS, head), 0u), head, ${
      inputs.gateBias ? "element_gate_bias(row_gate_bias(t, head), 0u)" : "0.0"
    }))`,
    channel: `decay_of(log_gate(element_gk(row_gk(t / SUBSTEPS, head), d), head, ${
      inputs.gateBiasRows ? "element_gate_bias_rows(row_gate_bias_rows(t, head), d)" : "0.0"
    }))`,
    step: "decay_of_step(step, head)",
    forget: `bound + (1.0 - bound) * sigmoid(${forget})`,
  };
  const bound = lowerBounds
    ? "element_lower_bounds(row_lower_bounds(t, head), d)"
    : "params.lower_bound";
  const key = gate === "forget"
    ? `(1.0 - bound) * sigmoid(-${forget})`
    : "step * feature_k(row_k(t, head), d)";
  const norm = (name: string, row: string): string =>
    l2norm
      ? `var squares = 0.0;
  for (var d = 0u; d < KEYS; d++) { let x = feature_${name}(${row}, d); squares += x * x; }
  return inverse_norm(squares);`
      : "return 1.0;";
  const p = inputs.p
    ? "element_p(row_p(t, head), d)"
    : inputs.eraseGate
    ? "element_erase_gate(row_erase_gate(t, head), d) * key_at(t, head, d, step)"
    : "key_at(t, head, d, step)";
  const weight = inputs.keyWeights ? " * element_key_weights(row_key_weights(t, head), 0u)" : "";
  const step = gate === "step"
    ? "step_of(element_g(row_g(t, head), 0u), head)"
    : `key_norm(t, head)${weight}`;
  return /* wgsl */ `
fn step_at(t: u32, head: u32) -> f32 {
  return ${step};
}
/// 1 / |k| and 1 / |q|, where they are divided by their norms.
fn key_norm(t: u32, head: u32) -> f32 {
  ${norm("k", "row_k(t, head)")}
}
fn query_norm(t: u32, h: u32) -> f32 {
  ${norm("q", "row_q(t / SUBSTEPS, h)")}
}
fn key_at(t: u32, head: u32, d: u32, step: f32) -> f32 {
  let bound = ${bound};
  return ${key};
}
fn beta_at(t: u32, head: u32) -> f32 {
  return ${inputs.beta ? "beta_of(element_beta(row_beta(t, head), 0u))" : "1.0"};
}
fn erase_at(t: u32, head: u32, d: u32, step: f32) -> f32 { return ${p}; }
fn erased_at(t: u32, head: u32, d: u32) -> f32 {
  return ${inputs.b ? "element_b(row_b(t, head), d)" : "0.0"};
}
fn value_at(t: u32, head: u32, e: u32) -> f32 {
  return element_v(row_v(t, head), e)${
    inputs.writeGate ? " * element_write_gate(row_write_gate(t, head), e)" : ""
  };
}
fn decay_at(t: u32, head: u32, d: u32, step: f32) -> f32 {
  let bound = ${bound};
  return ${decays[gate]};
}
fn query_at(t: u32, h: u32, d: u32) -> f32 {
  return feature_q(row_q(t / SUBSTEPS, h), d);
}
fn bonus_at(head: u32, d: u32) -> f32 {
  return ${u ? "element_u(row_u(0u, head), d)" : "0.0"};
}
fn value_decay_at(t: u32, head: u32, e: u32) -> f32 {
  return ${gv ? "decay_of(element_gv(row_gv(t, head), e))" : "1.0"};
}
/// Adds the skip connection, gates the output and stores it.
fn finish(t: u32, head: u32, r: u32, e: u32, o: f32, v: f32) {
  var y = o;
  ${skip ? "y += element_skip(row_skip(0u, head), 0u) * v;" : ""}
  ${skipRows ? "y += element_skip_rows(row_skip_rows(0u, head), e) * v;" : ""}
  ${outGate ? "let z = element_out_gate(row_out_gate(t, head), e); y *= z * sigmoid(z);" : ""}
  put_out((t / SUBSTEPS * params.heads + head) * GROUP + r, e, y);
}
`;
}

/** `feature_<name>(row, d)`: the d-th feature of a row of q or k. */
function rowFeatures({ featureMap, dim }: ChannelConfig, name: string): string {
  const head = `fn feature_${name}(row: u32, d: u32) -> f32 {`;
  if (featureMap !== "taylor2") return `${head} return feature(element_${name}(row, d)); }`;
  return /* wgsl */ `
/// The first pair of channels i < j, of all of them in order, whose smaller one is i.
fn first_pair_${name}(i: u32) -> u32 { return i * (2u * ${dim}u - i - 1u) / 2u; }
/// Channels of which feature d is the product (taylorTerms); number ${dim} is the constant 1.
fn channels_${name}(d: u32) -> vec2u {
  if d <= ${dim}u { return vec2u(select(d - 1u, ${dim}u, d == 0u), ${dim}u); }
  if d <= 2u * ${dim}u { return vec2u(d - 1u - ${dim}u); }
  let n = d - 1u - 2u * ${dim}u; // of the pairs
  let width = f32(2u * ${dim}u - 1u);
  var i = u32((width - sqrt(max(width * width - 8.0 * f32(n), 0.0))) / 2.0);
  if n < first_pair_${name}(i) { i--; } // where the root was rounded
  if n >= first_pair_${name}(i + 1u) { i++; }
  return vec2u(i, n - first_pair_${name}(i) + i + 1u);
}
fn channel_${name}(row: u32, i: u32) -> f32 {
  if i == ${dim}u { return 1.0; }
  return params.feature_scale * element_${name}(row, i);
}
${head}
  let c = channels_${name}(d);
  let x = channel_${name}(row, c.x) * channel_${name}(row, c.y);
  return select(x, INV_SQRT2 * x, c.x == c.y && d > 0u);
}`;
}
