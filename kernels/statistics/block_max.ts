import type { Program } from "../../gpu/program.ts";
import type { StatisticsConfig } from "./config.ts";
import { walkPairs } from "./pairs.ts";

/** Sizes of the blocks. */
export interface BlockSizes {
  /** Consecutive queries of a block. */
  readonly queryBlock: number;
  /** Consecutive keys of a block. */
  readonly keyBlock: number;
}

/**
 * The largest score of each block of queries and keys, a workgroup for each block. A launch that does
 * not cover the first pair of a block joins what an earlier one has written.
 */
export function blockMax(config: StatisticsConfig, blocks: BlockSizes): Program {
  return walkPairs(config, {
    ...{ name: "blocks", held: "queries", walkedLse: false },
    bindings: [
      { name: "maxima", access: "read_write", type: "array<f32>" }, // [B, Hq, query blocks, key blocks]
    ],
    params: { blocks: "u32", keyBlocks: "u32" }, // of a head, and of a block of queries
    sizes: { QUERY_BLOCK: blocks.queryBlock, KEY_BLOCK: blocks.keyBlock },
    ...{
      code: CODE,
      begin: "var best = FLOOR;",
      hold: "",
      use: USE,
      step: "",
      after: "",
      end: END,
    },
  });
}

/** Bytes of workgroup memory, beside the stage. */
export function blockMaxBytes(threads: number): number {
  return 4 * threads;
}

const CODE = /* wgsl */ `
var<workgroup> bests: array<f32, THREADS>;

fn span_of(tile: u32) -> Span {
  let first = params.j0 / KEY_BLOCK; // of this launch
  let count = (params.j1 + KEY_BLOCK - 1u) / KEY_BLOCK - first;
  let q_block = params.t0 / QUERY_BLOCK + tile / count;
  let k_block = first + tile % count;
  return Span(
    max(q_block * QUERY_BLOCK, params.t0),
    min((q_block + 1u) * QUERY_BLOCK, params.t1),
    max(k_block * KEY_BLOCK, params.j0),
    min((k_block + 1u) * KEY_BLOCK, params.j1),
    q_block * params.key_blocks + k_block,
  );
}
fn walked(span: Span, x_first: u32, x_last: u32) -> vec2u {
  return keys_seen(vec2u(span.y_first, span.y_end), vec2u(x_first, x_last));
}
`;

const USE = "best = max(best, select(FLOOR, s_own, own <= x_last));";

const END = /* wgsl */ `
  bests[thread] = best;
  workgroupBarrier();
  if thread == 0u {
    for (var i = 1u; i < THREADS; i++) { best = max(best, bests[i]); }
    let place = (b * params.heads + h) * params.blocks + span.slot;
    if span.x_first % QUERY_BLOCK + span.y_first % KEY_BLOCK > 0u {
      best = max(best, maxima[place]);
    }
    maxima[place] = select(best, negative_infinity(), best <= FLOOR);
  }`;
