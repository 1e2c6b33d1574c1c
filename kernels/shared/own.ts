import { snakeCase } from "../../gpu/program.ts";
import {
  type Accessor,
  elementReader,
  elementWriter,
  type InputSource,
  reader,
  type Rows,
  writer,
} from "./rows.ts";

/**
 * What an invocation owns of the rows of a state: neighbouring channels, `Own` in WGSL. With four of them a
 * row that is handed round is used four times; with one, registers hold four times as many rows.
 */
export interface Owned {
  readonly own: 1 | 4;
}

/** `Own`, a `vec4f` or an `f32`, as WGSL. */
export function ownType({ own }: Owned): string {
  return `alias Own = ${own === 1 ? "f32" : "vec4f"}; // channels of an invocation`;
}

/** Applies a function of numbers to each channel of x. */
export function eachOwn({ own }: Owned, f: (x: string) => string): string {
  return own === 1 ? f("x") : `Own(${["x.x", "x.y", "x.z", "x.w"].map(f).join(", ")})`;
}

/** Makes `load_<name>(row, c) -> Own`: the channels of an invocation, the c-th of its kind. */
export function ownReader(rows: Rows, { own }: Owned, source: InputSource): Accessor {
  if (own === 4) return reader(rows, source);
  const id = snakeCase(rows.name);
  const { binding, code } = elementReader(rows);
  const load = `fn load_${id}(row: u32, c: u32) -> f32 { return element_${id}(row, c); }`;
  return { binding, code: `${code}\n${load}` };
}

/** Makes `store_<name>(row, c, x: Own)`. */
export function ownWriter(rows: Rows, { own }: Owned): Accessor {
  if (own === 4) return writer(rows);
  const id = snakeCase(rows.name);
  const { binding, code } = elementWriter(rows);
  const store = `fn store_${id}(row: u32, c: u32, x: f32) { put_${id}(row, c, x); }`;
  return { binding, code: `${code}\n${store}` };
}
