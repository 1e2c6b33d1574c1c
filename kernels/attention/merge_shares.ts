import { FLOORED } from "../scan/floor.ts";
import type { WeightRule } from "./weights.ts";

/**
 * `shares(one, other)`: what results over disjoint keys count in the result over all of them.
 *
 * `one` and `other` are what attention returns beside its output, aux; NOTHING is that of no key. The
 * struct has the factors of both outputs and the aux of both together:
 *
 * - softmax, aux = lse: e^{lse_p - lse}, lse = log Σ e^{lse_p}; 0 for who saw no key (lse = -inf);
 * - sum, aux = Σ w: their share of the sum; 0 where there is none;
 * - plain, no aux: 1;
 * - stick, aux = log of what is left: 1 for the later keys, `one`, and what they left for the others.
 */
export function sharesCode(rule: WeightRule): string {
  return [FLOORED, "struct Shares { one: f32, other: f32, aux: f32 }", SHARES[rule]].join("\n");
}

const SHARES: Readonly<Record<WeightRule, string>> = {
  softmax: /* wgsl */ `
const NOTHING = MASKED;

fn shares(lse_one: f32, lse_other: f32) -> Shares {
  let one = max(lse_one, MASKED);
  let other = max(lse_other, MASKED);
  let m = max(FLOOR, max(one, other));
  let w_one = exp(one - m);
  let w_other = exp(other - m);
  let l = w_one + w_other;
  if l == 0.0 { return Shares(0.0, 0.0, negative_infinity()); }
  return Shares(w_one / l, w_other / l, m + log(l));
}`,
  sum: /* wgsl */ `
const NOTHING = 0.0;

fn shares(l_one: f32, l_other: f32) -> Shares {
  let l = l_one + l_other;
  if l == 0.0 { return Shares(); }
  return Shares(l_one / l, l_other / l, l);
}`,
  plain: /* wgsl */ `
const NOTHING = 0.0;

fn shares(one: f32, other: f32) -> Shares { return Shares(1.0, 1.0, NOTHING); }`,
  stick: /* wgsl */ `
const NOTHING = 0.0;

fn shares(left_one: f32, left_other: f32) -> Shares {
  let one = max(left_one, FLOOR);
  let left = one + max(left_other, FLOOR);
  return Shares(1.0, exp(one), select(left, negative_infinity(), left <= FLOOR));
}`,
};
