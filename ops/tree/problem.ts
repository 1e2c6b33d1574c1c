import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { PoolKind } from "../../kernels/pool/config.ts";
import { oneOf } from "../options.ts";
import { type PoolProblem, poolProblem } from "../pool/problem.ts";
import { checkDType, checkRank, checkShape, checkTensors } from "../tensors.ts";

/** Options of {@linkcode selectTree}. */
export interface SelectTreeOptions {
  /** k: nodes of a level, and blocks of keys at the end, that a block of queries keeps. */
  keep: number;
  /**
   * Queries of a block.
   *
   * @default {64}
   */
  queryBlock?: number;
  /**
   * Keys of a block: a leaf of the tree.
   *
   * @default {64}
   */
  keyBlock?: number;
  /**
   * Children of a node.
   *
   * @default {2}
   */
  branches?: number;
  /**
   * What stands for the keys of a node: their first or last one, or their mean, maximum or minimum by
   * channel.
   *
   * @default {"first"}
   */
  representative?: "first" | "last" | "mean" | "max" | "min";
  /**
   * Whether a query scores only nodes whose first key it sees: `true` lets the last query see the last
   * key, `"top-left"` the first query the first key.
   *
   * @default {false}
   */
  causal?: boolean | "top-left";
  /**
   * Blocks of keys at the start that are kept where they are seen.
   *
   * @default {0}
   */
  sinks?: number;
  /**
   * Blocks of keys before those that a block of queries stands at, which are kept with them; queries
   * stand at the last keys, or with `causal: "top-left"` at the first ones.
   *
   * @default {undefined}
   */
  window?: number;
}

/** What is selected, validated; no tensors and no GPU. */
export interface TreeProblem {
  readonly elem: "f32" | "f16";
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly qLen: number;
  readonly kvLen: number;
  readonly queryBlock: number;
  readonly keyBlock: number;
  readonly keep: number;
  readonly branches: number;
  readonly representative: PoolKind;
  readonly causal: boolean;
  /** Which key the first query stands at. */
  readonly diagonal: number;
  readonly sinks: number;
  /** Blocks before those of the queries, or −1 where not even those are kept. */
  readonly near: number;
  /** From the first level down to the leaves. */
  readonly levels: readonly TreeLevel[];
}

/** A level of the tree. */
export interface TreeLevel {
  /** Leaves of a node. */
  readonly span: number;
  /** What makes its nodes of the keys. */
  readonly pool: PoolProblem;
}

const ACTION = "select by a tree";
const OPTIONS: readonly (keyof SelectTreeOptions)[] = [
  ...["keep", "queryBlock", "keyBlock", "branches", "representative"] as const,
  ...["causal", "sinks", "window"] as const,
];
const REPRESENTATIVES = ["first", "last", "mean", "max", "min"] as const;

/** Far beyond any length, and safe to add to one in 32 bits. */
const MOST = 2 ** 30;

/** Validates the arguments of a selection by a tree. */
export function treeProblem(
  q: Tensor,
  k: Tensor,
  options: SelectTreeOptions,
): { problem: TreeProblem; gpu: Gpu } {
  checkOptionNames(ACTION, options, OPTIONS);
  const gpu = checkTensors(ACTION, { q, k });
  const elem = checkDType(ACTION, "q", q, ["f32", "f16"]);
  checkDType(ACTION, "k", k, [elem]);
  checkRank(ACTION, "q", q, ["B", "T", "Hq", "D"]);
  checkRank(ACTION, "k", k, ["B", "S", "Hkv", "D"]);
  const [batch, qLen, heads, dim] = q.shape;
  const [, kvLen, kvHeads] = k.shape;
  checkShape(ACTION, "k", k, [batch, kvLen, kvHeads, dim]);
  if (heads > 0 && !(kvHeads > 0 && heads % kvHeads === 0)) {
    throw new TypeError(
      `Cannot ${ACTION} as Hq must be a multiple of Hkv: Hq is ${heads}, Hkv is ${kvHeads}`,
    );
  }
  const sizes = { elem, batch, heads, kvHeads, dim, qLen, kvLen };
  const tree = treeOf(options, sizes);
  return { problem: { ...sizes, ...tree, levels: levelsOf(k, tree) }, gpu };
}

/** The levels of a tree over keys: the first one has no more nodes than may be scored. */
function levelsOf(
  k: Tensor,
  { keep, branches, keyBlock, representative: kind }: Pick<
    TreeProblem,
    "keep" | "branches" | "keyBlock" | "representative"
  >,
): TreeLevel[] {
  const leaves = Math.ceil(k.shape[1] / keyBlock);
  const spans = [1];
  while (keep * branches * spans[0] < leaves) spans.unshift(spans[0] * branches);
  return spans.map((span) => {
    return { span, pool: poolProblem(k, { block: keyBlock * span, kind }).problem };
  });
}

/** The options of a tree, all of them. */
function treeOf(
  options: SelectTreeOptions,
  { qLen, kvLen }: Pick<TreeProblem, "qLen" | "kvLen">,
): Omit<TreeProblem, "elem" | "batch" | "heads" | "kvHeads" | "dim" | "qLen" | "kvLen" | "levels"> {
  const { keep, queryBlock = 64, keyBlock = 64, branches = 2, sinks = 0, window } = options;
  const { representative = "first", causal = false } = options;
  for (const [name, count] of Object.entries({ keep, queryBlock, keyBlock })) {
    checkCount(name, count, 1);
  }
  checkCount("branches", branches, 2);
  checkCount("sinks", sinks, 0);
  if (window !== undefined) checkCount("window", window, 0);
  oneOf(ACTION, "representative", representative, REPRESENTATIVES);
  oneOf(ACTION, "causal", causal, [true, false, "top-left"]);
  const leaves = Math.ceil(kvLen / keyBlock);
  const own = ownLeaves(Math.min(queryBlock, qLen), keyBlock);
  checkKept({ keep, sinks, window, own, leaves });
  return {
    ...{ queryBlock, keyBlock, keep, branches, representative, sinks },
    causal: causal !== false,
    diagonal: causal === "top-left" ? 0 : kvLen - qLen,
    near: window ?? -1,
  };
}

/** Most blocks of keys that so many queries stand at. */
function ownLeaves(queries: number, keyBlock: number): number {
  return Math.ceil((queries - 1) / keyBlock) + 1;
}

/** Checks that what is always kept leaves nothing out. */
function checkKept(
  { keep, sinks, window, own, leaves }: {
    readonly keep: number;
    readonly sinks: number;
    readonly window: number | undefined;
    readonly own: number;
    readonly leaves: number;
  },
): void {
  const always = sinks + (window === undefined ? 0 : window + own);
  if (always <= keep || leaves <= keep) return;
  throw new RangeError(
    `Cannot ${ACTION} as keep must be at least what is always kept, ${always} blocks: keep is ${keep}, sinks is ${sinks}, window is ${window}, a block of queries stands at up to ${own}`,
  );
}

function checkCount(name: string, count: unknown, least: number): void {
  if (Number.isSafeInteger(count) && Number(count) >= least && Number(count) <= MOST) return;
  throw new RangeError(
    `Cannot ${ACTION} as ${name} must be an integer from ${least} to 2^30: ${name} is ${
      kindOf(count)
    }`,
  );
}
