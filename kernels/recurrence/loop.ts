import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";
import { GATE_CODE, RECURRENCE_PARAMS, stepCode } from "./config.ts";
import { featureCode } from "./features.ts";
import { ownRows, rowFunctions } from "./own_rows.ts";
import { inputsOf, type PassConfig, storesOf } from "./tensors.ts";

/** How a workgroup is laid out. */
export interface LoopTile {
  /** How the rows of a token reach the columns: through a subgroup, or through workgroup memory. */
  readonly exchange: "subgroup" | "workgroup";
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** vec4 columns of the state that an invocation owns. */
  readonly columns: number;
  /** Tokens that are loaded at a time, at most one for each lane. */
  readonly tokens: number;
}

/** The description of the mathematics plus layout and pass. */
export interface LoopConfig extends PassConfig, LoopTile {}

/** vec4 columns of a workgroup. */
export function columnsOfWorkgroup({ lanes, columns }: LoopTile): number {
  return lanes * columns;
}

/** Loop iterations of an invocation that loads and stores a state, those that end loops included. */
export function stateIterations({ keyDim }: Pick<LoopConfig, "keyDim">): number {
  return 2 * (keyDim + 1);
}

/** Loop iterations of an invocation per tile of tokens, those that end loops included. */
export function loopIterations({ tokens }: LoopTile): number {
  return tokens + 2;
}

/**
 * The recurrence token by token, the state in registers (math/recurrence.md, (E)).
 *
 * A workgroup has one state head of one segment of tokens, and columns of its state; the grid is over
 * the others. An invocation owns whole columns, so that a token needs no reduction. The rows of
 * `tokens` tokens are loaded, and their decays exponentiated, by one invocation each and handed
 * round. Every exponent is a gate, none is a difference of sums, so that no gate overflows.
 */
export function recurrenceLoop(config: LoopConfig): Program {
  const { keyDim, valueDim, group, gate, valueGate, bonus, outputs } = config;
  const { exchange, lanes, columns, tokens } = config;
  const accessors = inputsOf(config);
  const stores = storesOf(config);
  const segments: Binding = { name: "segments", access: "read", type: "array<vec4u>" };
  const bindings = [segments, ...accessors.bindings, ...stores.bindings];
  const firsts = accessors.bindings.map(({ name }) => [`${name}First`, "u32"] as const);
  const params = { ...RECURRENCE_PARAMS, ...Object.fromEntries(firsts) };
  const d4 = Math.ceil(keyDim / 4);
  const sizes = {
    LANES: lanes,
    COLS: columns, // vec4 columns of an invocation
    TOKENS: tokens,
    GROUP: group,
    KEYS: keyDim,
    VALUES: valueDim,
    D4: d4,
    K4: 4 * d4, // rows of the state
    R4: Math.ceil(config.dim / 4), // vec4 of a row of q and k
    V4: Math.ceil(valueDim / 4),
  };
  const flags = {
    HEAD_GATE: gate === "head",
    TOKEN_GATE: gate === "token",
    STEP_GATE: gate === "step",
    CHANNEL_GATE: gate === "channel" || gate === "forget",
    FORGET_GATE: gate === "forget",
    GATED: gate !== "none",
    VALUE_GATE: valueGate !== null,
    BONUS: bonus !== null,
    NORMALIZE: config.normalize,
    REVERSE: config.reverse,
    INITIAL: config.initial,
    FINAL: config.final,
    SKIP: (config.step?.skip ?? null) !== null,
    OUT_GATE: (config.step?.outGate ?? null) !== null,
    OUTPUTS: outputs,
    DECAYS: config.decays,
  };
  const code = [
    constants({ ...sizes, ...flags }),
    declare(bindings, params),
    accessors.code,
    stores.code,
    EXCHANGES[exchange].memory,
    GATE_CODE,
    featureCode(config.featureMap),
    stepCode(config.step),
    rowFunctions(config),
    COMMON,
    unroll(mainText(config), sizes),
  ].join("\n");
  const label = `recurrence (${outputs ? "loop" : "chunk states"}, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange === "subgroup" };
}

/** How an invocation reads the j-th token's rows once they are loaded. */
const EXCHANGES = {
  subgroup: {
    memory: "",
    declare: `
    @registers var own_k: array<vec4f, D4>;
    @registers var own_e: array<vec4f, D4>;
    @registers var own_q: array<array<vec4f, D4>, GROUP>;`,
    before: "",
    after: "",
    own: { k: "own_k[d]", e: "own_e[d]", q: "own_q[r][d]" },
    shared: {
      k: "subgroupShuffle(own_k[d], j)",
      e: "subgroupShuffle(own_e[d], j)",
      q: "subgroupShuffle(own_q[r][d], j)",
      gate: "subgroupShuffle(own_gate, j)",
    },
  },
  workgroup: {
    memory: `
var<workgroup> staged_k: array<vec4f, TOKENS * D4>;
var<workgroup> staged_e: array<vec4f, select(1u, TOKENS * D4, CHANNEL_GATE)>;
var<workgroup> staged_q: array<vec4f, select(1u, GROUP * TOKENS * D4, OUTPUTS)>;
var<workgroup> staged_gate: array<f32, TOKENS>;`,
    declare: "",
    before: "workgroupBarrier();\n    if lane < TOKENS {",
    after: "staged_gate[lane] = own_gate;\n    }\n    workgroupBarrier();",
    own: {
      k: "staged_k[lane * D4 + d]",
      e: "staged_e[lane * D4 + d]",
      q: "staged_q[(r * TOKENS + lane) * D4 + d]",
    },
    shared: {
      k: "staged_k[j * D4 + d]",
      e: "staged_e[j * D4 + d]",
      q: "staged_q[(r * TOKENS + j) * D4 + d]",
      gate: "staged_gate[j]",
    },
  },
};

const COMMON = /* wgsl */ `
/// The i-th token of a segment, in the order in which the recurrence meets them.
fn token_at(segment: vec4u, i: u32) -> u32 {
  if REVERSE { return segment.y - 1u - i; }
  return segment.x + i;
}

/// Rows of the state behind a token's decay.
fn kept(s: vec4f, e: f32, value_decay: vec4f) -> vec4f {
  var x = s;
  if GATED { x *= e; }
  if VALUE_GATE { x *= value_decay; }
  return x;
}

fn silu(x: vec4f) -> vec4f {
  return x * vec4f(sigmoid(x.x), sigmoid(x.y), sigmoid(x.z), sigmoid(x.w));
}
`;

/** o_t += q_t S */
const read = (q: string): string => /* wgsl */ `
        if OUTPUTS {
          @unroll for (var r = 0u; r < GROUP; r++) {
            let q = ${q};
            @unroll for (var x = 0u; x < 4; x++) {
              @unroll for (var c = 0u; c < COLS; c++) {
                o[r][c] = fma(vec4f(q[x]), s[4 * d + x][c], o[r][c]);
              }
            }
            if NORMALIZE { norm[r] += dot(q, z[d]); }
            if BONUS { own_weight[r] += dot(q * load_u(u_row, d), k); }
          }
        }`;

/** S_t = diag(e_t) S_{t-1} diag(ev_t) + k_t^T v_t */
const WRITE = /* wgsl */ `
        @unroll for (var x = 0u; x < 4; x++) {
          @unroll for (var c = 0u; c < COLS; c++) {
            s[4 * d + x][c] = fma(vec4f(k[x]), v[c], kept(s[4 * d + x][c], e[x], ev[c]));
          }
        }
        if NORMALIZE { z[d] = e * z[d] + k; }
        if DECAYS { product[d] *= e; }`;

function mainText(config: LoopConfig): string {
  const { exchange, bonus, writes } = config;
  const { declare, before, after, own, shared } = EXCHANGES[exchange];
  const write = writes ? WRITE : "";
  return /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let head = tile.y;
  let k_head = head * params.k_heads / params.heads;
  let u_row = head * params.bonus_heads / params.heads;
  let row = segment.z * params.heads + head;
  let first_col = tile.x * LANES * COLS + lane;
  let count = segment.y - segment.x;
  let writes_rows = tile.x == 0u && lane == 0u;

  @registers var s: array<array<vec4f, COLS>, K4>;
  @registers var z: array<vec4f, D4>; // the running sum of the keys
  @registers var product: array<vec4f, D4>; // of the decays
  @registers var value_product: array<vec4f, COLS>;
  @unroll for (var d = 0u; d < D4; d++) { product[d] = vec4f(1.0); }
  @unroll for (var c = 0u; c < COLS; c++) { value_product[c] = vec4f(1.0); }
  if INITIAL {
    // a loop over the rows and a select for each register: a fraction of the text of K loads
    for (var d = 0u; d < KEYS; d++) {
      @unroll for (var c = 0u; c < COLS; c++) {
        let x = load_state(row, d, 4u * (first_col + c * LANES));
        @unroll for (var i = 0u; i < KEYS; i++) { s[i][c] = select(s[i][c], x, i == d); }
      }
      if NORMALIZE {
        let x = vec4f(get_sums(row * KEYS + d));
        @unroll for (var i = 0u; i < D4; i++) {
          z[i] = select(z[i], x, vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) == vec4u(d));
        }
      }
    }
  }
  var head_gate = 1.0;
  if HEAD_GATE { head_gate = decay_of(element_g(head, 0u)); }

  for (var first = 0u; first < count; first += TOKENS) {
    // every invocation loads one of the next tokens
    ${declare}
    ${before}
    let own = token_at(segment, min(first + lane, count - 1u));
    let own_row = own * params.heads + head;
    var own_gate = head_gate;
    var weight = 1.0; // of the key
    if TOKEN_GATE { own_gate = decay_of(element_g(own_row, 0u)); }
    if STEP_GATE {
      weight = step_of(element_g(own_row, 0u), head);
      own_gate = decay_of_step(weight, head);
    }
    ${ownRows(config, own)}
    ${after}

    let loaded = min(TOKENS, count - first);
    for (var j = 0u; j < loaded; j++) {
      let t_row = token_at(segment, first + j) * params.heads + head;
      let gate = ${shared.gate};
      @registers var v: array<vec4f, COLS>;
      @registers var ev: array<vec4f, COLS>;
      @unroll for (var c = 0u; c < COLS; c++) {
        let col = min(first_col + c * LANES, V4 - 1u);
        v[c] = load_v(t_row, col);
        if VALUE_GATE { ev[c] = decays_of(load_gv(t_row, col)); value_product[c] *= ev[c]; }
      }
      @registers var o: array<array<vec4f, COLS>, GROUP>;
      @registers var norm: array<f32, GROUP>;
      @registers var own_weight: array<f32, GROUP>; // q diag(u) k
      @unroll for (var d = 0u; d < D4; d++) {
        let k = ${shared.k};
        var e = vec4f(gate);
        if CHANNEL_GATE { e = ${shared.e}; }
        ${bonus === null ? write + read(shared.q) : read(shared.q) + write}
      }
      if OUTPUTS {
        @unroll for (var r = 0u; r < GROUP; r++) {
          var factor = params.scale;
          if NORMALIZE { factor /= params.scale * (norm[r] + own_weight[r]) + params.eps; }
          @unroll for (var c = 0u; c < COLS; c++) {
            let col = first_col + c * LANES;
            if col < V4 {
              var y = factor * fma(vec4f(own_weight[r]), v[c], o[r][c]);
              if SKIP { y += skip_of(head, col) * v[c]; }
              if OUT_GATE { y *= silu(load_out_gate(t_row, col)); }
              store_out(t_row * GROUP + r, col, y);
            }
          }
        }
      }
    }
  }

  for (var d = 0u; d < select(0u, KEYS, FINAL || DECAYS); d++) {
    let own = vec4u(0u, 1u, 2u, 3u) == vec4u(d % 4u);
    if FINAL {
      @unroll for (var c = 0u; c < COLS; c++) {
        var x = vec4f();
        @unroll for (var i = 0u; i < KEYS; i++) { x = select(x, s[i][c], i == d); }
        store_state(row, d, 4u * (first_col + c * LANES), x);
      }
    }
    var sum = vec4f();
    var decay = vec4f();
    @unroll for (var i = 0u; i < D4; i++) {
      sum = select(sum, z[i], i == d / 4u);
      decay = select(decay, product[i], i == d / 4u);
    }
    if writes_rows {
      if FINAL { put_new_sums(row * KEYS + d, dot(select(vec4f(), sum, own), vec4f(1.0))); }
      if DECAYS { put_decays(row * KEYS + d, dot(select(vec4f(), decay, own), vec4f(1.0))); }
    }
  }
  if DECAYS {
    @unroll for (var c = 0u; c < COLS; c++) {
      @unroll for (var y = 0u; y < 4; y++) {
        let e = 4u * (first_col + c * LANES) + y;
        if e < VALUES { put_products(row * VALUES + e, value_product[c][y]); }
      }
    }
  }
}
`;
}
