import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { keyTensors } from "./key_layout.ts";
import { launchAttention } from "./launch.ts";
import { planAttention } from "./plan.ts";
import { type AttentionOptions, attentionProblem } from "./problem.ts";

export { HookError } from "../../kernels/hooks/hook.ts";
export type { WeightName } from "../../kernels/attention/weights.ts";
export type { SplitTile } from "../../kernels/attention/split.ts";
export type { SubgroupTile } from "../../kernels/attention/subgroup.ts";
export type { WorkgroupTile } from "../../kernels/attention/workgroup.ts";
export type { InputSource } from "../../kernels/shared/rows.ts";
export type { HookOptions, WeightSource } from "./hooks.ts";
export type { KeyOptions } from "./key_layout.ts";
export type { AttentionOptions } from "./problem.ts";
export type { AttentionWindow } from "./window.ts";
export type {
  AttentionSchedule,
  NaiveSchedule,
  SplitSchedule,
  SubgroupSchedule,
  WorkgroupSchedule,
} from "./schedule.ts";

/** What {@linkcode attention} returns. */
export interface AttentionResult<T extends "f32" | "f16"> {
  /** `[B, T, Hq, Dv]`, in the dtype of q. */
  out: Tensor<T>;
  /** `[B, T, Hq]`, f32: natural logarithm of the sum of exponentiated scores, the sink included. */
  lse?: Tensor<"f32">;
  /** `[B, T, Hq]`, f32: what merges of parts need, where it is asked for and the weights have it. */
  aux?: Tensor<"f32">;
}

/**
 * Softmax attention, tiled: no T × S matrix is ever stored.
 *
 * s = scale · q·k; softcap · tanh(s / softcap); + bias; causality and window; softmax over the
 * visible keys and the sink; times v. Query head h reads kv head ⌊h / (Hq / Hkv)⌋. Storage f32 or
 * f16, arithmetic f32. A row that sees no key gives out = 0 and lse = −∞ (with a sink: lse = sink).
 *
 * Legend: B batch, T queries, S keys, Hq query heads, Hkv key and value heads, D head dim, Dv value
 * dim; D and Dv any size up to 256. Definition: Vaswani et al., "Attention is all you need" (2017);
 * algorithm: Dao, "FlashAttention-2" (2023).
 *
 * @typeParam T storage of q, k and v
 * @param q `[B, T, Hq, D]`
 * @param k `[B, S, Hkv, D]`
 * @param v `[B, S, Hkv, Dv]`
 * @param options scale, masks, bias, sinks, lse
 * @returns new tensors; the work is recorded and runs at the next `read()` or `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
 *
 * @example Causal attention on typed arrays
 * ```ts
 * import { attention, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 4 * 64 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 4, 64]));
 * const { out, lse } = attention(q, k, v, { causal: true, lse: true });
 * assertEquals(out.shape, [1, 100, 4, 64]);
 * assertEquals(lse?.shape, [1, 100, 4]);
 * console.log(await out.read());
 * ```
 */
export function attention<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: AttentionOptions = {},
): AttentionResult<T> {
  return recall(run<T>, q, k, v, options);
}

function run<T extends "f32" | "f16">(
  q: Tensor<T>,
  k: Tensor<T>,
  v: Tensor<T>,
  options: AttentionOptions,
): AttentionResult<T> {
  const { problem, gpu, written } = attentionProblem(q, k, v, options);
  const plan = planAttention(problem, gpu);
  return record(gpu, "attention", (operation) => {
    const { batch, qLen, heads, valueDim } = problem;
    const out = gpu.empty([batch, qLen, heads, valueDim], q.dtype);
    const lse = problem.lse ? gpu.empty([batch, qLen, heads], "f32") : null;
    const { bias = null, sinks = null, gates = null } = options;
    launchAttention(operation, {
      problem,
      plan,
      tensors: {
        q,
        k,
        v,
        additional: null,
        bias,
        sinks,
        gates,
        out,
        lse,
        keys: keyTensors(options),
        hooks: written,
      },
      alignment: gpu.limits.minStorageBufferOffsetAlignment,
    });
    return {
      out,
      ...(lse && options.lse && { lse }),
      ...(lse && options.aux && { aux: lse }),
    };
  });
}
