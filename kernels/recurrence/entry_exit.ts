/** What a workgroup has, and the state at the entry of its segment: s, z and products of decays. */
export const ENTRY = /* wgsl */ `
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = segments[params.segment0 + tile.z]; // first token, one past the last, its state
  let head = tile.y;
  let row = segment.z * params.heads + head;
  let first_col = tile.x * LANES * COLS + lane;
  let count = segment.y - segment.x;
  let writes_rows = tile.x == 0u && lane == 0u;

  @registers var s: array<array<Own, COLS>, K4>;
  @registers var z: array<vec4f, D4>; // the running sum of the keys
  @registers var product: array<vec4f, D4>; // of the decays
  @registers var value_product: array<Own, COLS>;
  @unroll for (var d = 0u; d < D4; d++) { product[d] = vec4f(1.0); }
  @unroll for (var c = 0u; c < COLS; c++) { value_product[c] = Own(1.0); }
  if IDENTITY {
    @unroll for (var i = 0u; i < KEYS; i++) {
      @unroll for (var c = 0u; c < COLS; c++) {
        s[i][c] = unit(OWN * (first_col + c * LANES), i);
      }
    }
  }
  if INITIAL {
    // a loop over four rows and a select for each register: a fraction of the text of K loads
    for (var step = 0u; step < D4; step++) {
      @unroll for (var x = 0u; x < 4; x++) {
        let d = min(4u * step + x, KEYS - 1u);
        @unroll for (var c = 0u; c < COLS; c++) {
          let found = load_state(row, d, OWN * (first_col + c * LANES));
          @unroll for (var i = x; i < KEYS; i += 4) {
            s[i][c] = select(s[i][c], found, i / 4 == step);
          }
        }
        if NORMALIZE {
          let found = get_sums(row * KEYS + d);
          @unroll for (var i = x; i < KEYS; i += 4) {
            z[i / 4][x] = select(z[i / 4][x], found, i / 4 == step);
          }
        }
      }
    }
  }
  var head_gate = 1.0;
  if HEAD_GATE { head_gate = decay_of(element_head_gate(row_head_gate(0u, head), 0u)); }`;

/** The decay of the own token, and what weighs its key. */
export const OWN_GATE = /* wgsl */ `
    var own_gate = head_gate;
    var weight = 1.0; // of the key
    var own_beta = 1.0;
    let decays_now = (first + lane) % SUBSTEPS == 0u; // the other writes of a token keep the state
    if BETA { own_beta = beta_of(element_beta(row_beta(own, head), 0u)); }
    if TOKEN_GATE {
      let raw = element_g(row_g(own / SUBSTEPS, head), 0u);
      own_gate = decay_of(log_gate(raw, head, element_gate_bias(row_gate_bias(0u, head), 0u)));
    }
    if !decays_now { own_gate = 1.0; }
    if STEP_GATE {
      weight = step_of(element_g(row_g(own, head), 0u), head);
      own_gate = decay_of_step(weight, head);
    }`;

/** The state behind a segment. */
export const EXIT = /* wgsl */ `
  for (var step = 0u; step < select(0u, D4, FINAL || DECAYS); step++) {
    @unroll for (var x = 0u; x < 4; x++) {
      let d = 4u * step + x;
      if FINAL {
        @unroll for (var c = 0u; c < COLS; c++) {
          var found = Own();
          @unroll for (var i = x; i < KEYS; i += 4) {
            found = select(found, s[i][c], i / 4 == step);
          }
          if d < KEYS { store_state(row, d, OWN * (first_col + c * LANES), found); }
        }
      }
      var sum = 0.0;
      var decay = 0.0;
      @unroll for (var i = x; i < KEYS; i += 4) {
        sum = select(sum, z[i / 4][x], i / 4 == step);
        decay = select(decay, product[i / 4][x], i / 4 == step);
      }
      if writes_rows && d < KEYS {
        if FINAL { put_new_sums(row * KEYS + d, sum); }
        if DECAYS { put_decays(row * KEYS + d, decay); }
      }
    }
  }
  if DECAYS {
    @unroll for (var c = 0u; c < COLS; c++) {
      keep_products(row, OWN * (first_col + c * LANES), value_product[c]);
    }
  }`;
