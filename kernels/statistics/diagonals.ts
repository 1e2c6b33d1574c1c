import type { Program } from "../../gpu/program.ts";
import { heldTokens, type PairTile, type StatisticsConfig } from "./config.ts";
import { walkPairs } from "./pairs.ts";

/**
 * Diagonal sums Σ e^{s_ij - lse_i} over the pairs with one j - i, as far as one diagonal of square tiles
 * has them: a workgroup walks down its tiles, from a pair of tiles to the next, and keeps a sum for each
 * of the 2 X - 1 diagonals of a tile: the i-th, i >= 1, has the pairs with j - i + X of a tile.
 *
 * In a subgroup, sums move on by one lane from key to key, as diagonals do, and go to memory once a tile.
 * Else weights pass through workgroup memory, where every diagonal is summed by one invocation. Two
 * neighbouring diagonals of tiles share diagonals: `joinDiagonals` adds them.
 */
export function diagonalSums(config: StatisticsConfig): Program {
  const { hold, use, step, after } = config.tile.exchange === "stage" ? SHARED : ROTATED;
  return walkPairs(config, {
    ...{ name: "diagonals", held: "queries", walkedLse: false },
    bindings: [
      { name: "lse", access: "read", type: "array<f32>" }, // [B, T, Hq]
      { name: "partial", access: "read_write", type: "array<f32>" }, // [B, Hq, diagonals of tiles, 2 X]
    ],
    params: { slots: "u32" }, // diagonals of tiles
    sizes: {},
    code: config.tile.exchange === "stage" ? CODE + WEIGHTS : CODE,
    ...{ begin: "", hold: HOLD + hold, use: USE + use, step, after, end: END },
  });
}

/** Bytes of workgroup memory, beside the stage. */
export function diagonalBytes(tile: PairTile): number {
  const sums = tile.exchange === "stage" ? tile.columns + 2 : 2;
  return 4 * heldTokens(tile) * sums;
}

const CODE = /* wgsl */ `
fn span_of(tile: u32) -> Span {
  let q_tiles = (params.t1 - params.t0 + X - 1u) / X;
  let k_tiles = (params.j1 - params.j0 + X - 1u) / X;
  let down = q_tiles - min(q_tiles, tile + 1u); // tiles of queries before its first pair
  let right = tile + 1u - min(q_tiles, tile + 1u); // tiles of keys
  let steps = min(q_tiles - down, k_tiles - min(k_tiles, right));
  let first = params.t0 + down * X;
  let y_first = params.j0 + right * X;
  let slot = y_first / X + (params.q_len + X - 1u) / X - 1u - first / X;
  return Span(first, min(first + steps * X, params.t1), y_first, params.j1, slot);
}

var<workgroup> sums: array<f32, 2 * X>;

/// The first key of the tile that belongs to a tile of queries.
fn corner(span: Span, x_first: u32) -> u32 { return span.y_first + x_first - span.x_first; }

fn walked(span: Span, x_first: u32, x_last: u32) -> vec2u {
  let first = corner(span, x_first);
  let seen = keys_seen(vec2u(first, min(first + X, span.y_end)), vec2u(x_first, x_last));
  return vec2u(seen.x - (seen.x - first) % Y, seen.y);
}
`;

const WEIGHTS = /* wgsl */ `
var<workgroup> weights: array<f32, X * Y>; // [X, Y]
`;

const HOLD = /* wgsl */ `
    @registers var lse_x: array<f32, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
      lse_x[r] = lse_of(q_row(b, min(x_first + r * THREADS + thread, x_last), h));
    }`;

const USE = /* wgsl */ `
          let weight = select(0.0, exp2(LOG2E * (s_own - lse_x[r])), own <= x_last);`;

/** How weights become sums: statements of a walk. */
type Summing = Readonly<Record<"hold" | "use" | "step" | "after", string>>;

/** At key n, lane i has the diagonals n - i of its rows: from n = i on those right of its tile's corner. */
const ROTATED: Summing = {
  hold: /* wgsl */ `
    @registers var diagonal: array<f32, ROWS + 1>; // of the tiles of lanes from right to left`,
  use: /* wgsl */ `
          let right = n >= thread;
          diagonal[r] += select(0.0, weight, right);
          diagonal[r + 1] += select(weight, 0.0, right);`,
  step: /* wgsl */ `
        @unroll for (var r = 0u; r < ROWS + 1; r++) {
          diagonal[r] = subgroupShuffle(diagonal[r], (thread + THREADS - 1u) % THREADS);
        }`,
  after: /* wgsl */ `
      let block = (y_first - corner(span, x_first)) / Y + ROWS;
      @unroll for (var r = 0u; r < ROWS + 1; r++) {
        let sum = subgroupShuffle(diagonal[r], (count + THREADS - thread) % THREADS);
        sums[(block - r) * Y + thread] += sum;
        diagonal[r] = 0.0;
      }`,
};

const SHARED: Summing = {
  hold: "",
  use: "weights[(r * THREADS + thread) * Y + n] = weight;",
  step: "",
  after: /* wgsl */ `
      workgroupBarrier();
      // diagonals of the tile, from its lower left on: keys n = i + row - X of its rows
      let shift = y_first - corner(span, x_first);
      for (var i = 1u + thread; i < X + count; i += THREADS) {
        var sum = 0.0;
        for (var n = max(i, X) - X; n < min(count, i); n++) {
          sum += weights[(n + X - i) * Y + n];
        }
        sums[shift + i] += sum;
      }
      workgroupBarrier();`,
};

const END = /* wgsl */ `
  workgroupBarrier();
  let place = ((b * params.heads + h) * params.slots + span.slot) * 2u * X;
  let resumed = span.x_first > 0u && span.y_first > 0u;
  for (var i = thread; i < 2u * X; i += THREADS) {
    var sum = sums[i];
    if resumed { sum += partial[place + i]; }
    partial[place + i] = sum;
  }`;
