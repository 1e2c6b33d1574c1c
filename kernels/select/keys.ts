import type { Binding } from "../../gpu/program.ts";
import type { Accessor, Elem } from "../shared/rows.ts";

/** Element types whose order is known. */
export type Sortable = Elem | "i32" | "u32";

/**
 * Makes `key_of(at) -> u32` from the binding `scores`: unsigned words in the order of the elements, −0
 * as 0, which no NaN and nothing but +Infinity is behind; NaN is NAN.
 */
export function keyReader(elem: Sortable): Accessor {
  const binding: Binding = { name: "scores", access: "read", type: "array<u32>" };
  return { binding, code: [KEYS, KEY_OF[elem]].join("\n") };
}

/** What keys are, and `key_of_bits(bits) -> u32` of the bits of an f32. */
export const KEYS = /* wgsl */ `
const NAN = 0xffffffffu;
const NEGATIVE_INFINITY = 0x007fffffu;
const ZERO = 0x80000000u;

/// The key of the bits of an f32.
fn key_of_bits(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  if magnitude > 0x7f800000u { return NAN; }
  if magnitude == 0u { return ZERO; }
  return select(~bits, bits | 0x80000000u, bits == magnitude);
}

/// The same, 0 for what is never selected: NaN and -Infinity.
fn selectable(key: u32) -> u32 {
  return select(key, 0u, key == NAN || key <= NEGATIVE_INFINITY);
}`;

const KEY_OF: Readonly<Record<Sortable, string>> = {
  f32: "fn key_of(at: u32) -> u32 { return key_of_bits(scores[at]); }",
  // WGSL leaves open what unpacking makes of infinities and NaN
  f16: /* wgsl */ `
fn key_of(at: u32) -> u32 {
  let half = (scores[at >> 1u] >> (16u * (at & 1u))) & 0xffffu;
  if (half & 0x7c00u) == 0x7c00u {
    return key_of_bits(((half & 0x8000u) << 16u) | 0x7f800000u | (half & 0x3ffu));
  }
  return key_of_bits(bitcast<u32>(unpack2x16float(half).x));
}`,
  i32: "fn key_of(at: u32) -> u32 { return scores[at] ^ 0x80000000u; }",
  u32: "fn key_of(at: u32) -> u32 { return scores[at]; }",
};
