import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { AttentionResult } from "../attention/mod.ts";
import { NO_INPUTS } from "../attention/hooks.ts";
import { launchAttention } from "../attention/launch.ts";
import { launchNaive } from "./launch_naive.ts";
import { planNeighborhood } from "./plan.ts";
import { type NeighborhoodAttentionOptions, neighborhoodProblem } from "./problem.ts";

export type { NeighborhoodPattern } from "./axes.ts";
export type { NeighborhoodAttentionOptions } from "./problem.ts";
export { neighborhoodScores, type NeighborhoodScoresOptions } from "./scores.ts";
export { neighborhoodValues } from "./values.ts";
export type { NeighborhoodSchedule, TiledSchedule } from "./schedule.ts";
export type { TilePair } from "./tile_model.ts";

/**
 * Neighborhood attention on 1, 2 or 3 token axes, tiled: its cost follows the window, not the map.
 *
 * A query sees the keys whose place on every axis lies in its window: `windowSize` keys around it, a
 * window that slides back inside at the edges, shared by `stride` queries in a row, spread by
 * `dilation`, and cut off behind the query on `causal` axes. Softmax of scale · q·k over these keys
 * and the additional ones; times v. Query head h reads kv head ⌊h / (Hq / Hkv)⌋. Storage f32 or f16,
 * arithmetic f32. Windows that cover all axes are computed as dense attention.
 *
 * Legend: B batch; X, Y, Z tokens along the axes; Hq query heads, Hkv key and value heads, D head
 * dim, Dv value dim, each up to 256; E additional keys. Definition: Hassani et al., "Neighborhood
 * Attention Transformer" (2023), "Dilated Neighborhood Attention Transformer" (2022) and
 * "Generalized Neighborhood Attention" (2025), as NATTEN computes them.
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, X(, Y(, Z)), Hq, D]`
 * @param k `[B, X(, Y(, Z)), Hkv, D]`
 * @param v `[B, X(, Y(, Z)), Hkv, Dv]`
 * @param options window, stride, dilation, causality, additional keys, scale, lse
 * @returns new tensors, out `[B, X(, Y(, Z)), Hq, Dv]` and lse `[B, X(, Y(, Z)), Hq]`; the work is
 * recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example A 7 x 7 window on a map of 16 x 16 tokens
 * ```ts
 * import { neighborhoodAttention, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 16 * 16 * 2 * 32 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 16, 16, 2, 32]));
 * const { out } = neighborhoodAttention(q, k, v, { windowSize: 7, dilation: [2, 1] });
 * assertEquals(out.shape, [1, 16, 16, 2, 32]);
 * console.log(await out.read());
 * ```
 */
export function neighborhoodAttention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: NeighborhoodAttentionOptions,
): AttentionResult<T> {
  return recall(run<T>, q, k, v, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: NeighborhoodAttentionOptions,
): AttentionResult<T> {
  const { problem, gpu } = neighborhoodProblem(q, k, v, options);
  const plan = planNeighborhood(problem, gpu);
  return record(gpu, "neighborhoodAttention", (operation) => {
    const [heads, valueDim] = [q.shape[q.shape.length - 2], v.shape[v.shape.length - 1]];
    const rows = [...q.shape.slice(0, -2), heads];
    const out = gpu.empty([...rows, valueDim], q.dtype);
    const lse = problem.attention.lse ? gpu.empty(rows, "f32") : null;
    const { additionalKeys, additionalValues } = options;
    const additional = problem.attention.additional && additionalKeys && additionalValues
      ? { keys: additionalKeys, values: additionalValues }
      : null;
    const tensors = {
      q,
      k,
      v,
      additional,
      bias: null,
      sinks: null,
      gates: null,
      out,
      lse,
      keys: {},
      hooks: NO_INPUTS,
    };
    if (plan.kind === "naive") {
      launchNaive(operation, problem, tensors);
    } else {
      launchAttention(operation, {
        problem: plan.problem,
        plan: plan.attention,
        tensors,
        alignment: gpu.limits.minStorageBufferOffsetAlignment,
      });
    }
    return { out, ...(lse && { lse }) };
  });
}
