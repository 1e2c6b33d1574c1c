import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { GATE_CODE } from "../recurrence/config.ts";
import { ownReader, ownWriter } from "../shared/own.ts";
import { type Elem, elementReader, reader } from "../shared/rows.ts";
import { lineOf, NO_TOUCH, touchCode } from "../shared/touch.ts";
import { unroll } from "../unroll.ts";
import {
  SELECTIVE_INPUTS,
  SELECTIVE_NAMES,
  type SelectiveConfig,
  type SelectiveInput,
  type SelectivePass,
  type SelectiveTile,
  selectiveWidth,
} from "./config.ts";
import { SELECTIVE_EXCHANGES } from "./exchange.ts";
import {
  missingReader,
  ownCode,
  pairedReader,
  type Part,
  stateAccessor,
  stepsAccessor,
} from "./own.ts";
import { arePaired, PAIR_READER } from "./pairs.ts";
import { walkMain } from "./walk_main.ts";

/** The description of the mathematics plus layout and pass. */
export interface SelectiveWalkConfig extends SelectiveConfig, SelectivePass, SelectiveTile {
  /** Storage of the output. */
  readonly elem: Elem;
}

/** Loop iterations of an invocation per tile of tokens, those that end loops included. */
export function walkIterations(
  { exchange, tokens }: Pick<SelectiveTile, "exchange" | "tokens">,
): number {
  return exchange === "broadcast" ? 1 : tokens + 2;
}

/** Bytes of workgroup memory that the rows of a token take. */
export function stagedBytes({ states }: Pick<SelectiveConfig, "states">): number {
  return 2 * 16 * Math.ceil(states / 4);
}

/**
 * The selective scan token by token, the states in registers.
 *
 * A workgroup has one segment of tokens and a block of channels; an invocation owns one or four of
 * them with all their states, so that a token needs no reduction. b and c are the same for all
 * channels: each invocation loads those of one of the next tokens, and they are handed round.
 */
export function selectiveWalk(config: SelectiveWalkConfig): Program {
  const { elem, channels, states, inputs, softplus, reverse, source } = config;
  const { exchange, lanes, own, tokens, initial, final, outputs } = config;
  const out = { name: "out", elem, width: channels };
  const reached: Part[] = [
    ...(arePaired(config) ? [PAIR_READER] : []),
    ...SELECTIVE_NAMES.map((name) => inputReader(config, name)),
    outputs ? ownWriter(out, { own }) : { code: "fn store_out(row: u32, c: u32, x: Own) {}" },
    stateAccessor({ own }, initial || final), // [states of segments, C, N]
    stepsAccessor({ own }, !outputs), // [segments, C]
  ];
  const bindings: Binding[] = [
    { name: "segments", access: "read", type: "array<vec4u>" },
    ...reached.flatMap((part) => "binding" in part ? [part.binding] : []),
  ];
  const rows = bindings.filter(({ name }) => name === "out" || name in inputs);
  const params: Record<string, ParamType> = {
    segment0: "u32", // first segment and first block of channels of this launch
    tile0: "u32",
    ...Object.fromEntries(rows.map(({ name }) => [`${name}First`, "u32"])),
  };
  const sizes = {
    LANES: lanes,
    TOKENS: tokens,
    CHANNELS: channels,
    COLS: Math.ceil(channels / own), // what invocations own, in all
    STATES: states,
    N4: Math.ceil(states / 4),
    LINE: lineOf(out),
  };
  const flags = {
    REVERSE: reverse,
    SOFTPLUS: softplus,
    OUT_GATE: outputs && inputs.outGate !== undefined,
    OUTPUTS: outputs,
    INITIAL: initial,
    FINAL: final,
  };
  const code = [
    constants({ ...sizes, ...flags }),
    declare(bindings, params),
    GATE_CODE,
    ownCode({ own }),
    ...reached.map((part) => part.code),
    outputs && own === 4 ? touchCode(out, source) : NO_TOUCH,
    SELECTIVE_EXCHANGES[exchange].memory,
    unroll(walkMain(exchange), sizes),
  ].join("\n");
  const label = `selectiveScan (${outputs ? "walk" : "chunk states"}, ${exchange})`;
  return { label, code, bindings, params, subgroups: exchange !== "workgroup" };
}

/** `load_<name>(row, c)`, or `element_rates(row, n)`; what a pass does not need reads as 0. */
function inputReader(config: SelectiveWalkConfig, name: SelectiveInput): Part {
  const { inputs, outputs, own } = config;
  const { per, width, outputs: late } = SELECTIVE_INPUTS[name];
  const elem = inputs[name];
  const type = width === "states" ? "vec4f" : "Own";
  if (elem === undefined || (late && !outputs)) return missingReader(name, type);
  if (per === "call" && arePaired(config)) return pairedReader(name, { own });
  const rows = { name, elem, width: selectiveWidth(name, config) };
  if (per === "channel") return elementReader(rows);
  const source = per === "token" ? config.source : "buffer";
  return width === "states" ? reader(rows, source) : ownReader(rows, { own }, source);
}
