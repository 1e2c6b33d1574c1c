import type { Binding, ParamType } from "../../gpu/program.ts";
import { GATE_CODE } from "../recurrence/config.ts";
import {
  type Accessor,
  elementReader,
  type InputSource,
  reader,
  type Rows,
} from "../shared/rows.ts";
import type { LogLinearConfig, LogLinearInput } from "./config.ts";

/** WGSL that reaches tensors, their bindings, and the parameters that it needs. */
export interface Parts {
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, ParamType>>;
  readonly code: string;
}

/** Elements of a row of an input. */
export function inputWidth(
  name: LogLinearInput,
  { keyDim, valueDim, levels }: Pick<LogLinearConfig, "keyDim" | "valueDim" | "levels">,
): number {
  return { q: keyDim, k: keyDim, v: valueDim, g: 1, lambda: levels }[name];
}

/**
 * Makes `load_<name>(row, c)` of rows and `element_<name>(row, d)` of elements, `row_<name>(token, head)`
 * and `gate_at(token, head)`; heads are those of states, but the output's for q.
 */
export function inputParts(
  config: LogLinearConfig,
  { rows, elements, source = "buffer" }: {
    readonly rows: readonly LogLinearInput[];
    readonly elements: readonly LogLinearInput[];
    /** Where rows are read. */
    readonly source?: InputSource;
  },
): Parts {
  const rowsOf = (name: LogLinearInput): Rows => ({
    ...{ name, elem: config.inputs[name], width: inputWidth(name, config) },
  });
  const accessors = [
    ...rows.map((name) => reader(rowsOf(name), source)),
    ...elements.map((name) => elementReader(rowsOf(name))),
  ];
  const gated = elements.includes("g");
  return {
    ...partsOf(accessors),
    code: [...accessors.map(({ code }) => code), ROWS, gated ? GATE_CODE + GATE : ""].join("\n"),
  };
}

/** The bindings of accessors, and the parameters that number their first rows. */
export function partsOf(accessors: readonly Accessor[]): Parts {
  const bindings = accessors.map(({ binding }) => binding);
  return {
    bindings,
    params: {
      ...HEADS,
      ...Object.fromEntries(bindings.map(({ name }) => [`${name}First`, "u32"] as const)),
    },
    code: accessors.map(({ code }) => code).join("\n"),
  };
}

/** HQ, HK and HV. */
const HEADS = { qHeads: "u32", kHeads: "u32", heads: "u32" } as const;

const ROWS = /* wgsl */ `
fn out_heads() -> u32 { return max(params.q_heads, params.heads); }
fn state_head(h: u32) -> u32 { return h * params.heads / out_heads(); }
fn row_q(token: u32, h: u32) -> u32 {
  return token * params.q_heads + h * params.q_heads / out_heads();
}
fn row_k(token: u32, head: u32) -> u32 {
  return token * params.k_heads + head * params.k_heads / params.heads;
}
fn row_v(token: u32, head: u32) -> u32 { return token * params.heads + head; }
`;

const GATE = /* wgsl */ `
fn gate_at(token: u32, head: u32) -> f32 { return decay_of(element_g(row_v(token, head), 0u)); }
`;

/** Memory that kernels read, or read and write. */
export function storage(
  name: string,
  type: "vec4f" | "vec4u" | "i32",
  access: "read" | "read_write",
): Binding {
  return { name, access, type: `array<${type}>` };
}
