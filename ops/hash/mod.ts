import type { Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { HASH_THREADS, hashCodes } from "../../kernels/hash/codes.ts";
import { boundRows } from "../attention/bind.ts";
import { launchScores, type ScoreCall, scoreTextures } from "../centroids/scores.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { type HashProblem, hashProblem, type HashTokensOptions, planHash } from "./problem.ts";

export type { HashTokensOptions } from "./problem.ts";

const programOf = once(hashCodes);

/**
 * Hashes tokens so that those that point the same way likely get the same code, or neighbouring ones:
 * locality-sensitive hashing. `argSort(codes, { axis: 1 })` then sorts similar tokens next to each other.
 *
 * Bit r of a token's signs is x·p_r > 0; its code is the place of the signs on a Gray code, a walk
 * through all of them that changes one at a time (sortLSH, HyperAttention: Han et al. 2023). Or, as in
 * Reformer (Kitaev et al. 2020), the code is the largest of [x·p_0 … x·p_R−1, −x·p_0 … −x·p_R−1], of
 * equals the first. Products are f32 and kept for all pairs of a token and a plane meanwhile.
 *
 * Legend: B batch, T tokens, H heads, D channels, R planes.
 *
 * @param x the tokens, f32 or f16 `[B, T, H, D]`
 * @param planes the planes' normals, f32 or f16 `[B, R, H, D]`, B and H may be 1 for all; usually random
 * @param options what is the code
 * @returns the codes, `[B, T, H]`, from 0 to 2^R − 1 (R is at most 31), or to 2R − 1
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a batch entry too large for the device
 *
 * @example Around the four quadrants
 * ```ts
 * import { hashTokens, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(-1, -1, 1, -1, 1, 1, -1, 1), [1, 4, 1, 2]);
 * const planes = gpu.tensor(Float32Array.of(1, 0, 0, 1), [1, 2, 1, 2]);
 * assertEquals(await hashTokens(x, planes).read(), Int32Array.of(0, 1, 2, 3));
 * ```
 */
export function hashTokens(
  x: Tensor,
  planes: Tensor,
  options: HashTokensOptions = {},
): Tensor<"i32"> {
  const { problem, gpu } = hashProblem(x, planes, options);
  const { batch, length, heads } = problem;
  const step = planHash(problem, gpu.limits);
  return record(gpu, "hashTokens", (operation) => {
    const codes = gpu.empty([batch, length, heads], "i32");
    const textures = scoreTextures(operation, gpu, { x, centroids: planes });
    for (let entry = 0; entry < batch; entry += step) {
      const entries = [entry, Math.min(batch, entry + step)] as const;
      const tensors = { x, centroids: planes };
      launchHash(operation, { gpu, problem, ...tensors, textures, entries }, codes);
    }
    return codes;
  });
}

/** Records the codes of some batch entries: all products, then what they say. */
function launchHash(
  operation: Operation,
  call: ScoreCall & { readonly problem: HashProblem },
  codes: Tensor<"i32">,
): void {
  const { gpu: { limits }, problem: { kind, length, heads, count }, entries: [entry, end] } = call;
  const tokens = length * heads;
  const items = (end - entry) * tokens;
  if (items === 0) return;
  const products = operation.scratch(4 * items * count);
  launchScores(operation, call, products);
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const written = boundRows(codes, [entry * tokens, end * tokens], 1, alignment);
  launchItems(operation, limits, { first: 0, end: items, threads: HASH_THREADS }, {
    program: programOf({ kind }),
    resources: { products, codes: written.resource },
    params: { heads, width: length, planes: count, before: entry * tokens - written.first },
  });
}
