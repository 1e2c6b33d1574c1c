import { snakeCase } from "../../gpu/program.ts";
import type { Owned } from "../shared/own.ts";
import { aligned, type InputSource, reader } from "../shared/rows.ts";
import type { RecurrenceConfig } from "./config.ts";
import type { Parts } from "./inputs.ts";
import type { LoopPass } from "./pass.ts";

/** What the accessors of states depend on. */
export type StateConfig =
  & Pick<RecurrenceConfig, "gate" | "inputs" | "normalize" | "valueDim" | "valueFirst">
  & Pick<LoopPass, "initial" | "final" | "decays">
  & {
    /** Where they are read: in place, by default, or in `initialState`, a texture of whole vec4s. */
    readonly stateSource?: InputSource;
    /** Whether there are value channels for all invocations; not by default. */
    readonly whole?: boolean;
    /** Value channels that are loaded and stored together, 4 by default. */
    readonly own?: Owned["own"];
  };

/** Loads and stores of states and decays. */
export function storesOf(config: StateConfig): Parts {
  const { initial, final, normalize, decays, inputs, valueDim, valueFirst } = config;
  const { stateSource = "buffer", whole = false, own = 4 } = config;
  const texture = initial && stateSource === "texture";
  const states = (initial && !texture) || final;
  const vectors = own === 4 && !valueFirst && aligned(valueDim);
  const array = (name: string, there: boolean, type = "f32"): Parts => ({
    bindings: there ? [{ name, access: "read_write", type: `array<${type}>` }] : [],
    code: there
      ? `fn get_${snakeCase(name)}(at: u32) -> ${type} { return ${snakeCase(name)}[at]; }
fn put_${snakeCase(name)}(at: u32, x: ${type}) { ${snakeCase(name)}[at] = x; }`
      : `fn get_${snakeCase(name)}(at: u32) -> ${type} { return ${type}(); }
fn put_${snakeCase(name)}(at: u32, x: ${type}) {}`,
  });
  const arrays = [
    array("state", states, vectors ? "vec4f" : "f32"),
    // every block of columns reads the sums, one writes them: elsewhere
    array("sums", initial && normalize),
    array("newSums", final && normalize),
    array("decays", decays && config.gate !== "none"),
    array("products", decays && inputs.gv !== undefined),
  ];
  const texels = texture
    ? reader({ name: "initialState", elem: "f32", width: valueDim }, "texture")
    : null;
  return {
    bindings: [...arrays.flatMap(({ bindings }) => bindings), ...(texels ? [texels.binding] : [])],
    code: [
      ...arrays.map(({ code }) => code),
      texels?.code ?? "",
      vectors ? vectorCode(texture, whole) : elements(valueFirst, { own }),
    ].join("\n"),
  };
}

/** Four value channels from e on, a multiple of 4. */
function vectorCode(texture: boolean, whole: boolean): string {
  const s = texture
    ? "load_initial_state(row * KEYS + d, e / 4u)"
    : "get_state(((row * KEYS + d) * VALUES + e) / 4u)";
  return /* wgsl */ `
fn load_state(row: u32, d: u32, e: u32) -> vec4f {
  ${whole ? "" : "if e >= VALUES { return vec4f(); }"}
  return ${s};
}
fn store_state(row: u32, d: u32, e: u32, x: vec4f) {
  ${whole ? "" : "if e >= VALUES { return; }"}
  put_state(((row * KEYS + d) * VALUES + e) / 4u, x);
}`;
}

/** The same, or one value channel, element by element. */
function elements(valueFirst: boolean, { own }: Owned): string {
  const place = valueFirst ? "(row * VALUES + e) * KEYS + d" : "(row * KEYS + d) * VALUES + e";
  const name = own === 1 ? "state" : "channel";
  const one = /* wgsl */ `
fn load_${name}(row: u32, d: u32, e: u32) -> f32 {
  if e >= VALUES { return 0.0; }
  return get_state(${place});
}
fn store_${name}(row: u32, d: u32, e: u32, x: f32) {
  if e < VALUES { put_state(${place}, x); }
}`;
  return own === 1 ? one : [one, FOUR_CHANNELS].join("\n");
}

const FOUR_CHANNELS = /* wgsl */ `
fn load_state(row: u32, d: u32, e: u32) -> vec4f {
  return vec4f(load_channel(row, d, e), load_channel(row, d, e + 1u),
    load_channel(row, d, e + 2u), load_channel(row, d, e + 3u));
}
fn store_state(row: u32, d: u32, e: u32, x: vec4f) {
  store_channel(row, d, e, x.x);
  store_channel(row, d, e + 1u, x.y);
  store_channel(row, d, e + 2u, x.z);
  store_channel(row, d, e + 3u, x.w);
}`;
