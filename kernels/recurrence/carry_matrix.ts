import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";

/** What the pass between chunks that erase must know when it is compiled. */
export interface CarryMatrixConfig {
  /** K. */
  readonly keyDim: number;
  /** V. */
  readonly valueDim: number;
  /** Whether sequences start from given states, and whether those behind them are stored. */
  readonly initial: boolean;
  readonly final: boolean;
  /** Whether given and stored states have V before K. */
  readonly valueFirst: boolean;
}

/** Value channels of a workgroup. */
export const CARRY_MATRIX_COLUMNS = 4;
const THREADS = 64;

/** Loop iterations of an invocation for each chunk, those that end loops included. */
export function carryMatrixIterations(keyDim: number): number {
  return 1 + (Math.ceil(keyDim * CARRY_MATRIX_COLUMNS / THREADS) + 1) * (keyDim + 2);
}

const PARAMS: Readonly<Record<string, ParamType>> = {
  sequence0: "u32", // first sequence of this launch
  heads: "u32",
};

/**
 * The pass between chunks of a recurrence that erases: S <- M S + local, M what a chunk makes of the unit
 * matrix, in place. A workgroup has four columns of the state of a head, in workgroup memory.
 */
export function recurrenceCarryMatrix(config: CarryMatrixConfig): Program {
  const { keyDim, valueDim, initial, final, valueFirst } = config;
  const storage = (name: string, there = true): Binding[] =>
    there ? [{ name, access: "read_write", type: "array<f32>" }] : [];
  const bindings: Binding[] = [
    { name: "sequences", access: "read", type: "array<vec4u>" },
    ...storage("chunks"), // [chunks, heads, K, V]
    ...storage("transitions"), // [chunks, heads, K, K]
    ...storage("state", initial || final),
  ];
  const sizes = { THREADS, COLUMNS: CARRY_MATRIX_COLUMNS, KEYS: keyDim, VALUES: valueDim };
  const place = valueFirst ? "e * KEYS + d" : "d * VALUES + e";
  const main = /* wgsl */ `
const OWN = KEYS * COLUMNS;
var<workgroup> s: array<f32, 2u * OWN>; // what a chunk finds, and what the next one does

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sequence = sequences[params.sequence0 + tile.z]; // first chunk, one past the last, its state
  let base = (sequence.z * params.heads + tile.y) * KEYS * VALUES;
  let col = tile.x * COLUMNS;
  for (var i = lane; i < OWN; i += THREADS) {
    let d = i / COLUMNS;
    let e = col + i % COLUMNS;
    var x = 0.0;
    ${initial ? `if e < VALUES { x = state[base + ${place}]; }` : ""}
    s[i] = x;
  }
  var found = 0u; // where in s
  for (var n = sequence.x; n < sequence.y; n++) {
    workgroupBarrier();
    let row = n * params.heads + tile.y;
    for (var i = lane; i < OWN; i += THREADS) {
      let d = i / COLUMNS;
      let e = col + i % COLUMNS;
      var sum = 0.0;
      for (var x = 0u; x < KEYS; x++) {
        sum += transitions[(row * KEYS + d) * KEYS + x] * s[found + x * COLUMNS + i % COLUMNS];
      }
      if e < VALUES {
        let place = (row * KEYS + d) * VALUES + e;
        sum += chunks[place];
        chunks[place] = s[found + i];
      }
      s[OWN - found + i] = sum;
    }
    found = OWN - found;
  }
  workgroupBarrier();
  for (var i = lane; i < select(0u, OWN, ${final}); i += THREADS) {
    let d = i / COLUMNS;
    let e = col + i % COLUMNS;
    ${final ? `if e < VALUES { state[base + ${place}] = s[found + i]; }` : ""}
  }
}
`;
  const code = [constants(sizes), declare(bindings, PARAMS), main].join("\n");
  return { label: "recurrence (carry)", code, bindings, params: PARAMS, subgroups: false };
}
