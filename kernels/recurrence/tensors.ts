import type { Binding } from "../../gpu/program.ts";
import { snakeCase } from "../../gpu/program.ts";
import {
  type Accessor,
  aligned,
  type Elem,
  elementReader,
  reader,
  writer,
} from "../shared/rows.ts";
import { type RecurrenceConfig, stepReaders } from "./config.ts";

/** What one pass does with its segments. */
export interface LoopPass {
  /** Whether they start from a stored state instead of 0. */
  readonly initial: boolean;
  /** Whether the state behind them is stored. */
  readonly final: boolean;
  /** Whether outputs are written. */
  readonly outputs: boolean;
  /** Whether tokens write to the state; else they only read it. */
  readonly writes: boolean;
  /** Whether the products of their decays are stored. */
  readonly decays: boolean;
}

/** What reaches the tensors of a pass. */
export interface PassConfig extends RecurrenceConfig, LoopPass {}

/** Bindings, and the functions that reach them. */
export interface Parts {
  readonly bindings: readonly Binding[];
  readonly code: string;
}

/** Loads of rows, and the store of outputs; what a pass lacks reads as 0. */
export function inputsOf(config: PassConfig): Parts {
  const { elem, dim, keyDim, valueDim, gate, gateElem, valueGate, bonus, source } = config;
  const { step, lowerBounds, keyWeights, outputs, writes } = config;
  const rows = (name: string, width: number, stored: Elem | null = elem): Accessor | string =>
    stored === null
      ? `fn load_${snakeCase(name)}(row: u32, c: u32) -> vec4f { return vec4f(); }`
      : reader({ name, elem: stored, width }, source);
  const parts = [
    rows("q", dim, outputs ? elem : null),
    rows("k", dim, writes ? elem : null),
    rows("v", valueDim, writes ? elem : null),
    rows("g", keyDim, gate === "channel" ? gateElem : null),
    ...(gate === "token" || gate === "head" || gate === "step"
      ? [elementReader({ name: "g", elem: gateElem, width: 1 })]
      : gate === "channel" && !aligned(keyDim)
      ? [] // the reader of ragged rows has it
      : ["fn element_g(row: u32, d: u32) -> f32 { return 0.0; }"]),
    rows("gv", valueDim, valueGate),
    ...(step ? stepReaders(step) : []),
    ...(lowerBounds
      ? [reader({ name: "lowerBounds", elem: lowerBounds, width: dim }, "buffer")]
      : []),
    ...(keyWeights ? [elementReader({ name: "keyWeights", elem: keyWeights, width: 1 })] : []),
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
function skipReader({ step, valueDim, outputs }: PassConfig): (Accessor | string)[] {
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
export function storesOf(config: PassConfig): Parts {
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
