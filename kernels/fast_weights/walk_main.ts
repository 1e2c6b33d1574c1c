import type { BlockRows } from "./block_rows.ts";
import type { Rule } from "./config.ts";
import { RULES } from "./rules.ts";

/** Which matrices a walk keeps in registers beside w, the weights. */
export interface Matrices {
  /** a: the momentum of Titans; what the mini-batch adds up for TTT. */
  readonly added: boolean;
  /** h: what gradients are taken from, where that is not w. */
  readonly held: boolean;
}

/** Everything a workgroup does, from the state at the entry of its segment to the one behind it. */
export function walkMain(rule: Rule, { added, held }: Matrices, rows: BlockRows): string {
  const { memory, rates, weights, errors, pair, more, output, finish, learn } = RULES[rule];
  const names = ["w", ...(added ? ["a"] : []), ...(held ? ["h"] : [])];
  const source = held ? "h" : "w";
  return /* wgsl */ `
${rows.code}
var<workgroup> sums: array<vec4f, SLICES * TOKENS * COLUMNS>; // of the rows of each slice
var<workgroup> errors: array<vec4f, TOKENS * COLUMNS>; // what keys write
var<workgroup> scores: array<f32, TOKENS * TOKENS>;
var<workgroup> rates: array<vec4f, TOKENS>;
var<workgroup> reads: array<vec2f, TOKENS>; // what w and a before the block weigh in an output
var<workgroup> writes: array<vec2f, TOKENS>; // what a token's error weighs in w and a behind it
var<workgroup> keeps: vec3f; // behind the block: w and a in w, a in a
${memory}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let head = tile.y;
  let row = segment.z * params.heads + head;
  let first_col = tile.x * COLUMNS;
  let own = lane % COLUMNS;
  let col = first_col + own;
  let slice = lane / COLUMNS;
  let first_row = 4u * R4 * slice;

  ${names.map((name) => `@registers var ${name}: array<vec4f, ROWS>;`).join("\n  ")}
  var met = met_before(segment); // tokens of the mini-batch
  var decayed = 1.0; // what is left of h
  ${entry(rule, { added, held })}

  var first = segment.x;
  while first < segment.y {
    let loaded = min(min(TOKENS, params.mini_batch - met), segment.y - first);
    let full = met + loaded == params.mini_batch;
    let ends = full || (first + loaded == segment.y && !goes_on(segment));
    workgroupBarrier();
    ${rows.keys}
    for (var j = lane; j < loaded; j += LANES) {
      let token = first + j;
      rates[j] = ${rates};
    }
    workgroupBarrier();

    // what keys read
    for (var j = 0u; j < loaded; j++) {
      var z = vec4f();
      @unroll for (var d = 0u; d < R4; d++) {
        let k = key_of(first, head, j, slice * R4 + d);
        @unroll for (var x = 0u; x < 4; x++) { z = fma(vec4f(k[x]), ${source}[4 * d + x], z); }
      }
      sums[(slice * TOKENS + j) * COLUMNS + own] = z;
    }
    ${weights}
    workgroupBarrier();
    ${errors}

    for (var r = 0u; r < GROUP; r++) {
      ${rows.queries}
      workgroupBarrier();
      for (var item = lane; item < loaded * loaded; item += LANES) {
        let i = item / loaded;
        let j = item % loaded;
        if j <= i {
          var score = 0.0;
          for (var d = 0u; d < K4; d++) {
            score += dot(query_of(first, head, r, i, d), key_of(first, head, j, d));
          }
          scores[i * TOKENS + j] = ${pair};
        }
      }
      // what queries read of the matrices before the block
      for (var i = 0u; i < loaded; i++) {
        ${names.slice(0, added ? 2 : 1).map((name) => `var of_${name} = vec4f();`).join(" ")}
        @unroll for (var d = 0u; d < R4; d++) {
          let q = query_of(first, head, r, i, slice * R4 + d);
          @unroll for (var x = 0u; x < 4; x++) {
            of_w = fma(vec4f(q[x]), w[4 * d + x], of_w);
            ${added ? "of_a = fma(vec4f(q[x]), a[4 * d + x], of_a);" : ""}
          }
        }
        sums[(slice * TOKENS + i) * COLUMNS + own] =
          reads[i].x * of_w${added ? " + reads[i].y * of_a" : ""};
      }
      workgroupBarrier();
      // and of what the block has written
      for (var item = lane; item < loaded * COLUMNS; item += LANES) {
        let i = item / COLUMNS;
        var o = ${more};
        @unroll for (var s = 0u; s < SLICES; s++) { o += sums[s * TOKENS * COLUMNS + item]; }
        for (var j = 0u; j <= i; j++) {
          o = fma(vec4f(scores[i * TOKENS + j]), errors[j * COLUMNS + item % COLUMNS], o);
        }
        ${output}
      }
      ${finish}
    }

    ${learn}
    @unroll for (var i = 0u; i < ROWS; i++) {
      w[i] = keeps.x * w[i]${added ? " + keeps.y * a[i]" : ""};
      ${added ? "a[i] *= keeps.z;" : ""}
    }
    for (var j = 0u; j < loaded; j++) {
      let in_w = writes[j].x * errors[j * COLUMNS + own];
      ${added ? "let in_a = writes[j].y * errors[j * COLUMNS + own];" : ""}
      @unroll for (var d = 0u; d < R4; d++) {
        let k = key_of(first, head, j, slice * R4 + d);
        @unroll for (var x = 0u; x < 4; x++) {
          w[4 * d + x] = fma(vec4f(k[x]), in_w, w[4 * d + x]);
          ${added ? "a[4 * d + x] = fma(vec4f(k[x]), in_a, a[4 * d + x]);" : ""}
        }
      }
    }
    ${
    held
      ? `decayed *= reads[loaded - 1u].x;
    if ends {
      decayed = 1.0;
      @unroll for (var i = 0u; i < ROWS; i++) { h[i] = w[i]; }
    }`
      : ""
  }
    first += loaded;
    met = select(met + loaded, 0u, full);
  }
  ${exit(rule, { added, held })}
}
`;
}

/** The matrices that are kept, and where a state or a mini-batch under way has them. */
function stores(rule: Rule, { added, held }: Matrices) {
  const ttt = rule === "ttt";
  return {
    states: { w: "weights", ...(added && !ttt && { a: "momentum" }) },
    pending: { ...(added && ttt && { a: "pending" }), ...(held && { h: "pending" }) },
  };
}

/** Loads rows in a loop and selects registers: a fraction of the text of a load for each. */
function entry(rule: Rule, matrices: Matrices): string {
  const { states, pending } = stores(rule, matrices);
  const into = (places: Readonly<Record<string, string>>): string =>
    Object.entries(places).map(([name, stored]) => `
      {
        let x = load_${stored}(row, first_row + d, col);
        @unroll for (var i = 0u; i < ROWS; i++) { ${name}[i] = select(${name}[i], x, i == d); }
      }`).join("");
  return /* wgsl */ `
  ${rule === "ttt" ? "if slice == 0u && INITIAL { offset[own] = load_bias(row, 0u, col); }" : ""}
  if INITIAL {
    for (var d = 0u; d < ROWS; d++) { ${into(states)} }
  }
  ${matrices.held ? "@unroll for (var i = 0u; i < ROWS; i++) { h[i] = w[i]; }" : ""}
  if PARTED && met > 0u {
    for (var d = 0u; d < ROWS; d++) { ${into(pending)} }
    ${
    rule === "ttt"
      ? "if slice == 0u { sum_g[own] = load_pending(row, KEYS, col); }"
      : "decayed = load_pending(row, KEYS, first_col).x;"
  }
  }`;
}

/** The reverse of {@linkcode entry}. */
function exit(rule: Rule, matrices: Matrices): string {
  const { states, pending } = stores(rule, matrices);
  const from = (places: Readonly<Record<string, string>>): string =>
    Object.entries(places).map(([name, stored]) => `
      {
        var x = vec4f();
        @unroll for (var i = 0u; i < ROWS; i++) { x = select(x, ${name}[i], i == d); }
        store_${stored}(row, first_row + d, col, x);
      }`).join("");
  return /* wgsl */ `
  if FINAL {
    for (var d = 0u; d < ROWS; d++) { ${from(states)} }
    ${rule === "ttt" ? "if slice == 0u { store_bias(row, 0u, col, offset[own]); }" : ""}
  }
  if PARTED && goes_on(segment) {
    for (var d = 0u; d < ROWS; d++) { ${from(pending)} }
    if slice == 0u {
      store_pending(row, KEYS, col, ${rule === "ttt" ? "sum_g[own]" : "vec4f(decayed)"});
    }
  }`;
}
