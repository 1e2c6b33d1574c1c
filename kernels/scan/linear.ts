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

  token: ({ elem, weightElem, width, source }) => {
    const accessors = [
      reader({ name: "a", elem: weightElem, width }, source),
      reader({ name: "b", elem, width }, source),
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

/** h -> e^g h + x: the linear scan of log decays. */
export const GATED: ScanElement = {
  ...LINEAR,
  token: ({ elem, weightElem, width, source }) => ({
    accessors: [
      reader({ name: "x", elem, width }, source),
      reader({ name: "g", elem: weightElem, width }, source),
    ],
    code: /* wgsl */ `
const LEAST_GATE = -88.0; // its exponential is below all normal f32, and taken for 0

/// e^g; the errors of exp alone would add up where slow gates keep many tokens.
fn decay_of(g: vec4f) -> vec4f {
  let series = 1.0 + g * (1.0 + g * (0.5 + g * (1.0 / 6.0 + g * (1.0 / 24.0 + g / 120.0))));
  let decay = select(exp(max(g, vec4f(LEAST_GATE))), series, abs(g) < vec4f(0.1));
  return select(decay, vec4f(), g <= vec4f(LEAST_GATE));
}

fn token(row: u32, c: u32) -> Element { return Element(decay_of(load_g(row, c)), load_x(row, c)); }`,
  }),
};
