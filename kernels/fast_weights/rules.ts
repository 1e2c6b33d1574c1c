import type { Rule } from "./config.ts";

/** What a rule of learning adds to the walk of blocks of tokens. */
interface RuleText {
  /** Variables and functions of the module. */
  readonly memory: string;
  /** θ, η and 1 - α of token j of the block, a vec4f. */
  readonly rates: string;
  /** reads, writes and keeps of the block, once its rates are there. */
  readonly weights: string;
  /** errors[j] of sums[j], what keys read. */
  readonly errors: string;
  /** What error j weighs in output i, with score q_i · k_j. */
  readonly pair: string;
  /** What output i has beside the weights and the errors. */
  readonly more: string;
  /** What becomes of output i, o, of column c. */
  readonly output: string;
  /** Behind the outputs of all tokens. */
  readonly finish: string;
  /** What the block does to a bias. */
  readonly learn: string;
}

const NORM = /* wgsl */ `
var<workgroup> offset: array<vec4f, COLUMNS>; // c
var<workgroup> sum_g: array<vec4f, COLUMNS>; // of the mini-batch, before the block
var<workgroup> norms: array<vec2f, TOKENS>; // mean and 1 / deviation

/// 1 in columns of the row, 0 beyond.
fn inside(c: u32) -> vec4f {
  return select(vec4f(), vec4f(1.0), vec4u(4u * c) + vec4u(0u, 1u, 2u, 3u) < vec4u(VALUES));
}

fn total(x: vec4f) -> f32 { return dot(x, vec4f(1.0)); }

/// Mean and 1 / deviation of sums[j].
fn norm_of(j: u32) -> vec2f {
  var sum = vec4f();
  for (var c = 0u; c < V4; c++) { sum += sums[j * COLUMNS + c]; }
  let mean = total(sum) / f32(VALUES);
  var squares = vec4f();
  for (var c = 0u; c < V4; c++) {
    let x = (sums[j * COLUMNS + c] - mean) * inside(c);
    squares += x * x;
  }
  return vec2f(mean, inverseSqrt(total(squares) / f32(VALUES) + params.eps));
}`;

/** G_j of z_j = k_j W + c: the gradient of |LN(z) ⊙ w + b - (v - k)|² / 2, a token an invocation. */
const GRADIENTS = /* wgsl */ `
    for (var i = lane; i < loaded * COLUMNS; i += LANES) {
      var z = offset[i % COLUMNS];
      @unroll for (var s = 0u; s < SLICES; s++) { z += sums[s * TOKENS * COLUMNS + i]; }
      sums[i] = z;
    }
    workgroupBarrier();
    for (var j = lane; j < loaded; j += LANES) {
      let norm = norm_of(j);
      var sum = vec4f();
      var along = vec4f();
      for (var c = 0u; c < V4; c++) {
        let hat = (sums[j * COLUMNS + c] - norm.x) * norm.y * inside(c);
        let w = load_norm_weights(head, c);
        let target_row = load_v(row_v(first + j, head), c) - key_of(first, head, j, c);
        let g = (hat * w + load_norm_bias(head, c) - target_row) * w;
        sums[j * COLUMNS + c] = hat;
        errors[j * COLUMNS + c] = g;
        sum += g;
        along += g * hat;
      }
      let mean = total(sum) / f32(VALUES);
      let slope = total(along) / f32(VALUES);
      for (var c = 0u; c < V4; c++) {
        let i = j * COLUMNS + c;
        errors[i] = (errors[i] - mean - sums[i] * slope) * norm.y * inside(c);
      }
    }`;

/** o_i + LN(o_i) ⊙ w + b. */
const NORMED = /* wgsl */ `
      workgroupBarrier();
      for (var i = lane; i < loaded; i += LANES) { norms[i] = norm_of(i); }
      workgroupBarrier();
      for (var item = lane; item < loaded * COLUMNS; item += LANES) {
        let i = item / COLUMNS;
        let c = item % COLUMNS;
        if c < V4 {
          let o = sums[item];
          let hat = (o - norms[i].x) * norms[i].y;
          let y = o + hat * load_norm_weights(head, c) + load_norm_bias(head, c);
          store_out(row_v(first + i, head) * GROUP + r, c, y);
        }
      }`;

const TTT: RuleText = {
  memory: NORM,
  rates: "vec4f(0.0, element_eta(row_v(token, head), 0u), 1.0, 0.0)",
  weights: /* wgsl */ `
    for (var j = lane; j < loaded; j += LANES) {
      let last = rates[loaded - 1u].y; // the mini-batch learns with the rate of its last token
      reads[j] = vec2f(1.0, -rates[j].y);
      writes[j] = select(vec2f(0.0, 1.0), vec2f(-last, 0.0), ends);
      if j == 0u { keeps = select(vec3f(1.0, 0.0, 1.0), vec3f(1.0, -last, 0.0), ends); }
    }`,
  errors: GRADIENTS,
  pair: "reads[i].y * (score + 1.0)",
  more: "offset[item % COLUMNS] + reads[i].y * sum_g[item % COLUMNS]",
  output: "sums[item] = o;",
  finish: NORMED,
  learn: /* wgsl */ `
    if slice == 0u {
      var learned = keeps.y * sum_g[own];
      var held = keeps.z * sum_g[own];
      for (var j = 0u; j < loaded; j++) {
        let g = errors[j * COLUMNS + own];
        learned += writes[j].x * g;
        held += writes[j].y * g;
      }
      offset[own] += learned;
      sum_g[own] = held;
    }`,
};

const TITANS: RuleText = {
  memory:
    "var<workgroup> pairs: array<f32, TOKENS * TOKENS>; // of the error of j in M_i, times θ_j",
  rates: `vec4f(element_theta(row_v(token, head), 0u), element_eta(row_v(token, head), 0u),
          1.0 - element_alpha(row_v(token, head), 0u), 0.0)`,
  weights: /* wgsl */ `
    for (var j = lane; j < loaded; j += LANES) {
      // M and S before the block, in M and S of token j
      var kept = 1.0;
      var added = 0.0;
      var momentum = 1.0;
      for (var i = 0u; i <= j; i++) {
        momentum *= rates[i].y;
        kept *= rates[i].z;
        added = rates[i].z * added + momentum;
      }
      reads[j] = vec2f(kept, added);
      if j == loaded - 1u { keeps = vec3f(kept, added, momentum); }
      // the error of token j, in M and S of those behind it
      var in_s = rates[j].x;
      var in_m = in_s;
      pairs[j * TOKENS + j] = in_m;
      for (var i = j + 1u; i < loaded; i++) {
        in_s *= rates[i].y;
        in_m = rates[i].z * in_m + in_s;
        pairs[i * TOKENS + j] = in_m;
      }
      writes[j] = vec2f(in_m, in_s);
    }`,
  errors: /* wgsl */ `
    for (var i = lane; i < loaded * COLUMNS; i += LANES) {
      var read = vec4f();
      @unroll for (var s = 0u; s < SLICES; s++) { read += sums[s * TOKENS * COLUMNS + i]; }
      let j = i / COLUMNS;
      let c = min(first_col + i % COLUMNS, V4 - 1u);
      errors[i] = load_v(row_v(first + j, head), c) - decayed * reads[j].x * read;
    }`,
  pair: "pairs[i * TOKENS + j] * score",
  more: "vec4f()",
  output: /* wgsl */ `
        let c = first_col + item % COLUMNS;
        if c < V4 { store_out(row_v(first + i, head) * GROUP + r, c, o); }`,
  finish: "",
  learn: "",
};

/** The rules by name. */
export const RULES: Readonly<Record<Rule, RuleText>> = { ttt: TTT, titans: TITANS };
