import { type Binding, type ParamType, snakeCase } from "../../gpu/program.ts";
import { type Owned, ownReader } from "../shared/own.ts";
import { type Accessor, elementReader, reader } from "../shared/rows.ts";
import type { RecurrenceConfig } from "./config.ts";

/** How kernels read a tensor. */
export interface InputKind {
  /** vec4 by vec4 of a row, or element by element. */
  readonly read: "row" | "element";
  /** Whether it has rows for each token, for each of its writes, for each head, or for each state. */
  readonly per: "token" | "write" | "head" | "state";
  /** Elements of a row: channels of q and k, their features, channels of v, or one. */
  readonly width: "dim" | "keys" | "values" | "one";
  /** Whether tokens need it to write to the state, or to compute outputs. */
  readonly for: "writes" | "outputs";
}

/** The tensors of a recurrence but its output and its states. */
export type InputName =
  | "q"
  | "k"
  | "v"
  | "headGate" // of state heads
  | "g" // of their tokens; or step sizes
  | "gk" // of their key channels
  | "gv" // of value channels
  | "u" // the bonus of a token's own key
  | "lowerBounds" // of forget gates
  | "keyWeights" // behind each, where the divisor is a magnitude, the least one of a token
  | "aLog" // of gates that are given by softplus or sigmoid
  | "gateBias" // of heads
  | "gateBiasRows" // or of their key channels
  | "p" // reads what is erased
  | "b" // writes what is erased
  | "beta" // of writes
  | "eraseGate" // p is the key times it
  | "writeGate" // of value channels
  | "rates" // of step sizes
  | "stepBias"
  | "skip" // weights of the input in the output, of heads
  | "skipRows" // or of their channels
  | "outGate"
  | "totals"; // sums of all values

/** How kernels read them. */
export const INPUTS: Readonly<Record<InputName, InputKind>> = {
  q: { read: "row", per: "token", width: "dim", for: "outputs" },
  k: { read: "row", per: "write", width: "dim", for: "writes" },
  v: { read: "row", per: "write", width: "values", for: "writes" },
  headGate: { read: "element", per: "head", width: "one", for: "writes" },
  g: { read: "element", per: "token", width: "one", for: "writes" },
  gk: { read: "row", per: "token", width: "keys", for: "writes" },
  gv: { read: "row", per: "token", width: "values", for: "writes" },
  u: { read: "row", per: "head", width: "keys", for: "outputs" },
  lowerBounds: { read: "row", per: "head", width: "dim", for: "writes" },
  keyWeights: { read: "element", per: "write", width: "one", for: "writes" },
  aLog: { read: "element", per: "head", width: "one", for: "writes" },
  gateBias: { read: "element", per: "head", width: "one", for: "writes" },
  gateBiasRows: { read: "row", per: "head", width: "keys", for: "writes" },
  p: { read: "row", per: "write", width: "keys", for: "writes" },
  b: { read: "row", per: "write", width: "keys", for: "writes" },
  beta: { read: "element", per: "write", width: "one", for: "writes" },
  eraseGate: { read: "row", per: "write", width: "keys", for: "writes" },
  writeGate: { read: "row", per: "write", width: "values", for: "writes" },
  rates: { read: "element", per: "head", width: "one", for: "writes" },
  stepBias: { read: "element", per: "head", width: "one", for: "writes" },
  skip: { read: "element", per: "head", width: "one", for: "outputs" },
  skipRows: { read: "row", per: "head", width: "values", for: "outputs" },
  outGate: { read: "row", per: "token", width: "values", for: "outputs" },
  totals: { read: "row", per: "state", width: "values", for: "outputs" },
};

/** Something for each input that is there. */
export type Inputs<T> = Readonly<Partial<Record<InputName, T>>>;

/** All names, in the order of their bindings. */
export const INPUT_NAMES = Object.keys(INPUTS) as readonly InputName[];

type Widths = Pick<RecurrenceConfig, "dim" | "keyDim" | "valueDim">;

/** Elements of a row of an input. */
export function inputWidth(name: InputName, { dim, keyDim, valueDim }: Widths): number {
  return { dim, keys: keyDim, values: valueDim, one: 1 }[INPUTS[name].width];
}

/** Whether there are rows for each token or for each of its writes. */
export function isPerToken(per: InputKind["per"]): boolean {
  return per === "token" || per === "write";
}

/** Bindings, and the functions that reach them. */
export interface Parts {
  readonly bindings: readonly Binding[];
  readonly code: string;
}

/**
 * `load_<name>(row, c)` or `element_<name>(row, d)`, and `row_<name>(token, head)`, of every input; what is
 * not there reads as 0. Rows of value channels are loaded by columns that are owned, others by vec4s.
 */
export function inputReaders(
  config: RecurrenceConfig & Owned,
  used: (kind: InputKind) => boolean,
): InputParts {
  return parts((name) => {
    const { read, per, width } = INPUTS[name];
    const elem = config.inputs[name];
    if (elem === undefined || !used(INPUTS[name])) return missing(name);
    const rows = { name, elem, width: inputWidth(name, config) };
    if (read === "element") return elementReader(rows);
    const source = isPerToken(per) ? config.source : "buffer";
    return width === "values" ? ownReader(rows, config, source) : reader(rows, source);
  });
}

/** `element_<name>(row, d)` and `row_<name>(token, head)` of every input that is there. */
export function elementReaders(config: Omit<RecurrenceConfig, "source">): InputParts {
  return parts((name) => {
    const elem = config.inputs[name];
    return elem ? elementReader({ name, elem, width: inputWidth(name, config) }) : "";
  });
}

/** Bindings and functions of inputs, and the parameters that tell where their rows are. */
export interface InputParts extends Parts {
  readonly params: Readonly<Record<string, ParamType>>;
}

function parts(accessorOf: (name: InputName) => Accessor | string): InputParts {
  const read = INPUT_NAMES.map((name) => ({ name, accessor: accessorOf(name) }));
  const there = read.filter(({ accessor }) => typeof accessor !== "string");
  return {
    bindings: read.flatMap(({ accessor }) =>
      typeof accessor === "string" ? [] : [accessor.binding]
    ),
    code: read.map(({ name, accessor }) =>
      typeof accessor === "string" ? accessor : `${accessor.code}\n${rowOf(name)}`
    ).join("\n"),
    params: Object.fromEntries(
      there.flatMap(({ name }) => [[`${name}First`, "u32"], [`${name}Heads`, "u32"]]),
    ),
  };
}

/** The row of a token (or write) and head; those of queries are output heads. */
function rowOf(name: InputName): string {
  const { per } = INPUTS[name];
  const id = snakeCase(name);
  const token = isPerToken(per) ? `token * params.${id}_heads + ` : "";
  const heads = name === "q" ? "(params.heads * GROUP)" : "params.heads";
  return `fn row_${id}(token: u32, head: u32) -> u32 {
  return ${token}head * params.${id}_heads / ${heads};
}`;
}

function missing(name: InputName): string {
  const id = snakeCase(name);
  const row = `fn row_${id}(token: u32, head: u32) -> u32 { return 0u; }`;
  const type = INPUTS[name].width === "values" ? "Own" : "vec4f";
  return INPUTS[name].read === "row"
    ? `fn load_${id}(row: u32, c: u32) -> ${type} { return ${type}(); }\n${row}`
    : `fn element_${id}(row: u32, d: u32) -> f32 { return 0.0; }\n${row}`;
}
