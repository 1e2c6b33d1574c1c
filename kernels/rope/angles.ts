/** `rotation_of(row, token)`: cosines and sines of four rows of the table, from its `row_of`. */
export const ANGLES: string = /* wgsl */ `
/// Turns of a row of the table at a token, without whole ones, in units of 2^-32.
fn turns_at(row: vec4u, token: u32) -> u32 {
  let place = place_of(token, row.w & 3u);
  let steps = u32(abs(place.whole));
  let whole = steps * row.y + high_product(steps, row.z);
  return select(whole, 0u - whole, place.whole < 0) + place.part * row.x +
    high_product(place.part, row.y);
}

struct Rotation { cosine: vec4f, sine: vec4f }

/// Minimax polynomials between -pi/4 and pi/4 (Cephes, sinf.c), good to 1e-7.
fn rotation_by(turns: vec4u) -> Rotation {
  let quarter = (turns + vec4u(0x20000000u)) >> vec4u(30u);
  let rest = bitcast<vec4i>(turns - (quarter << vec4u(30u)));
  let x = vec4f(rest) * 1.4629180792671596e-9; // 2 pi / 2^32
  let y = x * x;
  let sine = x + x * y * (-1.6666654611e-1 + y * (8.3321608736e-3 - y * 1.9515295891e-4));
  let tail = 4.166664568298827e-2 + y * (-1.388731625493765e-3 + y * 2.443315711809948e-5);
  let cosine = 1.0 - 0.5 * y + y * y * tail;
  let odd = (quarter & vec4u(1u)) == vec4u(1u);
  let c = select(cosine, sine, odd);
  let s = select(sine, cosine, odd);
  let c_falls = (quarter == vec4u(1u)) | (quarter == vec4u(2u));
  return Rotation(select(c, -c, c_falls), select(s, -s, quarter >= vec4u(2u)));
}

fn rotation_of(first: u32, token: u32) -> Rotation {
  var angles = vec4u();
  for (var n = 0u; n < 4u; n++) { angles[n] = turns_at(row_of(first + n), token); }
  return rotation_by(angles);
}
`;
