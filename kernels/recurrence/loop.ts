import { type Binding, constants, declare, type Program } from "../../gpu/program.ts";
import { type Owned, ownWriter } from "../shared/own.ts";
import { unroll } from "../unroll.ts";
import { formCode, GATE_CODE, RECURRENCE_PARAMS, stepCode } from "./config.ts";
import { blocksMain } from "./blocks.ts";
import { columnCode } from "./columns.ts";
import { featureCode } from "./features.ts";
import { inputReaders } from "./inputs.ts";
import { FUNCTIONS, loopMain } from "./loop_main.ts";
import { rowFunctions } from "./own_rows.ts";
import type { PassConfig } from "./pass.ts";
import { storesOf } from "./states.ts";
import { seriesMain } from "./series.ts";
import { touchText } from "./touch_rows.ts";

const OUT_PARAMS = { outFirst: "u32" } as const;

/** How a workgroup is laid out. */
export interface LoopTile extends Owned {
  /**
   * How the rows of a token reach the columns: through a subgroup, by `subgroupShuffle` in a loop or by
   * `subgroupBroadcast` in unrolled text; through workgroup memory; or through a subgroup for blocks of
   * tokens, whose scores are computed first.
   */
  readonly exchange: "subgroup" | "broadcast" | "workgroup" | "blocks";
  /** Invocations of a workgroup. */
  readonly lanes: number;
  /** Columns of the state that an invocation has, each of as many channels as it owns in a row. */
  readonly columns: number;
  /** Tokens that are loaded at a time, at most one for each lane. */
  readonly tokens: number;
}

/** The description of the mathematics plus layout and pass. */
export interface LoopConfig extends PassConfig, LoopTile {}

/** Value channels of a workgroup. */
export function channelsOfWorkgroup({ lanes, columns, own }: LoopTile): number {
  return lanes * columns * own;
}

/** Loop iterations of an invocation that loads and stores a state, those that end loops included. */
export function stateIterations({ keyDim }: Pick<LoopConfig, "keyDim">): number {
  return 2 * (Math.ceil(keyDim / 4) + 1);
}

/** Loop iterations of an invocation per tile of tokens, those that end loops included. */
export function loopIterations({ exchange, tokens }: LoopTile): number {
  return exchange === "subgroup" || exchange === "workgroup" ? tokens + 2 : 1;
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
  const { inputs, elem, keyDim, valueDim, group, gate, outputs, writes } = config;
  const { exchange, lanes, columns, own, tokens } = config;
  const needed = { outputs, writes };
  const readers = inputReaders(config, (kind) => needed[kind.for]);
  const out = outputs ? ownWriter({ name: "out", elem, width: valueDim }, config) : null;
  const stores = storesOf(config);
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...readers.bindings,
    ...(out ? [out.binding] : []),
    ...stores.bindings,
  ];
  const params = { ...RECURRENCE_PARAMS, ...readers.params, ...(out && OUT_PARAMS) };
  const d4 = Math.ceil(keyDim / 4);
  const sizes = {
    LANES: lanes,
    COLS: columns, // of an invocation
    OWN: own, // channels of a column
    TOKENS: tokens,
    GROUP: group,
    KEYS: keyDim,
    VALUES: valueDim,
    D4: d4,
    K4: 4 * d4, // rows of the state
    DIM: config.dim,
    R4: Math.ceil(config.dim / 4), // vec4 of a row of q and k
    SUBSTEPS: config.substeps,
    VALUE_COLS: Math.ceil(valueDim / own),
  };
  const flags = {
    HEAD_GATE: gate === "head",
    TOKEN_GATE: gate === "token",
    STEP_GATE: gate === "step",
    CHANNEL_GATE: gate === "channel" || gate === "forget",
    FORGET_GATE: gate === "forget",
    GATED: gate !== "none",
    VALUE_GATE: inputs.gv !== undefined,
    BONUS: inputs.u !== undefined,
    NORMALIZE: config.normalize,
    BETA: inputs.beta !== undefined,
    WRITE_GATE: inputs.writeGate !== undefined,
    ERASE_ROWS: inputs.p !== undefined || inputs.eraseGate !== undefined,
    PAIR: config.erase === "pair",
    REVERSE: config.reverse,
    INITIAL: config.initial,
    IDENTITY: config.identity,
    FINAL: config.final,
    SKIP: inputs.skip !== undefined || inputs.skipRows !== undefined,
    OUT_GATE: inputs.outGate !== undefined,
    OUTPUTS: outputs,
    CENTER: config.center,
    DECAYS: config.decays,
  };
  const main = config.series
    ? seriesMain(config)
    : exchange === "blocks"
    ? blocksMain(config)
    : loopMain({ ...config, exchange });
  const code = [
    constants({ ...sizes, ...flags }),
    declare(bindings, params),
    columnCode(config),
    readers.code,
    out?.code ?? "fn store_out(row: u32, c: u32, x: Own) {}",
    touchText(config).code,
    stores.code,
    GATE_CODE,
    featureCode(config.featureMap),
    stepCode(config),
    formCode(config),
    rowFunctions(config),
    FUNCTIONS,
    unroll(main, sizes),
  ].join("\n");
  const walk = config.series ? "series" : outputs ? "loop" : "chunk states";
  const label = `recurrence (${walk}, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange !== "workgroup" };
}
