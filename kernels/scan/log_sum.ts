import { reader, writer } from "../shared/rows.ts";
import type { ScanElement } from "./element.ts";
import { FLOORED } from "./floor.ts";

/** `log_1p(y)` as WGSL. */
export const LOG_1P: string = /* wgsl */ `/// log(1 + y), where log alone may be off by 5e-7.
fn log_1p(y: vec4f) -> vec4f {
  let series = y * (1.0 - y * (0.5 - y * (1.0 / 3.0 - 0.25 * y)));
  return select(log(1.0 + y), series, abs(y) < vec4f(0.02));
}`;

const EXPONENT = /* wgsl */ `
/// The sum of one exponential.
fn exponential(x: vec4f) -> Element {
  let m = max(x, vec4f(MASKED));
  return Element(max(m, vec4f(FLOOR)), select(vec4f(), vec4f(1.0), m >= vec4f(FLOOR)));
}`;

/** A sum of exponentials as exp(m) u, m their largest exponent: no logarithm is taken on the way. */
export const LOG_SUM: ScanElement = {
  code: /* wgsl */ `${FLOORED}
struct Element { m: vec4f, u: vec4f }

fn identity() -> Element { return Element(vec4f(FLOOR), vec4f()); }

fn combined(one: Element, other: Element) -> Element {
  let e = exp(-abs(one.m - other.m));
  let rises = other.m > one.m;
  let kept = select(vec4f(1.0), e, rises);
  let added = select(e, vec4f(1.0), rises);
  return Element(max(one.m, other.m), kept * one.u + added * other.u);
}

${LOG_1P}

fn output(sum: Element) -> vec4f {
  // u is at least 1 where there is a sum
  let z = sum.m + log_1p(max(sum.u - 1.0, vec4f()));
  return select(z, vec4f(negative_infinity()), sum.u == vec4f());
}`,

  token: ({ elem, width, source }) => ({
    accessors: [reader({ name: "x", elem, width }, source)],
    code: `${EXPONENT}
fn token(row: u32, c: u32) -> Element { return exponential(load_x(row, c)); }`,
  }),

  given: (width) => ({
    accessors: [reader({ name: "state", elem: "f32", width }, "buffer")],
    code: `${EXPONENT}
fn given(row: u32, c: u32) -> Element { return exponential(load_state(row, c)); }`,
  }),

  left: (width) => ({
    accessors: [writer({ name: "state", elem: "f32", width })],
    code: "fn leave(row: u32, c: u32, sum: Element) { store_state(row, c, output(sum)); }",
  }),
};
