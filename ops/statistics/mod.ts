import type { Gpu } from "../../gpu/device.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchStatistics, type RowsBuffer } from "./launch.ts";
import { planStatistics } from "./plan.ts";
import {
  type AttentionStatisticsOptions,
  type StatisticsProblem,
  statisticsProblem,
} from "./problem.ts";

export type { BlockSizes } from "../../kernels/statistics/block_max.ts";
export type { AttentionStatisticsOptions, ScoreOptions } from "./problem.ts";

/** What {@linkcode attentionStatistics} returns: what was asked for, all numbers natural and f32. */
export interface AttentionStatistics {
  /** log Σ_j e^{s_ij}, `[B, T, Hq]`; −∞ where query i sees no key. */
  lse?: Tensor<"f32">;
  /** −Σ_j p_ij log p_ij, `[B, T, Hq]`; 0 where query i sees no key. */
  entropy?: Tensor<"f32">;
  /** The j with the largest s_ij, of equals the smallest, `[B, T, Hq]`; −1 where i sees no key. */
  argMax?: Tensor<"i32">;
  /** The largest s_ij of each row, `[B, T, Hq, topK]`. */
  topK?: {
    /** Their keys j, largest score first, of equals the smaller j; then −1. */
    indices: Tensor<"i32">;
    /** The scores; −∞ where a query sees fewer keys. */
    values: Tensor<"f32">;
  };
  /** Σ_i p_ij, `[B, S, Hq]`. */
  columnSums?: Tensor<"f32">;
  /** Σ_i p_ij over the pairs with j − i + T − 1 = n, `[B, T + S − 1, Hq]`. */
  diagonalSums?: Tensor<"f32">;
  /**
   * The largest s_ij of each block, `[B, Hq, ⌈T / queryBlock⌉, ⌈S / keyBlock⌉]`; −∞ where no query of
   * the block sees a key of it.
   */
  blockMax?: Tensor<"f32">;
}

/**
 * Statistics of the attention weights p_ij = softmax_j(s_ij), of which no T × S matrix is ever stored.
 *
 * Scores s are those of `attention`: scale, softcap, bias and hooks, under causality, window and masks;
 * query head h reads key head ⌊h / (Hq / Hkv)⌋. Statistics of rows come from one walk over the pairs,
 * as an online softmax carries them; sums over weights from one more each, with the lse of the first
 * (Dao, "FlashAttention-2", 2023, has its backward pass so). Sums have one order: calls agree to the bit.
 *
 * Legend: B batch, T queries, S keys, Hq query heads, Hkv key heads, D head dim (up to 256).
 *
 * @typeParam T storage of q and k
 * @param q `[B, T, Hq, D]`
 * @param k `[B, S, Hkv, D]`
 * @param options how pairs are scored, and which statistics are wanted
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit, or nothing is asked for
 * @throws RangeError if a value is out of range, or an output does not fit a binding
 * @throws HookError if the text of a hook does not compile
 *
 * @example How much attention each key gets of two causal queries with equal scores
 * ```ts
 * import { attentionStatistics, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const zeros = gpu.tensor(new Float32Array(2), [1, 2, 1, 1]);
 * const { columnSums, argMax } = attentionStatistics(zeros, zeros, {
 *   causal: true,
 *   columnSums: true,
 *   argMax: true,
 * });
 * assertEquals([...await columnSums!.read()], [1.5, 0.5]);
 * assertEquals([...await argMax!.read()], [0, 0]);
 * ```
 */
export function attentionStatistics<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  options: AttentionStatisticsOptions,
): AttentionStatistics {
  return recall(run<T>, q, k, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  options: AttentionStatisticsOptions,
): AttentionStatistics {
  const { problem, gpu, written } = statisticsProblem(q, k, options);
  const maxBindings = gpu.device.limits.maxStorageBuffersPerShaderStage;
  const { adapter, features, limits } = gpu;
  const plan = planStatistics(problem, { adapter, features, limits, maxBindings });
  return record(gpu, "attentionStatistics", (operation) => {
    const found = outputs(gpu, problem);
    const { lse, argMax, topK } = found;
    const scratch = (dtype: "f32"): RowsBuffer => ({
      dtype,
      buffer: operation.scratch(rowBytes(problem)).buffer,
    });
    const rows = plan.passes.filter(({ kind }) => kind === "rows").map((pass) => pass.rows);
    launchStatistics(operation, {
      ...{ problem, plan, limits },
      tensors: {
        ...{ q, k, bias: options.bias ?? null, hooks: written },
        lse: lse ?? (rows.some((row) => row.lse) ? scratch("f32") : null),
        entropy: found.entropy ?? null,
        topValues: topK?.values ?? (argMax ? scratch("f32") : null),
        topIndices: topK?.indices ?? argMax ?? null,
        argMax: (topK && argMax) ?? null,
        columnSums: found.columnSums ?? null,
        diagonalSums: found.diagonalSums ?? null,
        blockMax: found.blockMax ?? null,
      },
    });
    return found;
  });
}

/** Allocates what was asked for. */
function outputs(gpu: Gpu, { scores, wanted }: StatisticsProblem): AttentionStatistics {
  const { batch, qLen, kvLen, heads } = scores;
  const rows = [batch, qLen, heads];
  const { topK, blockMax } = wanted;
  return {
    ...(wanted.lse && { lse: gpu.empty(rows, "f32") }),
    ...(wanted.entropy && { entropy: gpu.empty(rows, "f32") }),
    ...(wanted.argMax && { argMax: gpu.empty(rows, "i32") }),
    ...(topK > 0 && {
      topK: {
        indices: gpu.empty([...rows, topK], "i32"),
        values: gpu.empty([...rows, topK], "f32"),
      },
    }),
    ...(wanted.columnSums && { columnSums: gpu.empty([batch, kvLen, heads], "f32") }),
    ...(wanted.diagonalSums && {
      diagonalSums: gpu.empty([batch, Math.max(0, qLen + kvLen - 1), heads], "f32"),
    }),
    ...(blockMax && {
      blockMax: gpu.empty([
        ...[batch, heads],
        ...[Math.ceil(qLen / blockMax.queryBlock), Math.ceil(kvLen / blockMax.keyBlock)],
      ], "f32"),
    }),
  };
}

function rowBytes({ scores: { batch, qLen, heads } }: StatisticsProblem): number {
  return Math.max(16, 4 * batch * qLen * heads);
}
