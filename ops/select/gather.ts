import { kindOf } from "../../gpu/dtype.ts";
import { checkOptionNames } from "../../gpu/options.ts";
import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { checkTensors } from "../tensors.ts";
import {
  boundIndices,
  entriesOfLaunch,
  launchInverse,
  launchMove,
  moveProblem,
  moveTextures,
} from "./move.ts";

/** Options of {@linkcode scatterTokens}. */
export interface ScatterOptions {
  /** T, tokens of the result. */
  length: number;
}

/**
 * The tokens that indices name, in their order; 0 where an index is negative or too large, as where a
 * selection is filled up.
 *
 * Legend: B batch, T tokens, H heads, D channels, M indices.
 *
 * @typeParam T storage of x
 * @param x the tokens, `[B, T, H, D]`
 * @param indices i32 `[B, M]`, or `[B, M, H]` where heads have their own
 * @returns `[B, M, H, D]`
 * @throws TypeError if a tensor, shape or dtype does not fit
 * @throws RangeError if a batch entry does not fit one binding
 *
 * @example The last token first
 * ```ts
 * import { gatherTokens, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(5, 6, 7), [1, 3, 1, 1]);
 * const indices = gpu.tensor(Int32Array.of(2, 0, -1), [1, 3]);
 * assertEquals(await gatherTokens(x, indices).read(), Float32Array.of(7, 5, 0));
 * ```
 */
export function gatherTokens<T extends "f32" | "f16">(
  x: Tensor<T>,
  indices: Tensor<"i32">,
): Tensor<T> {
  return recall(gather<T>, x, indices);
}

function gather<T extends "f32" | "f16">(x: Tensor<T>, indices: Tensor<"i32">): Tensor<T> {
  const action = "gather tokens";
  const gpu = checkTensors(action, { x, indices });
  const places = indices.shape[1];
  const problem = moveProblem(action, x, indices, places);
  const step = entriesOfLaunch(action, problem, gpu.limits);
  return record(gpu, "gatherTokens", (operation) => {
    const out = gpu.empty([problem.batch, places, problem.heads, problem.dim], x.dtype);
    const textures = moveTextures(operation, gpu, problem, x);
    for (let entry = 0; entry < problem.batch; entry += step) {
      const entries = [entry, Math.min(problem.batch, entry + step)] as const;
      const { resource, first } = boundIndices(indices, problem.to * problem.inner, entries, gpu);
      const move = { problem, entries, indices: resource, first, textures };
      launchMove(operation, gpu, move, { x, out });
    }
    return out;
  });
}

/**
 * Puts tokens where indices name: the inverse of {@linkcode gatherTokens} for a permutation.
 *
 * Indices must be distinct; where several name a token the last of them counts. A token that none names
 * is 0, and an index that is negative or too large moves nothing.
 *
 * @typeParam T storage of x
 * @param x the tokens, `[B, M, H, D]`
 * @param indices i32 `[B, M]`, or `[B, M, H]` where heads have their own
 * @param options how many tokens there are
 * @returns `[B, length, H, D]`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if the length is out of range, or a batch entry does not fit one binding
 *
 * @example There and back
 * ```ts
 * import { argSort, gatherTokens, requestGpu, scatterTokens } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = gpu.tensor(Float32Array.of(5, 6, 7), [1, 3, 1, 1]);
 * const order = argSort(gpu.tensor(Int32Array.of(1, 0, 1), [1, 3]));
 * const sorted = gatherTokens(x, order);
 * assertEquals(await sorted.read(), Float32Array.of(6, 5, 7));
 * const back = scatterTokens(sorted, order, { length: 3 });
 * assertEquals(await back.read(), Float32Array.of(5, 6, 7));
 * ```
 */
export function scatterTokens<T extends "f32" | "f16">(
  x: Tensor<T>,
  indices: Tensor<"i32">,
  options: ScatterOptions,
): Tensor<T> {
  return recall(scatter<T>, x, indices, options);
}

function scatter<T extends "f32" | "f16">(
  x: Tensor<T>,
  indices: Tensor<"i32">,
  options: ScatterOptions,
): Tensor<T> {
  const action = "scatter tokens";
  checkOptionNames(action, options, ["length"]);
  const { length } = options;
  if (!(Number.isSafeInteger(length) && length >= 0 && length < 2 ** 31)) {
    throw new RangeError(
      `Cannot ${action} as length must be an integer >= 0: length is ${kindOf(length)}`,
    );
  }
  const gpu = checkTensors(action, { x, indices });
  const problem = moveProblem(action, x, indices, length);
  const { batch, from, heads, dim, inner } = problem;
  if (indices.shape[1] !== from) {
    throw new TypeError(
      `Cannot ${action} as there must be an index for each token: x is [${x.shape}], indices is [${indices.shape}]`,
    );
  }
  const step = entriesOfLaunch(action, problem, gpu.limits);
  return record(gpu, "scatterTokens", (operation) => {
    const out = gpu.empty([batch, length, heads, dim], x.dtype);
    const textures = moveTextures(operation, gpu, problem, x);
    for (let entry = 0; entry < batch; entry += step) {
      const entries = [entry, Math.min(batch, entry + step)] as const;
      const inverse = operation.scratch(Math.max(16, 4 * (entries[1] - entry) * length * inner));
      const first = entry * length * inner;
      launchInverse(operation, gpu, { problem, entries, indices, inverse });
      const move = { problem, entries, indices: inverse, first, textures };
      launchMove(operation, gpu, move, { x, out });
    }
    return out;
  });
}
