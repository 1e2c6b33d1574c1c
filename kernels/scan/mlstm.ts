import { reader, writer } from "../shared/rows.ts";
import type { ScanElement } from "./element.ts";
import { FLOORED } from "./floor.ts";
import { LOG_1P } from "./log_sum.ts";

/** What the two input gates share: the log decay of a token, log sigmoid(f), and its log weight. */
const element = (weight: string, combined: string): ScanElement => ({
  anchored: true,
  code: /* wgsl */ `${FLOORED}
struct Element { decay: vec4f, m: vec4f } // the sum of log decays, and the stabiliser

${LOG_1P}

fn softplus(x: vec4f) -> vec4f { return max(x, vec4f()) + log_1p(exp(-abs(x))); }

${combined}

fn output(sum: Element) -> vec4f {
  return select(sum.m, vec4f(negative_infinity()), sum.m <= vec4f(FLOOR));
}`,

  token: ({ elem, weightElem, width, source }) => ({
    accessors: [
      reader({ name: "i", elem, width }, source),
      reader({ name: "f", elem: weightElem, width }, source),
    ],
    code: /* wgsl */ `
fn token(row: u32, c: u32) -> Element {
  let i = load_i(row, c);
  return Element(max(-softplus(-load_f(row, c)), vec4f(FLOOR)), max(${weight}, vec4f(FLOOR)));
}`,
  }),

  given: (width) => ({
    accessors: [reader({ name: "state", elem: "f32", width }, "buffer")],
    code: /* wgsl */ `
fn given(row: u32, c: u32) -> Element {
  return combined(Element(vec4f(), max(load_state(row, c), vec4f(FLOOR))), identity());
}`,
  }),

  left: (width) => ({
    accessors: [writer({ name: "state", elem: "f32", width })],
    code: "fn leave(row: u32, c: u32, sum: Element) { store_state(row, c, output(sum)); }",
  }),
});

/** The stabiliser m -> max(log sigmoid(f) + m, i) of the input gate exp(i): a max-plus scan. */
export const MLSTM_EXP: ScanElement = element(
  "i",
  /* wgsl */ `
fn identity() -> Element { return Element(vec4f(), vec4f(FLOOR)); }

fn combined(one: Element, other: Element) -> Element {
  return Element(one.decay + other.decay, max(max(one.m + other.decay, other.m), vec4f(FLOOR)));
}`,
);

/** The input gate sigmoid(i), whose stabiliser stays 0. */
export const MLSTM_SIGMOID: ScanElement = element(
  "-softplus(-i)",
  /* wgsl */ `
fn identity() -> Element { return Element(vec4f(), vec4f()); }

fn combined(one: Element, other: Element) -> Element {
  return Element(one.decay + other.decay, vec4f());
}`,
);
