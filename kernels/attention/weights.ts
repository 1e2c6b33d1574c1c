/**
 * How scores become weights.
 *
 * - `softmax`: exp(s - m) over their sum, m the running maximum (online softmax);
 * - `sum`: w(s) over their sum;
 * - `plain`: w(s);
 * - `stick`: σ(s) of what later keys have left of a stick (stick-breaking attention).
 */
export type WeightRule = "softmax" | "sum" | "plain" | "stick";

/** How scores become weights, as far as it is compiled. */
export interface WeightConfig {
  readonly rule: WeightRule;
  /** Body of `w(s: f32) -> f32` where the rule is `sum` or `plain`. */
  readonly body: string;
  /** Whether s is a logarithm to the base 2 rather than a natural one. */
  readonly binary: boolean;
}

/** The name of a weight function. */
export type WeightName =
  | "softmax"
  | "sigmoid"
  | "softplus"
  | "relu"
  | "elu1"
  | "none"
  | "stickBreaking";

/** Weights by name. */
export const WEIGHTS: Readonly<Record<WeightName, WeightConfig>> = {
  /** exp(s) / Σ exp(s). */
  softmax: { rule: "softmax", body: "", binary: true },
  /** 1 / (1 + exp(-s)): Ramapuram et al., "Theory, Analysis, and Best Practices for Sigmoid Self-Attention" (2024). */
  sigmoid: { rule: "plain", body: "return 1.0 / (1.0 + exp2(min(-s, 126.0)));", binary: true },
  /** log(1 + exp(s)) / Σ log(1 + exp(s)). */
  softplus: { rule: "sum", body: "return hook_softplus(s);", binary: false },
  /** max(s, 0) / Σ max(s, 0). */
  relu: { rule: "sum", body: "return max(s, 0.0);", binary: false },
  /** (elu(s) + 1) / Σ (elu(s) + 1). */
  elu1: { rule: "sum", body: "return select(exp(min(s, 0.0)), s + 1.0, s > 0.0);", binary: false },
  /** s. */
  none: { rule: "plain", body: "return s;", binary: false },
  /** σ(s_ij) Π_{j<k} (1 - σ(s_ik)): Tan et al., "Stick-breaking Attention" (2024). */
  stickBreaking: { rule: "stick", body: "", binary: true },
};

/** WGSL of a weight function: `weight` of a score, or what a score takes of a stick. */
export function weightCode({ rule, body }: WeightConfig): string {
  if (rule === "softmax") return "";
  return rule === "stick" ? STICK : weightOf(body);
}

const weightOf = (body: string): string => /* wgsl */ `
fn weight_of(s: f32) -> f32 { ${body} }

/// The weight of a score; that of a masked one is 0.
fn weight(s: f32) -> f32 { return select(weight_of(s), 0.0, s < FLOOR); }`;

const STICK = /* wgsl */ `
/// log2(1 + 2^-x) for x >= 0, where log2 alone may be off by 5e-7.
fn softplus_2(x: f32) -> f32 {
  let y = exp2(-x);
  let series = LOG2E * y * (1.0 - y * (0.5 - y * (1.0 / 3.0 - 0.25 * y)));
  return select(log2(1.0 + y), series, y < 0.02);
}

/// What a score breaks off a stick whose length has the logarithm l, and what is left.
fn broken(s: f32, l: f32) -> vec2f {
  let e = softplus_2(abs(s));
  return vec2f(exp2(min(s, 0.0) - e + l), l - max(s, 0.0) - e);
}`;

/** `finish(m, l, h, part)`: the factor of the accumulator, and what is kept beside it. */
export const FINISH: Readonly<Record<WeightRule, string>> = {
  softmax: /* wgsl */ `
/// What divides the accumulator (as a factor), and the natural lse, from running maximum and sum.
fn finish(m: f32, l: f32, h: u32, part: u32) -> vec2f {
  if l == 0.0 { return vec2f(0.0, negative_infinity()); }
  return vec2f(1.0 / l, LN2 * (m + log2(l)));
}`,
  sum: /* wgsl */ `
/// What divides the accumulator (as a factor), and the sum of the weights.
fn finish(m: f32, l: f32, h: u32, part: u32) -> vec2f {
  if l == 0.0 { return vec2f(); }
  return vec2f(1.0 / l, l);
}`,
  plain: /* wgsl */ `
/// Nothing divides the accumulator, and nothing is kept beside it.
fn finish(m: f32, l: f32, h: u32, part: u32) -> vec2f { return vec2f(1.0, 0.0); }`,
  stick: /* wgsl */ `
/// Nothing divides the accumulator; the natural logarithm of what is left.
fn finish(m: f32, l: f32, h: u32, part: u32) -> vec2f { return vec2f(1.0, LN2 * l); }`,
};

/** The WGSL of a rule: {@linkcode WeightRule} `sum` and `plain` share theirs. */
export type WeightTexts = Readonly<Record<"softmax" | "direct" | "stick", string>>;

/** Picks the text of a rule. */
export function textOf(texts: WeightTexts, { rule }: WeightConfig): string {
  return texts[rule === "softmax" || rule === "stick" ? rule : "direct"];
}
