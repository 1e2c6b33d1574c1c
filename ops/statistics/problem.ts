import type { Gpu } from "../../gpu/device.ts";
import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { BlockSizes } from "../../kernels/statistics/block_max.ts";
import type { CheckedHooks } from "../attention/hooks.ts";
import {
  type AttentionOptions,
  type AttentionProblem,
  attentionProblem,
} from "../attention/problem.ts";
import { checkElem } from "../attention/sizes.ts";
import { checkFlags, oneOf } from "../options.ts";
import { checkRank, checkShared, checkTensors } from "../tensors.ts";

/** What of {@linkcode AttentionOptions} says which pairs have which scores. */
export type ScoreOptions = Pick<
  AttentionOptions,
  "scale" | "causal" | "window" | "softcap" | "bias" | "score" | "mask" | "inputs"
>;

/** Options of `attentionStatistics()`: how pairs are scored, and which statistics are wanted. */
export interface AttentionStatisticsOptions extends ScoreOptions {
  /**
   * Asks for the log-sum-exp of each row.
   *
   * @default {false}
   */
  lse?: boolean;
  /**
   * Asks for the entropy of each row.
   *
   * @default {false}
   */
  entropy?: boolean;
  /**
   * Asks for the key with the largest score of each row.
   *
   * @default {false}
   */
  argMax?: boolean;
  /** Asks for that many of the largest scores of each row, 1 to 64. */
  topK?: number;
  /**
   * Asks for how much weight each key gets.
   *
   * @default {false}
   */
  columnSums?: boolean;
  /**
   * Asks for how much weight each distance of key and query gets.
   *
   * @default {false}
   */
  diagonalSums?: boolean;
  /** Asks for the largest score of each block of that many queries and keys. */
  blockMax?: BlockSizes;
  /** Overrides the kernels: tokens are handed round inside a subgroup, or in workgroup memory. */
  schedule?: "subgroup" | "workgroup";
}

/** Which statistics are wanted. */
export interface WantedStatistics {
  readonly lse: boolean;
  readonly entropy: boolean;
  readonly argMax: boolean;
  /** 0 where it is not. */
  readonly topK: number;
  readonly columnSums: boolean;
  readonly diagonalSums: boolean;
  readonly blockMax: BlockSizes | null;
}

/** What is to be computed, validated; no tensors and no GPU. */
export interface StatisticsProblem {
  /** How pairs are scored; its values are the keys. */
  readonly scores: AttentionProblem;
  readonly wanted: WantedStatistics;
  readonly schedule: "subgroup" | "workgroup" | null;
}

/** A problem, the device that computes it, and what the caller wrote. */
export interface CheckedStatistics {
  readonly problem: StatisticsProblem;
  readonly gpu: Gpu;
  readonly written: CheckedHooks;
}

/** For messages. */
export const ACTION = "compute attention statistics";
/** The longest list of largest scores, which invocations keep in registers. */
export const MAX_TOP = 64;

const SCORE_OPTIONS: readonly (keyof ScoreOptions)[] = [
  ...["scale", "causal", "window", "softcap", "bias", "score", "mask", "inputs"] as const,
];
const FLAGS = ["lse", "entropy", "argMax", "columnSums", "diagonalSums"] as const;
const OPTIONS: readonly (keyof AttentionStatisticsOptions)[] = [
  ...SCORE_OPTIONS,
  ...FLAGS,
  ...["topK", "blockMax", "schedule"] as const,
];

/** Validates the arguments of `attentionStatistics()`. */
export function statisticsProblem(
  q: Tensor,
  k: Tensor,
  options: AttentionStatisticsOptions,
): CheckedStatistics {
  checkOptionNames(ACTION, options, OPTIONS);
  checkTensors(ACTION, { q, k });
  for (const [name, tensor] of Object.entries({ q, k })) {
    checkRank(ACTION, name, tensor, ["B", "length", "heads", "dim"]);
  }
  checkShared(ACTION, "a batch", { q: q.shape[0], k: k.shape[0] });
  checkShared(ACTION, "a head dim", { q: q.shape[3], k: k.shape[3] });
  checkElem(ACTION, { q, k });
  const wanted = checkWanted(options);
  const { schedule } = options;
  if (schedule !== undefined) oneOf(ACTION, "schedule", schedule, ["subgroup", "workgroup"]);
  // the options that it shares with attention mean what they mean there
  const scoring = Object.entries(options).filter(([name]) =>
    SCORE_OPTIONS.some((known) => known === name)
  );
  const { problem, gpu, written } = attentionProblem(q, k, k, Object.fromEntries(scoring));
  return { problem: { scores: problem, wanted, schedule: schedule ?? null }, gpu, written };
}

function checkWanted(options: AttentionStatisticsOptions): WantedStatistics {
  const flags = Object.fromEntries(FLAGS.map((name) => [name, options[name] ?? false] as const));
  checkFlags(ACTION, flags);
  const { topK, blockMax } = options;
  const asked = Object.values(flags).includes(true) || topK !== undefined || blockMax !== undefined;
  if (!asked) {
    throw new TypeError(
      `Cannot ${ACTION} as one of ${
        [...FLAGS, "topK", "blockMax"].join(", ")
      } must be asked for: none is`,
    );
  }
  if (topK !== undefined && !isCount(topK, MAX_TOP)) {
    throw new RangeError(
      `Cannot ${ACTION} as topK must be an integer of 1 to ${MAX_TOP}: topK is ${kindOf(topK)}`,
    );
  }
  return {
    ...flags as Record<typeof FLAGS[number], boolean>,
    topK: topK ?? 0,
    blockMax: blockMax === undefined ? null : checkBlocks(blockMax),
  };
}

function checkBlocks(blocks: BlockSizes): BlockSizes {
  checkOptionNames(`${ACTION} with blockMax`, blocks, ["queryBlock", "keyBlock"]);
  const { queryBlock, keyBlock } = blocks;
  for (const [name, size] of Object.entries({ queryBlock, keyBlock })) {
    if (isCount(size, 2 ** 30)) continue;
    throw new RangeError(
      `Cannot ${ACTION} as blockMax.${name} must be an integer >= 1: it is ${kindOf(size)}`,
    );
  }
  return { queryBlock, keyBlock };
}

function isCount(value: unknown, most: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most;
}
