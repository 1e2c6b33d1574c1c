/**
 * Functions that hooks call besides WGSL's own, which overflow at large arguments on some drivers;
 * each is exact at both ends and good to a few units in the last place between.
 */
export const HOOK_FUNCTIONS: string = /* wgsl */ `
/// e^-|x|, where it is not lost beside 1 anyway.
fn hook_decay(x: f32) -> f32 { return exp(-min(abs(x), 88.0)); }

/// Below -87 no normal number is near.
fn hook_sigmoid(x: f32) -> f32 {
  let e = hook_decay(x);
  return select(0.0, select(e, 1.0, x >= 0.0) / (1.0 + e), x > -87.0);
}

fn hook_silu(x: f32) -> f32 { return x * hook_sigmoid(x); }

/// log(1 + e^x) = max(x, 0) + 2 artanh(e / (2 + e)), e = e^-|x|: a series of seven terms.
fn hook_softplus(x: f32) -> f32 {
  let e = hook_decay(x);
  let z = e / (2.0 + e);
  let y = z * z;
  let tail = 1.0 / 7.0 + y * (1.0 / 9.0 + y * (1.0 / 11.0 + y / 13.0));
  return max(x, 0.0) + 2.0 * z * (1.0 + y * (1.0 / 3.0 + y * (0.2 + y * tail)));
}

/// A series near 0, where 1 - e loses digits.
fn hook_tanh(x: f32) -> f32 {
  let e = hook_decay(2.0 * x);
  let near = clamp(x, -0.25, 0.25);
  let y = near * near;
  let tail = 17.0 / 315.0 - y * (62.0 / 2835.0 - y * (1382.0 / 155925.0));
  let series = near * (1.0 - y * (1.0 / 3.0 - y * (2.0 / 15.0 - y * tail)));
  return select(sign(x) * (1.0 - e) / (1.0 + e), series, x == near);
}
`;
