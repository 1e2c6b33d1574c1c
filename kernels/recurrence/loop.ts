import { type Binding, constants, declare, type Program, snakeCase } from "../../gpu/program.ts";
import {
  type Accessor,
  aligned,
  type Elem,
  elementReader,
  reader,
  writer,
} from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import {
  featureCode,
  RECURRENCE_PARAMS,
  type RecurrenceConfig,
  stepCode,
  stepReaders,
} from "./config.ts";

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

/** What one pass does with its segments. */
export interface LoopPass {
  /** Whether they start from a stored state instead of 0. */
  readonly initial: boolean;
  /** Whether the state behind them is stored. */
  readonly final: boolean;
  /** Whether outputs are written. */
  readonly outputs: boolean;
  /** Whether the products of their decays are stored. */
  readonly decays: boolean;
}

/** The description of the mathematics plus layout and pass. */
export interface LoopConfig extends RecurrenceConfig, LoopTile, LoopPass {}

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
    featureCode(config.featureMap),
    stepCode(config.step),
    COMMON,
    unroll(mainText(config), sizes),
  ].join("\n");
  const label = `recurrence (${outputs ? "loop" : "chunk states"}, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange === "subgroup" };
}

interface Parts {
  readonly bindings: readonly Binding[];
  readonly code: string;
}

/** Loads of rows, and the store of outputs; what a pass lacks reads as 0. */
function inputsOf(config: LoopConfig): Parts {
  const { elem, keyDim, valueDim, gate, gateElem, valueGate, bonus, source, outputs } = config;
  const { step } = config;
  const rows = (name: string, width: number, stored: Elem | null = elem): Accessor | string =>
    stored === null
      ? `fn load_${snakeCase(name)}(row: u32, c: u32) -> vec4f { return vec4f(); }`
      : reader({ name, elem: stored, width }, source);
  const parts = [
    rows("q", keyDim, outputs ? elem : null),
    rows("k", keyDim),
    rows("v", valueDim),
    rows("g", keyDim, gate === "channel" ? gateElem : null),
    ...(gate === "token" || gate === "head" || gate === "step"
      ? [elementReader({ name: "g", elem: gateElem, width: 1 })]
      : gate === "channel" && !aligned(keyDim)
      ? [] // the reader of ragged rows has it
      : ["fn element_g(row: u32, d: u32) -> f32 { return 0.0; }"]),
    rows("gv", valueDim, valueGate),
    ...(step ? stepReaders(step) : []),
    ...skipReader(config),
    rows("outGate", valueDim, outputs && step ? step.outGate : null),
    rows("u", keyDim, outputs ? bonus : null),
    outputs
      ? writer({ name: "out", elem, width: valueDim })
      : "fn store_out(row: u32, c: u32, x: vec4f) {}",
  ];
  return {
    bindings: parts.flatMap((part) => typeof part === "string" ? [] : [part.binding]),
    code: parts.map((part) => typeof part === "string" ? part : part.code).join("\n"),
  };
}

/** `skip_of(head, col)`: the weights of the input in the output. */
function skipReader({ step, valueDim, outputs }: LoopConfig): (Accessor | string)[] {
  const head = "fn skip_of(head: u32, col: u32) -> vec4f";
  if (!step?.skip || !outputs) return [`${head} { return vec4f(); }`];
  const { skip: elem, skipChannels } = step;
  return skipChannels
    ? [
      reader({ name: "skip", elem, width: valueDim }, "buffer"),
      `${head} { return load_skip(head, col); }`,
    ]
    : [
      elementReader({ name: "skip", elem, width: 1 }),
      `${head} { return vec4f(element_skip(head, 0u)); }`,
    ];
}

/** Loads and stores of states and decays, element by element. */
function storesOf(config: LoopConfig): Parts {
  const { initial, final, normalize, decays, valueGate, valueFirst } = config;
  const states = initial || final;
  const array = (name: string, there: boolean): { binding: Binding[]; code: string } => ({
    binding: there ? [{ name, access: "read_write", type: "array<f32>" }] : [],
    code: there
      ? `fn get_${snakeCase(name)}(at: u32) -> f32 { return ${snakeCase(name)}[at]; }
fn put_${snakeCase(name)}(at: u32, x: f32) { ${snakeCase(name)}[at] = x; }`
      : `fn get_${snakeCase(name)}(at: u32) -> f32 { return 0.0; }
fn put_${snakeCase(name)}(at: u32, x: f32) {}`,
  });
  const arrays = [
    array("state", states),
    // every block of columns reads the sums, one writes them: elsewhere
    array("sums", initial && normalize),
    array("newSums", final && normalize),
    array("decays", decays && config.gate !== "none"),
    array("products", decays && valueGate !== null),
  ];
  const place = valueFirst ? "(row * VALUES + e) * KEYS + d" : "(row * KEYS + d) * VALUES + e";
  return {
    bindings: arrays.flatMap(({ binding }) => binding),
    code: [
      ...arrays.map(({ code }) => code),
      `/// A value channel of a state at key channel d, where there is one.
fn load_channel(row: u32, d: u32, e: u32) -> f32 {
  if e >= VALUES { return 0.0; }
  return get_state(${place});
}
fn store_channel(row: u32, d: u32, e: u32, x: f32) {
  if e < VALUES { put_state(${place}, x); }
}
/// Four value channels from e on.
fn load_state(row: u32, d: u32, e: u32) -> vec4f {
  return vec4f(load_channel(row, d, e), load_channel(row, d, e + 1u),
    load_channel(row, d, e + 2u), load_channel(row, d, e + 3u));
}
fn store_state(row: u32, d: u32, e: u32, x: vec4f) {
  store_channel(row, d, e, x.x);
  store_channel(row, d, e + 1u, x.y);
  store_channel(row, d, e + 2u, x.z);
  store_channel(row, d, e + 3u, x.w);
}`,
    ].join("\n"),
  };
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
fn decays_of(g: vec4f) -> vec4f { return exp2(LOG2E * max(g, vec4f(LEAST_GATE))); }

/// Features of channels 4 d to 4 d + 3; there are none behind the last channel.
fn features(x: vec4f, d: u32) -> vec4f {
  let there = vec4u(4u * d) + vec4u(0u, 1u, 2u, 3u) < vec4u(KEYS);
  return select(vec4f(), vec4f(feature(x.x), feature(x.y), feature(x.z), feature(x.w)), there);
}
/// Forget gates, at least the lower bound; the keys are what they leave of 1.
fn forget_gates(f: vec4f) -> vec4f {
  let x = vec4f(sigmoid(f.x), sigmoid(f.y), sigmoid(f.z), sigmoid(f.w));
  return params.lower_bound + (1.0 - params.lower_bound) * x;
}
fn forget_keys(f: vec4f, d: u32) -> vec4f {
  let there = vec4u(4u * d) + vec4u(0u, 1u, 2u, 3u) < vec4u(KEYS);
  let x = vec4f(sigmoid(-f.x), sigmoid(-f.y), sigmoid(-f.z), sigmoid(-f.w));
  return select(vec4f(), (1.0 - params.lower_bound) * x, there);
}

fn silu(x: vec4f) -> vec4f {
  return x * vec4f(sigmoid(x.x), sigmoid(x.y), sigmoid(x.z), sigmoid(x.w));
}

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

function mainText({ exchange, bonus }: LoopConfig): string {
  const { declare, before, after, own, shared } = EXCHANGES[exchange];
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
    var step = 1.0;
    if TOKEN_GATE { own_gate = decay_of(element_g(own_row, 0u)); }
    if STEP_GATE {
      step = step_of(element_g(own_row, 0u), head);
      own_gate = decay_of_step(step, head);
    }
    @unroll for (var d = 0u; d < D4; d++) {
      let key = load_k(own * params.k_heads + k_head, d);
      if FORGET_GATE {
        ${own.k} = forget_keys(key, d);
        ${own.e} = forget_gates(key);
      } else {
        ${own.k} = step * features(key, d);
        if CHANNEL_GATE { ${own.e} = decays_of(load_g(own_row, d)); }
      }
      if OUTPUTS {
        @unroll for (var r = 0u; r < GROUP; r++) {
          let q_head = (head * GROUP + r) * params.q_heads / (params.heads * GROUP);
          ${own.q} = features(load_q(own * params.q_heads + q_head, d), d);
        }
      }
    }
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
        ${bonus === null ? WRITE + read(shared.q) : read(shared.q) + WRITE}
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
