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

  @registers var s: array<array<vec4f, COLS>, K4>;
  @registers var z: array<vec4f, D4>; // the running sum of the keys
  @registers var product: array<vec4f, D4>; // of the decays
  @registers var value_product: array<vec4f, COLS>;
  @unroll for (var d = 0u; d < D4; d++) { product[d] = vec4f(1.0); }
  @unroll for (var c = 0u; c < COLS; c++) { value_product[c] = vec4f(1.0); }
  if IDENTITY {
    @unroll for (var i = 0u; i < KEYS; i++) {
      @unroll for (var c = 0u; c < COLS; c++) {
        let e = vec4u(4u * (first_col + c * LANES)) + vec4u(0u, 1u, 2u, 3u);
        s[i][c] = select(vec4f(), vec4f(1.0), e == vec4u(i));
      }
    }
  }
  if INITIAL {
    // a loop over the rows and a select for each register: a fraction of the text of K loads
    for (var d = 0u; d < KEYS; d++) {
      @unroll for (var c = 0u; c < COLS; c++) {
        let x = load_state(row, d, 4u * (first_col + c * LANES));
        @unroll for (var i = 0u; i < KEYS; i++) { s[i][c] = select(s[i][c], x, i == d); }
      }
      if NORMALIZE {
        let x = vec4f(get_sums(row * KEYS + d));
        @unroll for (var i = 0u; i < D4; i++) {
          z[i] = select(z[i], x, vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) == vec4u(d));
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
  for (var d = 0u; d < select(0u, KEYS, FINAL || DECAYS); d++) {
    let own = vec4u(0u, 1u, 2u, 3u) == vec4u(d % 4u);
    if FINAL {
      @unroll for (var c = 0u; c < COLS; c++) {
        var x = vec4f();
        @unroll for (var i = 0u; i < KEYS; i++) { x = select(x, s[i][c], i == d); }
        store_state(row, d, 4u * (first_col + c * LANES), x);
      }
    }
    var sum = vec4f();
    var decay = vec4f();
    @unroll for (var i = 0u; i < D4; i++) {
      sum = select(sum, z[i], i == d / 4u);
      decay = select(decay, product[i], i == d / 4u);
    }
    if writes_rows {
      if FINAL { put_new_sums(row * KEYS + d, dot(select(vec4f(), sum, own), vec4f(1.0))); }
      if DECAYS { put_decays(row * KEYS + d, dot(select(vec4f(), decay, own), vec4f(1.0))); }
    }
  }
  if DECAYS {
    @unroll for (var c = 0u; c < COLS; c++) {
      @unroll for (var y = 0u; y < 4; y++) {
        let e = 4u * (first_col + c * LANES) + y;
        if e < VALUES { put_products(row * VALUES + e, value_product[c][y]); }
      }
    }
  }`;
