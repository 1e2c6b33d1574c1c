import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { HIGH_PRODUCT } from "./product.ts";

/** Invocations of a workgroup. */
export const TURNS_THREADS = 64;

const BINDINGS: readonly Binding[] = [
  { name: "frequencies", access: "read", type: "array<u32>" }, // [dims / 2], bits of f32
  { name: "wanted", access: "read", type: "array<vec4u>" }, // index, whether negative, 0, what is kept
  { name: "turns", access: "read_write", type: "array<vec4u>" }, // whole, upper and lower fraction, kept
];

const PARAMS: Readonly<Record<string, ParamType>> = {
  start: "u32", // first row of this launch
  end: "u32",
  factorWhole: "u32", // 1 / (2 pi scaling): whole, then a fraction of 96 bits
  factorHigh: "u32",
  factorMiddle: "u32",
  factorLow: "u32",
};

/**
 * Frequencies in radians a token as turns a token, modulo 2^32, with 64 bits behind the point.
 *
 * A frequency is m 2^-shift, m of 24 bits; m times the factor has 160 bits, of which the shift leaves 96.
 * Those of 2^24 and more, and what is no number, become 0.
 */
export function ropeTurns(): Program {
  const code = [
    constants({ THREADS: TURNS_THREADS }),
    declare(BINDINGS, PARAMS),
    HIGH_PRODUCT,
    MAIN,
  ].join("\n");
  return { label: "rope (turns)", code, bindings: BINDINGS, params: PARAMS, subgroups: false };
}

const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let row = wanted[id];
  let bits = frequencies[row.x];
  let exponent = (bits >> 23u) & 0xffu;
  let m = select(0u, (bits & 0x7fffffu) | select(0u, 0x800000u, exponent > 0u), exponent <= 150u);
  let shift = 150u - clamp(exponent, 1u, 150u);

  // two words before the point and three behind it, the highest first
  let factor = vec4u(
    params.factor_whole, params.factor_high, params.factor_middle, params.factor_low);
  var product = array<u32, 5>();
  var carry = 0u;
  for (var n = 4u; n > 0u; n--) {
    let low = m * factor[n - 1u];
    product[n] = low + carry;
    carry = high_product(m, factor[n - 1u]) + u32(product[n] < low);
  }
  product[0] = carry;

  var shifted = vec3u();
  for (var n = 1u; n <= 3u; n++) {
    let source = i32(n) - i32(shift / 32u);
    let own = select(0u, product[max(source, 0)], source >= 0);
    let before = select(0u, product[max(source - 1, 0)], source >= 1);
    let rest = shift % 32u;
    shifted[n - 1u] = (own >> rest) | select(0u, before << ((32u - rest) & 31u), rest > 0u);
  }

  if (bits >> 31u) != row.y { // negative: the complement, plus one at the end
    let low = 0u - shifted.z;
    let high = ~shifted.y + u32(low == 0u);
    shifted = vec3u(~shifted.x + u32(low == 0u && high == 0u), high, low);
  }
  turns[id] = vec4u(shifted, row.w);
}
`;
