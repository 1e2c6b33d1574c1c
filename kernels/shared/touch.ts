import { aligned, type InputSource, type Rows } from "./rows.ts";

/** Bytes of a cache line, of processors at least. */
const LINE_BYTES = 64;

/** Invocations of which each fetches the lines of a token, where all walk the same ones. */
export const TOUCHING = 8;

/** Whether a kernel touches an output: where texels are read, the device is a processor with caches. */
export function touches(out: Rows, source: InputSource): boolean {
  return source === "texture" && aligned(out.width);
}

/** The vec4 of a row of an output that lie in one cache line. */
export function lineOf({ elem }: Rows): number {
  return LINE_BYTES / (elem === "f32" ? 16 : 8);
}

/**
 * Makes `touch_out(row, c)` for a column of vec4, `touch_columns(row, c)` for one of each of TOUCHING
 * invocations, `touch(x)` of anything else that was loaded, and `keep_touched(param)`: loads that only
 * fetch cache lines, where the output is touched.
 *
 * Loads that miss the caches overlap, stores hardly do. To rows a page apart, llvmpipe's take 15 cycles an
 * element, and 3 to lines that were fetched before (docs/performance.md). It loads one element, as
 * llvmpipe would load all four of a vec4, each lane by itself. No compiler may know that the parameter is
 * never the largest number, else it drops the loads.
 */
export function touchCode(out: Rows, source: InputSource): string {
  if (!touches(out, source)) return NO_TOUCH;
  const firsts = [...Array(TOUCHING).keys()].filter((c) => c % lineOf(out) === 0);
  return /* wgsl */ `
var<private> touched: f32;
fn touch(x: f32) { touched += x; }
fn touch_out(row: u32, c: u32) { touch(f32(out[(row - params.out_first) * ${
    out.width / 4
  }u + c].x)); }
fn touch_columns(row: u32, c: u32) { ${firsts.map((x) => `touch_out(row, c + ${x}u);`).join(" ")} }
fn keep_touched(param: u32) { if param == ~0u { store_out(0u, 0u, vec4f(touched)); } }`;
}

/** The same functions for kernels that touch nothing. */
export const NO_TOUCH: string = /* wgsl */ `
fn touch_out(row: u32, c: u32) {}
fn touch_columns(row: u32, c: u32) {}
fn keep_touched(param: u32) {}`;
