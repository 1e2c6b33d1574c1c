import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { Selection } from "../select/mod.ts";
import { launchTree } from "./launch.ts";
import { planTree } from "./plan.ts";
import { type SelectTreeOptions, treeProblem } from "./problem.ts";

export type { SelectTreeOptions } from "./problem.ts";

/**
 * Selects blocks of keys for each block of queries by a descent of a tree: O(T log S) scores.
 *
 * The leaves are blocks of keys, a node of height n is branchesⁿ of them in a row. The first level has at
 * most keep · branches nodes. On each level a block of queries keeps the `keep` best nodes, max_i q_i · k
 * with what stands for the keys of a node, of equals the first; their children are the next level, those
 * of the best first. Scores of −∞ and NaN are never kept but by sinks and a window. What was found feeds
 * `blockMapFromIndices()`, under the mask that `causal` stands for: nothing comes back to the CPU.
 *
 * Definition: Lee et al., "A Training-Free Sub-quadratic Cost Transformer Model Serving Framework with
 * Hierarchically Pruned Attention" (2024), section 3; sinks and a window are always kept there, too.
 *
 * Legend: B batch, T queries, S keys, Hq and Hkv heads, D channels; query head h has the keys of head
 * ⌊h / (Hq / Hkv)⌋.
 *
 * @param q the queries, f32 or f16 `[B, T, Hq, D]`
 * @param k the keys, of the same type, `[B, S, Hkv, D]`
 * @param options the tree, and how many are kept
 * @returns the leaves, `[B, Hq, ⌈T / queryBlock⌉, keep]`, the best first, then −1; and how many they are
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a batch entry too large for the device
 *
 * @example Attention that visits four blocks of 64 keys at most
 * ```ts
 * import { attention, blockMapFromIndices, requestGpu, selectTree } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 1024 * 64 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 1024, 1, 64]));
 * const { indices } = selectTree(q, k, { keep: 4, causal: true, sinks: 1, window: 0 });
 * const sizes = { qLen: 1024, kvLen: 1024, mask: "j <= i" };
 * using blockMap = blockMapFromIndices(indices, sizes);
 * const { out } = attention(q, k, v, { blockMap });
 * console.log(await out.read());
 * ```
 */
export function selectTree(q: Tensor, k: Tensor, options: SelectTreeOptions): Selection {
  return recall(run, q, k, options);
}

function run(q: Tensor, k: Tensor, options: SelectTreeOptions): Selection {
  const { problem, gpu } = treeProblem(q, k, options);
  const { batch, heads, keep } = problem;
  const plan = planTree(problem, gpu.limits);
  return record(gpu, "selectTree", (operation) => {
    const indices = gpu.empty([batch, heads, plan.blocks, keep], "i32");
    const counts = gpu.empty([batch, heads, plan.blocks], "i32");
    launchTree(operation, { gpu, problem, plan, tensors: { q, k, indices, counts } });
    return { indices, counts };
  });
}
