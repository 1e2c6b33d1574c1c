import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";

/** What the sum of partial diagonal sums must know when it is compiled. */
export interface JoinDiagonalsConfig {
  /** Tokens of a side of the square tiles. */
  readonly tile: number;
}

/** Invocations of a workgroup. */
export const JOIN_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first element of this launch
  end: "u32",
  qLen: "u32",
  heads: "u32",
  diagonals: "u32",
  slots: "u32", // diagonals of tiles
};

const BINDINGS: readonly Binding[] = [
  { name: "partial", access: "read", type: "array<f32>" }, // [B, Hq, slots, 2 X]
  { name: "sums", access: "read_write", type: "array<f32>" }, // [B, T + S - 1, Hq]
];

/** Adds what the two diagonals of tiles that share a diagonal have of it, an invocation for each sum. */
export function joinDiagonals({ tile }: JoinDiagonalsConfig): Program {
  const code = [
    constants({ THREADS: JOIN_THREADS, X: tile }),
    declare(BINDINGS, PARAMS),
    MAIN,
  ].join("\n");
  return {
    ...{ label: "attention statistics (join)", code },
    ...{ bindings: BINDINGS, params: PARAMS, subgroups: false },
  };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let h = id % params.heads;
  let n = id / params.heads % params.diagonals;
  let b = id / params.heads / params.diagonals;
  let first = (b * params.heads + h) * params.slots;
  // counted from the lower left tile, whose diagonals are the second to the last of its 2 X
  let from_corner = n + (params.q_len + X - 1u) / X * X - params.q_len + 1u;
  let slot = from_corner / X;
  let i = from_corner % X;
  var sum = 0.0;
  if slot < params.slots { sum = partial[(first + slot) * 2u * X + i]; }
  if slot > 0u { sum += partial[(first + slot - 1u) * 2u * X + X + i]; }
  sums[id] = sum;
}
`;
