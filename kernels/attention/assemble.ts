import { constants, declare, type Program } from "../../gpu/program.ts";
import { type InputSource, reader, writer } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";
import { ATTENTION_PARAMS, type AttentionConfig, attentionRows } from "./config.ts";
import { describe } from "./description.ts";
import { gatesCode } from "./gates.ts";
import { patternCode, type TileSizes } from "./pattern.ts";

/** What tells one tiled kernel from the next. */
export interface TiledKernel {
  /** Name of its schedule. */
  readonly name: string;
  /** Tokens of its tiles. */
  readonly tiles: TileSizes;
  /** Constants of its text and of its unrolled loops. */
  readonly sizes: Readonly<Record<string, number>>;
  /** WGSL of `main` and what it calls beside the description. */
  readonly main: string;
  /** Whether it uses subgroup built-ins. */
  readonly subgroups: boolean;
}

/** Puts a tiled kernel together: constants, bindings, loads and stores, the mathematics, `main`. */
export function assemble(config: AttentionConfig, kernel: TiledKernel): Program {
  const { name, tiles, sizes, main, subgroups } = kernel;
  const description = describe(config);
  const pattern = patternCode(config.pattern, tiles);
  const gates = gatesCode(config.gates);
  const params = { ...ATTENTION_PARAMS, ...pattern.params, ...description.params };
  const { q, k, v, additionalKeys, additionalValues, out } = attentionRows(config);
  const inputs = pattern.additional ? [q, k, v, additionalKeys, additionalValues] : [q, k, v];
  const accessors = [...inputs.map((rows) => reader(rows, config.source)), writer(out)];
  const bindings = [
    ...accessors.map(({ binding }) => binding),
    ...pattern.bindings,
    ...description.bindings,
    ...gates.bindings,
  ];
  const code = [
    constants({ ...sizes, ...description.constants, MASKS: pattern.masked }),
    constants({ QUERIES_OF_TILE: tiles.queries }),
    declare(bindings, params),
    ...accessors.map((accessor) => accessor.code),
    pattern.additional ? LOADS_WITH_ADDITIONAL : LOADS[config.source],
    pattern.code,
    description.code,
    gates.code,
    unroll(main, sizes),
  ].join("\n");
  return { label: `attention (${name})`, code, bindings, params, subgroups };
}

const LOADS: Readonly<Record<InputSource, string>> = {
  buffer: /* wgsl */ `
fn load_key(row: u32, c: u32) -> vec4f { return load_k(row, c); }
fn load_value(row: u32, c: u32) -> vec4f { return load_v(row, c); }
`,
  // textures hold a copy of some rows
  texture: /* wgsl */ `
fn load_key(row: u32, c: u32) -> vec4f { return load_k(row - params.k_first, c); }
fn load_value(row: u32, c: u32) -> vec4f { return load_v(row - params.v_first, c); }
`,
};

const LOADS_WITH_ADDITIONAL = /* wgsl */ `
fn load_key(row: u32, c: u32) -> vec4f {
  if (row & ADDITIONAL) != 0u { return load_additional_keys(row ^ ADDITIONAL, c); }
  return load_k(row, c);
}
fn load_value(row: u32, c: u32) -> vec4f {
  if (row & ADDITIONAL) != 0u { return load_additional_values(row ^ ADDITIONAL, c); }
  return load_v(row, c);
}
`;
