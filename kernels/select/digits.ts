import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { unroll } from "../unroll.ts";
import { SORT_TILE } from "./order.ts";

/** A pass over a digit of four bits of long rows of pairs. */
export interface SortDigitsConfig {
  /** Tiles count their digits, counts become places, pairs move there. */
  readonly pass: "count" | "places" | "move";
}

/** Invocations of a workgroup; each has a run of the tile. */
const THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  width: "u32", // pairs of a row
  tiles: "u32", // of a row
  word: "u32", // 0 for a digit of the key, 1 of the index
  shift: "u32", // bits below the digit
};

const PAIRS: Binding = { name: "pairs", access: "read", type: "array<vec2u>" };
const MOVED: Binding = { name: "moved", access: "read_write", type: "array<vec2u>" };
const COUNTS: Binding = { name: "counts", access: "read_write", type: "array<u32>" }; // [rows, 16, tiles]

/**
 * A pass of a stable radix sort, digit after digit from the lowest: three programs a digit. A workgroup
 * has a tile, an invocation a run of it, whose counts of the 16 digits are bytes of four words: registers.
 */
export function sortDigits({ pass }: SortDigitsConfig): Program {
  const bindings = { count: [PAIRS, COUNTS], places: [COUNTS], move: [PAIRS, MOVED, COUNTS] }[pass];
  const sizes = { THREADS, TILE: SORT_TILE, OWN: SORT_TILE / THREADS };
  const code = [
    constants(sizes),
    declare(bindings, PARAMS),
    pass === "places" ? "" : DIGITS,
    unroll(PASSES[pass], sizes),
  ].join("\n");
  return { label: `sort (${pass} digits)`, code, bindings, params: PARAMS, subgroups: false };
}

const DIGITS = /* wgsl */ `
/// The digit of a pair.
fn digit_of(pair: vec2u) -> u32 { return (pair[params.word] >> params.shift) & 15u; }

/// One in the byte of a digit, where a word has it.
fn one_of(digit: u32, word: u32) -> u32 {
  return select(0u, 1u << (8u * (digit & 3u)), digit >> 2u == word);
}

/// The byte of a digit.
fn byte_of(words: vec4u, digit: u32) -> u32 {
  return (words[digit >> 2u] >> (8u * (digit & 3u))) & 255u;
}`;

const COUNT = /* wgsl */ `
var<workgroup> bins: array<atomic<u32>, 16>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  if thread < 16u { atomicStore(&bins[thread], 0u); }
  workgroupBarrier();
  let first = at.x * TILE + thread * OWN;
  var words = vec4u();
  @unroll for (var i = 0u; i < OWN; i++) {
    if first + i < params.width {
      let digit = digit_of(pairs[at.y * params.width + first + i]);
      words += vec4u(one_of(digit, 0u), one_of(digit, 1u), one_of(digit, 2u), one_of(digit, 3u));
    }
  }
  @unroll for (var digit = 0u; digit < 16u; digit++) {
    atomicAdd(&bins[digit], byte_of(words, digit));
  }
  workgroupBarrier();
  if thread < 16u {
    counts[(at.y * 16u + thread) * params.tiles + at.x] = atomicLoad(&bins[thread]);
  }
}
`;

const PLACES = /* wgsl */ `
var<workgroup> sums: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let all = 16u * params.tiles;
  let own = (all + THREADS - 1u) / THREADS;
  let first = min(thread * own, all);
  let end = min(first + own, all);
  var sum = 0u;
  for (var i = first; i < end; i++) { sum += counts[at.y * all + i]; }
  sums[thread] = sum;
  workgroupBarrier();
  var place = 0u;
  for (var i = 0u; i < thread; i++) { place += sums[i]; }
  for (var i = first; i < end; i++) {
    let count = counts[at.y * all + i];
    counts[at.y * all + i] = place;
    place += count;
  }
}
`;

const MOVE = /* wgsl */ `
var<workgroup> places: array<u32, 16u * THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = at.x * TILE + thread * OWN;
  let row = at.y * params.width;
  @registers var pair: array<vec2u, OWN>;
  var words = vec4u();
  @unroll for (var i = 0u; i < OWN; i++) {
    if first + i < params.width {
      pair[i] = pairs[row + first + i];
      let digit = digit_of(pair[i]);
      words += vec4u(one_of(digit, 0u), one_of(digit, 1u), one_of(digit, 2u), one_of(digit, 3u));
    }
  }
  @unroll for (var digit = 0u; digit < 16u; digit++) {
    places[digit * THREADS + thread] = byte_of(words, digit);
  }
  workgroupBarrier();
  if thread < 16u {
    var place = counts[(at.y * 16u + thread) * params.tiles + at.x];
    for (var i = 0u; i < THREADS; i++) {
      let count = places[thread * THREADS + i];
      places[thread * THREADS + i] = place;
      place += count;
    }
  }
  workgroupBarrier();
  words = vec4u();
  @unroll for (var i = 0u; i < OWN; i++) {
    if first + i < params.width {
      let digit = digit_of(pair[i]);
      moved[row + places[digit * THREADS + thread] + byte_of(words, digit)] = pair[i];
      words += vec4u(one_of(digit, 0u), one_of(digit, 1u), one_of(digit, 2u), one_of(digit, 3u));
    }
  }
}
`;

const PASSES: Readonly<Record<SortDigitsConfig["pass"], string>> = {
  count: COUNT,
  places: PLACES,
  move: MOVE,
};
