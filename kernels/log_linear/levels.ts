/** `move_levels(…)`: what a token does to four values of a state in place, and what it reads of them. */
export const LEVELS_CODE: string = /* wgsl */ `
/// What a token brings to one key channel and four values.
struct Token {
  place: u32, // counted from the first of the sequence
  lambda_row: u32,
  decay: f32,
}

/// Merges the levels that the token finds complete, decays all, writes, and weighs what it reads.
fn move_levels(token: Token, row: u32, d: u32, e: u32, write: vec4f) -> vec4f {
  var x = element_lambda(token.lambda_row, 0u) * write;
  if token.place > 0u {
    var level = min(1u + countTrailingZeros(token.place), LEVELS - 1u);
    var s = vec4f();
    for (var l = 0u; l < select(level, LEVELS, level + 1u == LEVELS); l++) {
      s += load_state(row + l, d, e);
      store_state(row + l, d, e, vec4f());
    }
    loop {
      s *= token.decay;
      store_state(row + level, d, e, s);
      x += element_lambda(token.lambda_row, level) * s;
      let left = token.place >> min(level, 31u); // levels above that hold tokens
      if left == 0u || level + 1u >= LEVELS { break; }
      level = min(level + 1u + countTrailingZeros(left), LEVELS - 1u);
      s = load_state(row + level, d, e);
    }
  }
  store_state(row, d, e, write);
  return x;
}
`;
