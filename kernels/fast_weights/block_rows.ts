/** How keys and queries of a block reach the invocations that read them: WGSL of a walk. */
export interface BlockRows {
  /**
   * `key_of(first, head, j, c)` and `query_of(first, head, r, i, c)`, scaled: four channels of the j-th
   * and i-th token from the first of the block on, of queries the r-th that reads a state.
   */
  readonly code: string;
  /** Statements that bring the keys, and the queries. */
  readonly keys: string;
  readonly queries: string;
}

/** Through workgroup memory, each row loaded once, zeros behind it. */
export const STAGED_ROWS: BlockRows = {
  code: /* wgsl */ `
var<workgroup> keys: array<vec4f, TOKENS * KP4>;
var<workgroup> queries: array<vec4f, TOKENS * KP4>;
fn key_of(first: u32, head: u32, j: u32, c: u32) -> vec4f { return keys[j * KP4 + c]; }
fn query_of(first: u32, head: u32, r: u32, i: u32, c: u32) -> vec4f { return queries[i * KP4 + c]; }
`,
  keys: /* wgsl */ `
    for (var i = lane; i < loaded * KP4; i += LANES) {
      var k = vec4f();
      if i % KP4 < K4 { k = load_k(row_k(first + i / KP4, head), i % KP4); }
      keys[i] = k;
    }`,
  queries: /* wgsl */ `
      for (var i = lane; i < loaded * KP4; i += LANES) {
        var q = vec4f();
        if i % KP4 < K4 { q = params.scale * load_q(row_q(first + i / KP4, head, r), i % KP4); }
        queries[i] = q;
      }`,
};

/** From texels, each time they are needed; no slice may have rows beyond the last. */
export const DIRECT_ROWS: BlockRows = {
  code: /* wgsl */ `
fn key_of(first: u32, head: u32, j: u32, c: u32) -> vec4f { return load_k(row_k(first + j, head), c); }
fn query_of(first: u32, head: u32, r: u32, i: u32, c: u32) -> vec4f {
  return params.scale * load_q(row_q(first + i, head, r), c);
}
`,
  keys: "",
  queries: "",
};
