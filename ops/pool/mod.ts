import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchPool } from "./launch.ts";
import { planPool } from "./plan.ts";
import { type PoolOptions, poolProblem } from "./problem.ts";

export type { PoolKind } from "../../kernels/pool/config.ts";
export type { PoolOptions } from "./problem.ts";

/**
 * Pools blocks of consecutive tokens, head by head and channel by channel, in one pass over x.
 *
 * Block n of a sequence is its tokens n · block <= t < (n + 1) · block; the last one may be shorter and
 * is pooled over the tokens that it has. Sums are f32. Legend: B batch, T tokens, H heads, D channels.
 *
 * Used in front of block selection: SeerAttention (Gao et al. 2024) pools queries by mean and keys by
 * mean, max and min; BiFormer (Zhu et al. 2023) regions by mean; Quest (Tang et al. 2024) pages by max
 * and min.
 *
 * @typeParam T storage of x
 * @param x the tokens, `[B, T, H, D]`
 * @param options the blocks and what they become
 * @returns `[B, ⌈T / block⌉, H, D]`; with `cuSeqlens` the blocks of all sequences one after the other,
 * `[1, Σ_n ⌈T_n / block⌉, H, D]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Means of pairs, and of the token that is left
 * ```ts
 * import { poolTokens, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(1, 3, 10, 30, 5), [1, 5, 1, 1]);
 * const means = poolTokens(x, { block: 2, kind: "mean" });
 * assertEquals(await means.read(), Float32Array.of(2, 20, 5));
 * ```
 */
export function poolTokens<T extends "f32" | "f16">(x: Tensor<T>, options: PoolOptions): Tensor<T> {
  return recall(run<T>, x, options);
}

function run<T extends "f32" | "f16">(x: Tensor<T>, options: PoolOptions): Tensor<T> {
  const { problem, gpu } = poolProblem(x, options);
  const { batch, heads, dim, blocks } = problem;
  const plan = planPool(problem, gpu.limits);
  return record(gpu, "poolTokens", (operation) => {
    const perEntry = batch === 0 ? Math.ceil(x.shape[1] / problem.block) : blocks.length / batch;
    const out = gpu.empty([batch, perEntry, heads, dim], x.dtype);
    const { weights } = options;
    launchPool(operation, gpu, { problem, plan }, { x, out, ...(weights && { weights }) });
    return out;
  });
}
