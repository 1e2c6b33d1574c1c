import type { Gpu } from "../gpu/device.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { keysOfTile, queriesOfTile } from "../ops/attention/tokens.ts";
import type { AttentionCase } from "./attention_case.ts";
import { compileMap, keyLayoutOf } from "./attention_keys.ts";
import { type KeyRange, keyRanges, problemOf } from "./attention_problem.ts";

/** How much of all pairs a case sees, and how much of all tiles it visits. */
export interface Sparsity {
  /** Share of visible pairs. */
  readonly density: number;
  /** Share of visited tiles: blocks of the map, or tiles of the schedule. */
  readonly tileDensity: number;
  readonly speedupOverDense: number;
  /** What the tiles allow over dense attention: 1 / tileDensity. */
  readonly workBound: number;
  readonly ratioToBound: number;
}

/** The tiles of a schedule. */
interface Tiles {
  readonly queries: number;
  readonly keys: number;
}

/** Whether a case sees less than all pairs because of a mask, of sequences or of pages. */
export function isSparse({ mask, packed, pages }: AttentionCase): boolean {
  return (mask ?? packed ?? pages) !== undefined;
}

/** The case in which every query sees every key. */
export function denseCase(c: AttentionCase): AttentionCase {
  const { mask: _mask, map: _map, packed: _packed, pages: _pages, ...rest } = c;
  const { causal: _causal, window: _window, ...dense } = rest;
  return dense;
}

/** What a case's speed-up over dense attention has to be seen beside. */
export async function sparsityOf(
  gpu: Gpu,
  c: AttentionCase,
  { pairs, speedupOverDense }: { readonly pairs: number; readonly speedupOverDense: number },
): Promise<Sparsity> {
  const { map, mask } = c;
  const { schedule } = planAttention(problemOf(c), gpu);
  const tiles = { queries: queriesOfTile(schedule), keys: keysOfTile(schedule) };
  let tileDensity = visitedTiles(c, tiles);
  if (map !== undefined && mask !== undefined) {
    using compiled = compileMap(gpu, { ...c, map, mask });
    tileDensity = await compiled.density();
  }
  return {
    density: pairs / (c.batch * c.heads * c.qLen * c.kvLen),
    tileDensity,
    speedupOverDense,
    workBound: 1 / tileDensity,
    ratioToBound: speedupOverDense * tileDensity,
  };
}

/** Share of the tiles of all pairs that is visited where there is no map. */
export function visitedTiles(c: AttentionCase, tiles: Tiles): number {
  const rangeOf = keyRanges(c);
  const keys = keyLayoutOf(c);
  const sections: KeyRange[] = keys.kind === "packed"
    ? keys.q.slice(1).map((end, n) => [keys.q[n], end])
    : [[0, c.qLen]];
  let visited = 0;
  for (const [first, end] of sections) {
    for (let i = first; i < end; i += tiles.queries) {
      const [from] = rangeOf(i);
      const [, to] = rangeOf(Math.min(i + tiles.queries, end) - 1);
      visited += Math.max(0, Math.ceil((to - from) / tiles.keys));
    }
  }
  return visited / (Math.ceil(c.qLen / tiles.queries) * Math.ceil(c.kvLen / tiles.keys));
}
