import type { Tensor } from "../gpu/tensor.ts";
import { checkOptionNames } from "../gpu/options.ts";
import { attention } from "../ops/attention/mod.ts";
import type { AttentionOptions } from "../ops/attention/problem.ts";
import { type BlockMap, type BlockMapOptions, compileBlockMap } from "../ops/block_map/mod.ts";
import { madeHooks, withHooks } from "./ready_made.ts";
import type { Runnable } from "./runnable.ts";

/** What `run` takes where the library takes a `BlockMap`. */
type MapOptions = Pick<BlockMapOptions, "batch" | "heads" | "queryBlock" | "keyBlock"> & {
  readonly mask?: unknown;
};

const MAP_OPTIONS = ["mask", "batch", "heads", "queryBlock", "keyBlock"];

/**
 * `run attention`: hooks are texts or names of ready-made ones, what they read are files and numbers,
 * and a block map is its mask.
 */
export const RUN_ATTENTION: Runnable = {
  parameters: ["q", "k", "v"],
  tensorOptions: [
    ...["sinks", "bias", "gates", "cuSeqlensQ", "cuSeqlensKv"],
    ...["kvLengths", "pageTable", "keyIndices"],
  ],
  openRecords: ["inputs"],
  allOutputs: {},
  call([q, k, v], { blockMap, ...options }) {
    // frees the tables of ready-made hooks and the map
    return q.gpu.scope(() => {
      const rest = withHooks(q.gpu, options);
      const map = blockMap === undefined ? null : compiled(blockMap, [q, k], rest);
      // lse is the aux of softmax
      const { weight, normalizer = weight ?? "softmax" } = rest;
      const all = normalizer === "softmax" ? { lse: true } : { aux: true };
      return attention(q as Tensor<"f32">, k as Tensor<"f32">, v as Tensor<"f32">, {
        ...rest,
        ...(map && { blockMap: map }),
        ...all,
      });
    });
  },
};

function compiled(
  given: unknown,
  [q, k]: readonly Tensor[],
  { inputs }: AttentionOptions,
): BlockMap {
  checkOptionNames("run attention with a block map", given as object, MAP_OPTIONS);
  const { mask = "", ...sizes } = given as MapOptions;
  const [qLen, kvLen] = [q, k].map(({ shape }) => shape[1] ?? 0);
  return compileBlockMap(q.gpu, madeHooks(q.gpu, "mask", mask), {
    ...{ ...sizes, qLen, kvLen },
    ...(inputs !== undefined && { inputs }),
  });
}
