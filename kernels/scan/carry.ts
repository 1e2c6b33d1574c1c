import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { ELEMENTS, SCAN_THREADS, type ScanKind } from "./element.ts";

/** What the pass between chunks must know when it is compiled. */
export interface ScanCarryConfig {
  readonly kind: ScanKind;
  /** Whether sequences start from given elements, and whether those behind them are stored. */
  readonly initial: boolean;
  readonly final: boolean;
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first invocation of this launch, counted over all sequences
  end: "u32",
  items: "u32", // of a token: heads times vec4 columns
};

/** Turns the elements of chunks into what each chunk finds, in place, four channels an invocation. */
export function scanCarry({ kind, initial, final }: ScanCarryConfig): Program {
  const bindings: Binding[] = [
    { name: "sequences", access: "read", type: "array<vec4u>" },
    { name: "chunks", access: "read_write", type: "array<Element>" }, // [chunks, items]
    { name: "elements", access: "read_write", type: "array<Element>" }, // [sequences, items]
  ];
  const code = [
    constants({ THREADS: SCAN_THREADS, INITIAL: initial, FINAL: final }),
    ELEMENTS[kind].code,
    declare(bindings, PARAMS),
    MAIN,
  ].join("\n");
  return { label: `${kind} (carry)`, code, bindings, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let item = id % params.items;
  let sequence = sequences[id / params.items]; // first chunk, one past the last, its element
  let place = sequence.z * params.items + item;
  var sum = identity();
  if INITIAL { sum = elements[place]; }
  for (var n = sequence.x; n < sequence.y; n++) {
    let chunk = chunks[n * params.items + item];
    chunks[n * params.items + item] = sum;
    sum = combined(sum, chunk);
  }
  if FINAL { elements[place] = sum; }
}
`;
