import { elementReader, elementWriter, reader, writer } from "../shared/rows.ts";
import type { ScanElement } from "./element.ts";
import { FLOORED } from "./floor.ts";

/** m and u of a head; each of its invocations has them. */
const [M, U] = ["m", "u"].map((name) => ({ name, elem: "f32", width: 1 }) as const);

/** Sums of exp(s - m) and of exp(s - m) v, m the largest score, as in online softmax. */
export const SOFTMAX: ScanElement = {
  code: /* wgsl */ `${FLOORED}
struct Element { m: f32, u: f32, w: vec4f }

fn identity() -> Element { return Element(FLOOR, 0.0, vec4f()); }

fn combined(one: Element, other: Element) -> Element {
  let e = exp(-abs(one.m - other.m));
  let rises = other.m > one.m;
  let kept = select(1.0, e, rises);
  let added = select(e, 1.0, rises);
  return Element(
    max(one.m, other.m),
    kept * one.u + added * other.u,
    kept * one.w + added * other.w,
  );
}

fn output(sum: Element) -> vec4f {
  if sum.u == 0.0 { return vec4f(); }
  return sum.w / sum.u;
}`,

  token: ({ elem, weightElem, width, source }) => ({
    accessors: [
      elementReader({ name: "s", elem: weightElem, width: 1 }),
      reader({ name: "v", elem, width }, source),
    ],
    code: /* wgsl */ `
fn token(row: u32, c: u32) -> Element {
  let s = max(element_s(row, 0u), MASKED);
  if s < FLOOR { return identity(); } // its value may be anything
  return Element(s, 1.0, load_v(row, c));
}`,
  }),

  given: (width) => ({
    accessors: [
      elementReader(M),
      elementReader(U),
      reader({ name: "w", elem: "f32", width }, "buffer"),
    ],
    code: /* wgsl */ `
fn given(row: u32, c: u32) -> Element {
  return Element(max(element_m(row, 0u), FLOOR), element_u(row, 0u), load_w(row, c));
}`,
  }),

  left: (width) => ({
    accessors: [
      elementWriter(M),
      elementWriter(U),
      writer({ name: "w", elem: "f32", width }),
    ],
    code: /* wgsl */ `
fn leave(row: u32, c: u32, sum: Element) {
  if c == 0u {
    put_m(row, 0u, select(sum.m, negative_infinity(), sum.m <= FLOOR));
    put_u(row, 0u, sum.u);
  }
  store_w(row, c, sum.w);
}`,
  }),
};
