import {
  type Binding,
  constants,
  declare,
  type ParamType,
  type Program,
} from "../../gpu/program.ts";
import { FLOORED } from "../scan/floor.ts";
import { type Elem, type InputSource, reader } from "../shared/rows.ts";
import { unroll } from "../unroll.ts";

/** What scoring the nodes of a level must know when it is compiled. */
export interface TreeScoresConfig {
  readonly elem: Elem;
  /** D. */
  readonly dim: number;
  readonly source: InputSource;
  /** Whether the nodes are the first ones of their level; else children of those that were kept. */
  readonly root: boolean;
  /** Invocations of a subgroup, which load some of the queries each; 1 where each loads all of them. */
  readonly lanes: number;
}

/** Nodes of a workgroup, and most invocations of a subgroup. */
export const TREE_THREADS = 32;

/** Queries whose products with a node an invocation holds at a time. */
export const TREE_QUERIES = 8;

const PARAMS: Readonly<Record<string, ParamType>> = {
  row0: "u32", // first block of queries of this launch: with batch entries and heads, counted together
  blocks: "u32", // blocks of queries of a head
  heads: "u32", // Hq
  kvHeads: "u32", // Hkv
  group: "u32", // Hq / Hkv
  qLen: "u32", // T
  queryBlock: "u32",
  keyBlock: "u32",
  nodes: "u32", // of the level
  span: "u32", // leaves of a node
  candidates: "u32", // nodes of the level that a block of queries scores
  keep: "u32", // nodes of the level before that it kept
  branches: "u32",
  causal: "u32", // 1 where a query sees no node whose first key is behind it
  diagonal: "i32", // which key the first query stands at
  sinks: "u32", // leaves at the start that are kept
  near: "i32", // leaves before those of the queries that are kept; -1 where not even those are
  qFirst: "u32", // first rows that are bound
  kFirst: "u32",
  keptFirst: "u32", // first elements that are bound
  scoresFirst: "u32",
};

/**
 * The scores of the nodes of a level of a tree with blocks of queries, `[rows, candidates]`: the largest
 * product of a query that sees the node's first key and what stands for its keys, −∞ where none does, ∞
 * where the node is kept whatever it is.
 *
 * An invocation has a node, and walks the queries of its block, a few at a time: the lanes of a subgroup
 * load them and hand them round.
 */
export function treeScores(config: TreeScoresConfig): Program {
  const { elem, dim, source, root, lanes } = config;
  const accessors = ["q", "k"].map((name) => reader({ name, elem, width: dim }, source));
  const bindings: Binding[] = [
    ...accessors.map(({ binding }) => binding),
    ...(root ? [] : [{ name: "kept", access: "read", type: "array<i32>" } as const]), // [rows, keep]
    { name: "scores", access: "read_write", type: "array<f32>" },
  ];
  const sizes = {
    THREADS: TREE_THREADS,
    QUERIES: TREE_QUERIES,
    OWN: Math.ceil(TREE_QUERIES / lanes), // queries that a lane loads
    LANES: lanes,
    C4: Math.ceil(dim / 4),
  };
  const subgroups = lanes > 1;
  const code = [
    constants(sizes),
    declare(bindings, PARAMS),
    ...accessors.map((accessor) => accessor.code),
    root ? ROOTS : CHILDREN,
    KEPT,
    unroll(mainCode(subgroups), sizes),
  ].join("\n");
  return {
    ...{ label: `tree (scores of ${root ? "roots" : "children"})`, code, bindings },
    ...{ params: PARAMS, subgroups },
  };
}

const ROOTS = "fn node_of(row: u32, candidate: u32) -> i32 { return i32(candidate); }";

const CHILDREN = /* wgsl */ `
/// A candidate as a node of the level, or a negative number.
fn node_of(row: u32, candidate: u32) -> i32 {
  let place = min(candidate, params.candidates - 1u);
  let parent = kept[row * params.keep - params.kept_first + place / params.branches];
  return select(-1, parent * i32(params.branches) + i32(place % params.branches), parent >= 0);
}`;

const KEPT: string = /* wgsl */ `${FLOORED}
const MOST = 3.4028234e38;

/// Whether a node has leaves that are kept whatever they score: sinks, and those near the queries.
fn is_kept(node: i32, i_first: u32, i_last: u32) -> bool {
  let first = node * i32(params.span);
  if first < i32(params.sinks) { return true; }
  let last = i32(i_last) + params.diagonal; // key that the last query stands at
  if params.near < 0 || last < 0 { return false; }
  let size = i32(params.key_block);
  let near_first = max(i32(i_first) + params.diagonal, 0) / size - params.near;
  return first <= last / size && first + i32(params.span) > near_first;
}`;

function mainCode(subgroups: boolean): string {
  const lane = subgroups ? "@builtin(subgroup_invocation_id) lane: u32," : "";
  const own = subgroups ? "LANES * n + lane" : "n";
  const handed = subgroups ? "subgroupBroadcast(q[n / LANES], n % LANES)" : "q[n]";
  return /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) at: vec3u,
  @builtin(local_invocation_index) thread: u32,
  ${lane}
) {
  let row = params.row0 + at.y;
  let line = row / params.blocks;
  let b = line / params.heads;
  let h = line % params.heads;
  let i_first = row % params.blocks * params.query_block;
  let i_last = min(i_first + params.query_block, params.q_len) - 1u;

  let candidate = at.x * THREADS + thread;
  let node = node_of(row, candidate);
  let there = candidate < params.candidates && node >= 0 && node < i32(params.nodes);
  let place = select(0u, u32(node), there);
  let k_row = (b * params.nodes + place) * params.kv_heads + h / params.group;
  // the first query that sees it
  let key = i32(place * params.span * params.key_block);
  let seen_from = select(0, key - params.diagonal, params.causal == 1u);

  var best = negative_infinity();
  for (var i = i_first; i <= i_last; i += QUERIES) {
    @registers var rows: array<u32, OWN>; // of q; behind the last query, the last one
    @unroll for (var n = 0u; n < OWN; n++) {
      rows[n] = (b * params.q_len + min(i + ${own}, i_last)) * params.heads + h;
    }
    @registers var s: array<f32, QUERIES>;
    for (var c = 0u; c < C4; c++) {
      let k = load_k(k_row, c);
      @registers var q: array<vec4f, OWN>;
      @unroll for (var n = 0u; n < OWN; n++) { q[n] = load_q(rows[n], c); }
      @unroll for (var n = 0u; n < QUERIES; n++) { s[n] += dot(${handed}, k); }
    }
    @unroll for (var n = 0u; n < QUERIES; n++) {
      let sees = seen_from <= i32(min(i + n, i_last));
      if sees && s[n] > best { best = s[n]; } // never NaN
    }
  }
  best = min(best, MOST); // behind what is kept
  let visible = there && seen_from <= i32(i_last);
  if visible && is_kept(node, i_first, i_last) { best = -negative_infinity(); }
  if candidate < params.candidates {
    let out = row * params.candidates - params.scores_first + candidate;
    scores[out] = select(negative_infinity(), best, visible);
  }
}
`;
}
