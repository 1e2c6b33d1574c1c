import { taylorVectors } from "./features.ts";
import type { PassConfig } from "./pass.ts";

/** Where an invocation puts the rows of its own token, at channels 4 d to 4 d + 3. */
export interface OwnRows {
  /** The key, its decay, what erases, and query r; and the sum q_r diag(u) k. */
  readonly k: string;
  readonly e: string;
  readonly p: string;
  readonly b: string;
  readonly q: string;
  readonly bonus: string;
}

/** Loads the rows of a token, with features, forget gates and weights on the way. */
export function ownRows(config: PassConfig, own: OwnRows): string {
  const { inputs, outputs, writes, l2norm } = config;
  const weights = "weight *= element_key_weights(row_key_weights(own, head), 0u);";
  const queries = `
    @unroll for (var r = 0u; r < GROUP; r++) {
      let q_row = row_q(own / SUBSTEPS, head * GROUP + r);
      ${features(config, "load_q(q_row, d)", own.q)}
      ${l2norm ? normalized(own.q) : ""}
    }`;
  const bonus = `
    @unroll for (var r = 0u; r < GROUP; r++) {
      var sum = 0.0;
      @unroll for (var d = 0u; d < D4; d++) { sum += dot(${own.q} * load_u(row_u(own, head), d), ${own.k}); }
      ${own.bonus} = sum;
    }`;
  return [
    inputs.keyWeights && writes ? weights : "",
    writes ? keys(config, own) : "",
    writes ? erasers(config, own) : "",
    outputs ? queries : "",
    inputs.u && outputs ? bonus : "",
  ].join("\n");
}

function keys(config: PassConfig, own: OwnRows): string {
  const load = "load_k(row_k(own, head), d)";
  const forget = `
    @unroll for (var d = 0u; d < D4; d++) {
      let f = ${load};
      let bound = lower_bound_of(head, d);
      ${own.k} = forget_keys(f, bound, d);
      ${own.e} = forget_gates(f, bound);
    }`;
  if (config.gate === "forget") return forget;
  const gates = `
    @unroll for (var d = 0u; d < D4; d++) {
      let g = log_gates(load_gk(row_gk(own / SUBSTEPS, head), d), head, d);
      ${own.e} = select(vec4f(1.0), decays_of(g), decays_now);
    }`;
  return [
    features(config, load, own.k, "weight * "),
    config.l2norm ? normalized(own.k) : "",
    config.gate === "channel" ? gates : "",
  ].join("\n");
}

/** What reads, and what writes, the part of the state that is erased. */
function erasers({ erase, inputs }: PassConfig, own: OwnRows): string {
  const p = inputs.p
    ? "load_p(row_p(own, head), d)"
    : inputs.eraseGate
    ? `load_erase_gate(row_erase_gate(own, head), d) * ${own.k}`
    : null;
  const rows = [
    ...(p ? [`${own.p} = ${p};`] : []),
    ...(erase === "pair" ? [`${own.b} = load_b(row_b(own, head), d);`] : []),
  ];
  if (erase === "none" || rows.length === 0) return "";
  return `@unroll for (var d = 0u; d < D4; d++) { ${rows.join(" ")} }`;
}

/** Divides a row by its L2 norm. */
function normalized(own: string): string {
  return `{
      var squares = 0.0;
      @unroll for (var d = 0u; d < D4; d++) { squares += dot(${own}, ${own}); }
      let factor = inverse_norm(squares);
      @unroll for (var d = 0u; d < D4; d++) { ${own} *= factor; }
    }`;
}

/** The features of a row: vector by vector, or of all its channels. */
function features(config: PassConfig, load: string, own: string, weight = ""): string {
  const { featureMap, dim } = config;
  if (featureMap !== "taylor2") {
    return `@unroll for (var d = 0u; d < D4; d++) { ${own} = ${weight}features(${load}, d); }`;
  }
  const vectors = taylorVectors(dim, (i) => `channels[${Math.floor(i / 4)}][${i % 4}]`);
  const rows = vectors.map((vector, d) =>
    `@unroll for (var d = ${d}u; d < ${d} + 1; d++) { ${own} = ${weight}${vector}; }`
  );
  return `{
      @registers var channels: array<vec4f, R4>;
      @unroll for (var d = 0u; d < R4; d++) { channels[d] = params.feature_scale * ${load}; }
      ${rows.join("\n      ")}
    }`;
}

/** What the text of {@linkcode ownRows} calls. */
export function rowFunctions({ inputs }: PassConfig): string {
  return /* wgsl */ `
fn decays_of(g: vec4f) -> vec4f { return exp2(LOG2E * max(g, vec4f(LEAST_GATE))); }

/// Logarithms of decays, however they are given.
fn log_gates(g: vec4f, head: u32, d: u32) -> vec4f {
  let bias = load_gate_bias_rows(row_gate_bias_rows(0u, head), d);
  return vec4f(log_gate(g.x, head, bias.x), log_gate(g.y, head, bias.y),
    log_gate(g.z, head, bias.z), log_gate(g.w, head, bias.w));
}

fn there(d: u32) -> vec4<bool> { return vec4u(4u * d) + vec4u(0u, 1u, 2u, 3u) < vec4u(KEYS); }

/// Features of channels 4 d to 4 d + 3; there are none behind the last channel.
fn features(x: vec4f, d: u32) -> vec4f {
  return select(vec4f(), vec4f(feature(x.x), feature(x.y), feature(x.z), feature(x.w)), there(d));
}

fn lower_bound_of(head: u32, d: u32) -> vec4f {
  return ${
    inputs.lowerBounds
      ? "load_lower_bounds(row_lower_bounds(0u, head), d)"
      : "vec4f(params.lower_bound)"
  };
}
/// Forget gates, at least the lower bound; the keys are what they leave of 1.
fn forget_gates(f: vec4f, bound: vec4f) -> vec4f {
  return bound + (1.0 - bound) * vec4f(sigmoid(f.x), sigmoid(f.y), sigmoid(f.z), sigmoid(f.w));
}
fn forget_keys(f: vec4f, bound: vec4f, d: u32) -> vec4f {
  let x = vec4f(sigmoid(-f.x), sigmoid(-f.y), sigmoid(-f.z), sigmoid(-f.w));
  return select(vec4f(), (1.0 - bound) * x, there(d));
}
`;
}
