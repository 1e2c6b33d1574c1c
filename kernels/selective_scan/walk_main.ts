import { SELECTIVE_EXCHANGES } from "./exchange.ts";

/** Everything a workgroup does, from the states at the entry of its segment to those behind it. */
export function walkMain(exchange: keyof typeof SELECTIVE_EXCHANGES): string {
  const { declare, before, after, own, shared, walk, there } = SELECTIVE_EXCHANGES[exchange];
  const token = /* wgsl */ `
      let token = token_at(segment, min(first + j, count - 1u));
      let u = select(Own(), load_u(token, col), ${there});
      var step = load_delta(token, col) + bias;
      if SOFTPLUS { step = own_softplus(step); }
      step = select(Own(), step, ${there});
      total += step;
      @registers var b: array<vec4f, N4>;
      @registers var c: array<vec4f, N4>;
      @unroll for (var i = 0u; i < N4; i++) {
        b[i] = ${shared.b};
        if OUTPUTS { c[i] = ${shared.c}; }
      }
      var y = skip * u;
      @unroll for (var n = 0u; n < STATES; n++) {
        h[n] = fma(own_decay(step * rate[n]), h[n], step * u * b[n / 4][n % 4]);
        y = fma(Own(c[n / 4][n % 4]), h[n], y);
      }
      if OUT_GATE { y *= own_silu(load_out_gate(token, col)); }
      if OUTPUTS && place < COLS && ${there} { store_out(token, col, y); }`;
  return /* wgsl */ `
/// The i-th token of a segment, in the order in which the scan meets them.
fn token_at(segment: vec4u, i: u32) -> u32 {
  if REVERSE { return segment.y - 1u - i; }
  return segment.x + i;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its states
  let place = (params.tile0 + tile.x) * LANES + lane;
  let col = min(place, COLS - 1u);
  let count = segment.y - segment.x;
  let bias = load_delta_bias(0u, col);
  let skip = load_skip(0u, col);
  var total = Own(); // of step sizes

  @registers var rate: array<Own, STATES>;
  @registers var h: array<Own, STATES>;
  @unroll for (var n = 0u; n < STATES; n++) {
    rate[n] = rate_of(col, n);
    if INITIAL { h[n] = state_of(segment.z, col, n); }
  }

  for (var first = 0u; first < count; first += TOKENS) {
    // every invocation loads b and c of one of the next tokens
    ${declare}
    ${before}
    let own = token_at(segment, min(first + lane, count - 1u));
    @unroll for (var i = 0u; i < N4; i++) {
      ${own.b} = load_writes(own, i);
      if OUTPUTS { ${own.c} = load_reads(own, i); }
    }
    if OUTPUTS { // and fetches the lines of its outputs
      @unroll for (var n = 0u; n < LANES; n += LINE) {
        touch_out(own, min((params.tile0 + tile.x) * LANES + n, COLS - 1u));
      }
    }
    ${after}

    ${walk(token)}
  }

  keep_touched(params.segment0);
  if place >= COLS { return; }
  @unroll for (var n = 0u; n < STATES; n++) {
    if FINAL { keep_state(segment.z, col, n, h[n]); }
  }
  if !OUTPUTS { keep_steps(segment.z, col, total); }
}
`;
}
