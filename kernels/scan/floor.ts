/** Exponents that are -Infinity, as finite numbers: sums of nothing have the maximum FLOOR. */
export const FLOORED = /* wgsl */ `
const FLOOR = -1e30;
const MASKED = -2e30;

fn negative_infinity() -> f32 {
  var bits = 0xff800000u;
  return bitcast<f32>(bits);
}`;
