import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { GATE_CODE } from "../recurrence/config.ts";
import { type Elem, elementReader } from "../shared/rows.ts";

/** What the pass between chunks must know when it is compiled. */
export interface SelectiveCarryConfig {
  /** Storage of a. */
  readonly elem: Elem;
  readonly channels: number;
  readonly states: number;
  /** Whether sequences start from given states, and whether those behind them are stored. */
  readonly initial: boolean;
  readonly final: boolean;
}

/** Invocations of a workgroup. */
export const SELECTIVE_CARRY_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch, counted over all sequences
  end: "u32",
  ratesFirst: "u32",
};

/**
 * Turns what each chunk adds to the states into what each chunk finds, in place, one state an
 * invocation: a chunk decays a state by e^(a Σ Δ), so that the sum of its step sizes is all it leaves.
 */
export function selectiveCarry(config: SelectiveCarryConfig): Program {
  const { elem, channels, states, initial, final } = config;
  const rates = elementReader({ name: "rates", elem, width: states });
  const storage = (name: string, there = true): Binding[] =>
    there ? [{ name, access: "read_write", type: "array<f32>" }] : [];
  const bindings: Binding[] = [
    { name: "sequences", access: "read", type: "array<vec4u>" },
    rates.binding,
    ...storage("chunks"), // [chunks, C, N]
    ...storage("steps"), // [chunks, C]
    ...storage("state", initial || final), // [sequences, C, N]
  ];
  const sizes = { THREADS: SELECTIVE_CARRY_THREADS, CHANNELS: channels, STATES: states };
  const code = [
    constants(sizes),
    declare(bindings, PARAMS),
    GATE_CODE,
    rates.code,
    MAIN
      .replace("GIVEN", initial ? "state[place]" : "0.0")
      .replace("STORE", final ? "state[place] = h;" : ""),
  ].join("\n");
  return { label: "selectiveScan (carry)", code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let items = CHANNELS * STATES;
  let item = id % items;
  let channel = item / STATES;
  let sequence = sequences[id / items]; // first chunk, one past the last, its states
  let place = sequence.z * items + item;
  let rate = element_rates(channel, item % STATES);
  var h = GIVEN;
  for (var i = sequence.x; i < sequence.y; i++) {
    let added = chunks[i * items + item];
    chunks[i * items + item] = h;
    h = fma(decay_of(rate * steps[i * CHANNELS + channel]), h, added);
  }
  STORE
}
`;
