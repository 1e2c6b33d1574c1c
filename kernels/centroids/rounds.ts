import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { KEYS } from "../select/keys.ts";
import { RADIX } from "../select/radix.ts";

/** What a pass of a round must know when it is compiled. */
export interface CentroidRoundConfig {
  /**
   * All places are cleared; tokens ask for a centroid, centroids take tokens; or, where all have room for
   * all, tokens are assigned at once.
   */
  readonly pass: "clear" | "ask" | "take" | "assign";
}

/** Invocations of a workgroup. */
export const ROUND_THREADS = 64;

const PARAMS: Readonly<Record<string, ParamType>> = {
  lines: "u32", // batch entries and heads of this launch
  heads: "u32",
  width: "u32", // T
  centroids: "u32", // C
  capacity: "u32",
  indexDigits: "u32", // bytes in which tokens differ
  indexPrefix: "u32", // the bits of ~token before them
  before: "u32", // tokens, and counts, that are bound before the first line's
  countsBefore: "u32",
  start: "u32", // first invocation, or centroid, of this launch: with lines, counted together
  end: "u32",
};

const SCORES: Binding = { name: "scores", access: "read", type: "array<f32>" }; // [lines, C, T]
const CLUSTER: Binding = { name: "cluster", access: "read_write", type: "array<i32>" }; // [B, T, H]
const COUNTS: Binding = { name: "counts", access: "read_write", type: "array<i32>" }; // [lines, C]
const CHOICES: Binding = { name: "choices", access: "read_write", type: "array<u32>" }; // [lines, T]
const ASKED: Binding = { name: "asked", access: "read_write", type: "array<atomic<u32>>" }; // [lines, C]

/**
 * A pass of a round of the assignment: each token without a centroid asks for the best one that has
 * room; each centroid takes the best of those that ask, of equals the earlier, as far as it has room. A
 * round that leaves a token out fills a centroid, so there are at most as many rounds as centroids.
 */
export function centroidRound({ pass }: CentroidRoundConfig): Program {
  const bindings = BINDINGS[pass];
  const code = [
    constants({ THREADS: ROUND_THREADS }),
    declare(bindings, PARAMS),
    pass === "clear" ? "" : TOKEN_PLACE,
    PASSES[pass],
  ].join("\n");
  return { label: `centroids (${pass})`, code, bindings, params: PARAMS, subgroups: false };
}

const BINDINGS: Readonly<Record<CentroidRoundConfig["pass"], readonly Binding[]>> = {
  clear: [CLUSTER, COUNTS, ASKED],
  ask: [SCORES, CLUSTER, COUNTS, CHOICES, ASKED],
  take: [SCORES, CLUSTER, COUNTS, CHOICES, ASKED],
  assign: [SCORES, CLUSTER, { ...COUNTS, type: "array<atomic<i32>>" }],
};

/** `place_of(line, t)`: where an element `[B, T, H]` is, of a line (a batch entry and head) of a launch. */
export const TOKEN_PLACE = /* wgsl */ `
/// Where the element of a token is, of a line of this launch.
fn place_of(line: u32, t: u32) -> u32 {
  return params.before + (line / params.heads * params.width + t) * params.heads + line % params.heads;
}`;

/** Runs a statement for the token of an invocation, `t` of `line`: number `id` of those of all lines. */
export function tokenMain(body: string): string {
  return /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  let line = id / params.width;
  let t = id % params.width;
  ${body}
}
`;
}

const CLEAR = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let id = params.start + at.x;
  if id >= params.end { return; }
  if id < params.lines * params.width { cluster[params.before + id] = -1; }
  if id < params.lines * params.centroids {
    counts[params.counts_before + id] = 0;
    atomicStore(&asked[id], 0u);
  }
}
`;

const BEST = /* wgsl */ `
/// The best of the centroids that have room, or their number where none has.
fn best_of(line: u32, t: u32) -> u32 {
  var best = -3.4e38;
  var choice = params.centroids;
  for (var c = 0u; c < params.centroids; c++) {
    let place = line * params.centroids + c;
    let score = scores[place * params.width + t];
    if score > best && has_room(params.counts_before + place) {
      best = score;
      choice = c;
    }
  }
  return choice;
}`;

const ROOM = /* wgsl */ `
fn has_room(place: u32) -> bool { return counts[place] < i32(params.capacity); }`;

const ASK = /* wgsl */ `choices[id] = params.centroids;
  if cluster[place_of(line, t)] >= 0 { return; }
  let choice = best_of(line, t);
  if choice == params.centroids { return; }
  choices[id] = choice;
  atomicAdd(&asked[line * params.centroids + choice], 1u);`;

const NO_LIMIT = /* wgsl */ `
fn has_room(place: u32) -> bool { return true; }`;

const ASSIGN = /* wgsl */ `let choice = best_of(line, t);
  if choice == params.centroids { return; }
  cluster[place_of(line, t)] = i32(choice);
  atomicAdd(&counts[params.counts_before + line * params.centroids + choice], 1);`;

const TAKE = /* wgsl */ `
var<workgroup> demand: vec2u; // how many ask, and how many of them have room

/// The key of a token's score where it asks for the centroid; row counts centroids of all lines.
fn candidate(row: u32, t: u32) -> u32 {
  if choices[row / params.centroids * params.width + t] != row % params.centroids { return 0u; }
  return selectable(key_of_bits(bitcast<u32>(scores[row * params.width + t])));
}

${RADIX}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = params.start + at.x;
  let place = params.counts_before + row;
  if thread == 0u {
    let count = atomicLoad(&asked[row]);
    demand = vec2u(count, min(count, params.capacity - u32(counts[place])));
  }
  let wanted = workgroupUniformLoad(&demand);
  if wanted.x == 0u { return; }
  let line = row / params.centroids;
  var last = Cut();
  var last_index = 0u;
  if wanted.y < wanted.x {
    last = find_key(row, thread, 1u, wanted.y);
    last_index = find_index(row, thread, last);
  }
  for (var t = thread; t < params.width; t += THREADS) {
    let key = candidate(row, t);
    if key > last.prefix || (key > 0u && key == last.prefix && t <= last_index) {
      cluster[place_of(line, t)] = i32(row % params.centroids);
    }
  }
  workgroupBarrier();
  if thread == 0u {
    counts[place] += i32(wanted.y);
    atomicStore(&asked[row], 0u);
  }
}
`;

const PASSES: Readonly<Record<CentroidRoundConfig["pass"], string>> = {
  clear: CLEAR,
  ask: [BEST, ROOM, tokenMain(ASK)].join("\n"),
  take: `${KEYS}\n${TAKE}`,
  assign: [BEST, NO_LIMIT, tokenMain(ASSIGN)].join("\n"),
};
