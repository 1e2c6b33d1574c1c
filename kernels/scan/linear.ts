import { reader, writer } from "../shared/rows.ts";
import type { ScanElement } from "./element.ts";

/** h -> decay h + added: the linear scan. */
export const LINEAR: ScanElement = {
  code: /* wgsl */ `
struct Element { decay: vec4f, added: vec4f }

fn identity() -> Element { return Element(vec4f(1.0), vec4f()); }

fn combined(one: Element, other: Element) -> Element {
  // a restart clears products that have overflowed, too
  let decay = select(one.decay * other.decay, vec4f(), other.decay == vec4f());
  return Element(decay, other.decay * one.added + other.added);
}

fn output(sum: Element) -> vec4f { return sum.added; }`,

  token: ({ elem, weightElem, width }) => {
    const accessors = [
      reader({ name: "a", elem: weightElem, width }, "buffer"),
      reader({ name: "b", elem, width }, "buffer"),
    ];
    return {
      accessors,
      code:
        "fn token(row: u32, c: u32) -> Element { return Element(load_a(row, c), load_b(row, c)); }",
    };
  },

  given: (width) => ({
    accessors: [reader({ name: "state", elem: "f32", width }, "buffer")],
    code:
      "fn given(row: u32, c: u32) -> Element { return Element(vec4f(1.0), load_state(row, c)); }",
  }),

  left: (width) => ({
    accessors: [writer({ name: "state", elem: "f32", width })],
    code: "fn leave(row: u32, c: u32, sum: Element) { store_state(row, c, sum.added); }",
  }),
};
