import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";

/** What the pass between chunks must know when it is compiled. */
export interface CarryConfig {
  /** K. */
  readonly keyDim: number;
  /** V, or 1 for the running sum of the keys. */
  readonly valueDim: number;
  /** Whether chunks have decays of key channels, and of value channels. */
  readonly gated: boolean;
  readonly valueGated: boolean;
  /** Whether sequences start from given states, and whether those behind them are stored. */
  readonly initial: boolean;
  readonly final: boolean;
  /** Whether given and stored states have V before K. */
  readonly valueFirst: boolean;
}

/** Invocations of a workgroup. */
export const CARRY_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  sequence0: "u32", // first sequence of this launch
  heads: "u32",
};

/**
 * Turns what each chunk adds to the state into the state that each chunk finds, in place, and stores
 * the state behind the last: S <- diag(decay) S diag(products) + local, one element an invocation.
 */
export function recurrenceCarry(config: CarryConfig): Program {
  const { keyDim, valueDim, gated, valueGated, initial, final, valueFirst } = config;
  const storage = (name: string, there = true): Binding[] =>
    there ? [{ name, access: "read_write", type: "array<f32>" }] : [];
  const bindings: Binding[] = [
    { name: "sequences", access: "read", type: "array<vec4u>" },
    ...storage("chunks"),
    ...storage("decays", gated),
    ...storage("products", valueGated),
    ...storage("state", initial || final),
  ];
  const code = [
    constants({ THREADS: CARRY_THREADS, KEYS: keyDim, VALUES: valueDim }),
    declare(bindings, PARAMS),
    MAIN
      .replace("PLACE", valueFirst ? "e * KEYS + d" : "i")
      .replace("GIVEN", initial ? "state[place]" : "0.0")
      .replace("STORE", final ? "state[place] = s;" : "")
      .replace("DECAY", gated ? "decays[row * KEYS + d] * " : "")
      .replace("PRODUCT", valueGated ? "products[row * VALUES + e] * " : ""),
  ].join("\n");
  return { label: "recurrence (carry)", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let i = at.x;
  if i >= KEYS * VALUES { return; }
  let d = i / VALUES;
  let e = i % VALUES;
  let sequence = sequences[params.sequence0 + at.z]; // first chunk, one past the last, its state
  let place = (sequence.z * params.heads + at.y) * KEYS * VALUES + PLACE;
  var s = GIVEN;
  for (var n = sequence.x; n < sequence.y; n++) {
    let row = n * params.heads + at.y;
    let local = chunks[row * KEYS * VALUES + i];
    chunks[row * KEYS * VALUES + i] = s;
    s = PRODUCTDECAYs + local;
  }
  STORE
}
`;
