import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
  snakeCase,
} from "../../gpu/program.ts";
import { aligned, elementReader, type InputSource, reader, writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { DIRECT_ROWS, STAGED_ROWS } from "./block_rows.ts";
import {
  FAST_INPUTS,
  FAST_NAMES,
  FAST_PARAMS,
  type FastConfig,
  type FastTile,
  fastWidth,
  ROW_CODE,
} from "./config.ts";
import { fastStates } from "./states.ts";
import { type Matrices, walkMain } from "./walk_main.ts";

/** The description of the mathematics plus layout. */
export interface FastWalkConfig extends FastConfig, FastTile {
  /** Whether mini-batches may have more tokens than a block. */
  readonly long: boolean;
  /** Where rows are read. */
  readonly source: InputSource;
}

/** Which matrices are kept beside the weights. */
export function matricesOf(
  { rule, long, inputs, final }: Pick<FastWalkConfig, "rule" | "long" | "inputs" | "final">,
): Matrices {
  return rule === "ttt"
    ? { added: long, held: false }
    : { added: inputs.eta !== undefined || final, held: long };
}

/** vec4s of the rows of a slice. */
function sliceRows({ keyDim, slices }: Pick<FastWalkConfig, "keyDim" | "slices">): number {
  return Math.ceil(Math.ceil(keyDim / 4) / slices);
}

/** Bytes of workgroup memory. */
export function fastBytes(
  config: Pick<FastWalkConfig, "rule" | "keyDim" | keyof FastTile>,
): number {
  const { rule, columns, slices, tokens } = config;
  const rows = 2 * slices * sliceRows(config) + (slices + 1) * columns; // keys, queries, sums, errors
  const scalars = 4 * tokens * (rule === "titans" ? 2 : 1) + 16 + 3 * 8; // pairs, scores and rates
  return tokens * (16 * rows + scalars) + (rule === "ttt" ? 32 * columns : 0) + 16;
}

/** Most loop iterations of an invocation for a block of tokens, and for states in and out. */
export function fastIterations(
  config: Pick<FastWalkConfig, "rule" | "keyDim" | "group" | keyof FastTile>,
): { readonly block: number; readonly states: number } {
  const { rule, keyDim, columns, slices, tokens, group } = config;
  const lanes = columns * slices;
  const rows = 4 * sliceRows(config);
  const rounds = (items: number): number => Math.ceil(items / lanes) + 1;
  const staged = rounds(tokens * slices * sliceRows(config));
  const items = rounds(tokens * columns);
  const own = rounds(tokens); // a token an invocation
  const query = staged + rounds(tokens * tokens) * (Math.ceil(keyDim / 4) + 2) + tokens + 1 +
    items * (tokens + 2) + (rule === "ttt" ? own * (2 * columns + 3) + items : 0);
  const rest = staged + own + items + 3 * (tokens + 1) +
    own * (rule === "ttt" ? 4 * columns + 6 : tokens + 3);
  return { block: 1 + rest + group * query, states: 4 * (rows + 1) + 10 * rows };
}

/**
 * Weights that learn while a sequence is walked, in blocks of tokens.
 *
 * A workgroup has one state head of one segment of tokens, and columns of its matrices in registers: an
 * invocation owns some rows of four columns. The tokens of a block belong to one mini-batch, so that
 * their errors u_j need the matrices as the block finds them; with a matrix w and another, a,
 *
 * - o_i = x_i q_i w + y_i q_i a + Σ_{j<=i} p_ij (q_i · k_j) u_j
 * - w ← x w + y a + Σ_j f_j k_jᵀ u_j
 * - a ← z a + Σ_j g_j k_jᵀ u_j
 *
 * where the weights follow from the rates of the block alone. u_j is the gradient through the layer norm
 * (TTT), or v_j less what k_j reads (Titans).
 */
export function fastWalk(config: FastWalkConfig): Program {
  const { rule, inputs, elem, keyDim, valueDim, group, columns, slices, tokens, source } = config;
  const matrices = matricesOf(config);
  const accessors = FAST_NAMES.flatMap((name) => {
    const stored = inputs[name];
    if (stored === undefined) return [];
    const rows = { name, elem: stored, width: fastWidth(name, config) };
    return [FAST_INPUTS[name].width === "one" ? elementReader(rows) : reader(rows, source)];
  });
  const out = writer({ name: "out", elem, width: valueDim });
  const states = fastStates(config, matrices.added);
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...[...accessors, out].map(({ binding }) => binding),
    ...states.bindings,
  ];
  const params: Record<string, ParamType> = {
    ...FAST_PARAMS,
    ...Object.fromEntries(
      [...accessors, out].map(({ binding: { name } }) => [`${name}First`, "u32"]),
    ),
  };
  const k4 = Math.ceil(keyDim / 4);
  const r4 = sliceRows(config);
  const sizes = {
    LANES: columns * slices,
    ...{ COLUMNS: columns, SLICES: slices, TOKENS: tokens, GROUP: group },
    ...{ KEYS: keyDim, VALUES: valueDim, K4: k4, V4: Math.ceil(valueDim / 4) },
    R4: r4, // vec4s of the rows of a slice
    KP4: r4 * slices, // those of a key, zeros behind it included
    ROWS: 4 * r4,
  };
  const staged = source === "buffer" || !aligned(keyDim) || r4 * slices > k4;
  const flags = { INITIAL: config.initial, FINAL: config.final, PARTED: config.parted };
  const code = [
    constants({ ...sizes, ...flags }),
    declare(bindings, params),
    ROW_CODE,
    ...accessors.map((accessor) => accessor.code),
    ...missingRates(inputs),
    out.code,
    states.code,
    unroll(walkMain(rule, matrices, staged ? STAGED_ROWS : DIRECT_ROWS), sizes),
  ].join("\n");
  return { label: `fastWeights (${rule})`, code, bindings, params, subgroups: false };
}

/** Rates that are not there are 0. */
export function missingRates(inputs: FastConfig["inputs"]): string[] {
  return (["eta", "alpha"] as const).filter((name) => inputs[name] === undefined)
    .map((name) => `fn element_${snakeCase(name)}(row: u32, d: u32) -> f32 { return 0.0; }`);
}
