import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import { record } from "../../gpu/runtime.ts";
import { MERGE_THREADS } from "../../kernels/attention/merge.ts";
import { mergePair } from "../../kernels/attention/merge_pair.ts";
import { boundRows } from "../attention/bind.ts";
import { lent } from "../lent.ts";
import { once } from "../once.ts";
import { type AttentionPart, type MergeProblem, mergeProblem } from "./problem.ts";

export type { AttentionPart } from "./problem.ts";

const mergePrograms = once(mergePair);

/**
 * Merges results of attention over disjoint sets of keys into the result over all of them.
 *
 * lse = log Σ_p e^{lse_p} and out = Σ_p e^{lse_p − lse} out_p, folded from the first part to the last
 * in f32. A part that saw no key in a row (lse = −∞) does not count there; where none did, out = 0 and
 * lse = −∞. A sink must be in one part only. Legend: H heads, Dv value dim. Definition: Milakov and
 * Gimelshein, "Online normalizer calculation for softmax" (2018); Flash-Decoding (Dao et al. 2023).
 *
 * @typeParam T storage of the outputs
 * @param parts outputs `[…, H, Dv]` and lse `[…, H]` of the same queries
 * @returns new tensors of these shapes
 * @throws TypeError if a tensor, shape or dtype does not fit
 *
 * @example Two halves of the keys
 * ```ts
 * import { attention, mergeAttention, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (value: number) => gpu.tensor(new Float32Array(8).fill(value), [1, 1, 1, 8]);
 * const [one, two] = [1, 3].map((value) => attention(x(0), x(0), x(value), { lse: true }));
 * const parts = [one, two].map(({ out, lse }) => ({ out, lse: lse! }));
 * const { out, lse } = mergeAttention(parts);
 * assertAlmostEquals((await out.read())[0], 2, 1e-6);
 * assertAlmostEquals((await lse.read())[0], Math.log(2), 1e-6);
 * ```
 */
export function mergeAttention<T extends "f32" | "f16">(
  parts: readonly AttentionPart<T>[],
): AttentionPart<T> {
  const { problem, gpu } = mergeProblem(parts);
  const [first, ...others] = parts;
  return record(gpu, "mergeAttention", (operation) => {
    const { shape } = first.out;
    const into = <R extends "f32" | "f16">(
      merged: AttentionPart<R>,
      one: AttentionPart,
      other: AttentionPart,
    ): AttentionPart<R> => {
      launchPair(operation, gpu, { one, other, merged, problem });
      return merged;
    };
    // partial sums of three parts and more, each read by the merge that writes the next
    const sums = [0, 1].slice(0, others.length - 1).map((): AttentionPart<"f32"> => ({
      out: lent(operation, gpu, shape, "f32"),
      lse: lent(operation, gpu, first.lse.shape, "f32"),
    }));
    let sum: AttentionPart = first;
    others.slice(0, -1).forEach((other, i) => sum = into(sums[i % 2], sum, other));
    const merged = {
      out: gpu.empty(shape, first.out.dtype),
      lse: gpu.empty(first.lse.shape, "f32"),
    };
    into(merged, sum, others.at(-1) ?? first);
    sums.flatMap(({ out, lse }) => [out, lse]).forEach((tensor) => tensor.dispose());
    return merged;
  });
}

interface Pair {
  readonly one: AttentionPart;
  /** The same as `one` where there is no second result. */
  readonly other: AttentionPart;
  readonly merged: AttentionPart;
  readonly problem: MergeProblem;
}

/** Records the merge of two results, in as many launches as limits ask for. */
function launchPair(operation: Operation, gpu: Gpu, { one, other, merged, problem }: Pair): void {
  const { rows, valueDim } = problem;
  const { limits } = gpu;
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const program = mergePrograms({
    elem: one.out.dtype,
    otherElem: other.out.dtype,
    outElem: merged.out.dtype,
    valueDim,
  });
  const columns = Math.ceil(valueDim / 4);
  const bound = Math.floor(limits.maxStorageBufferBindingSize / (4 * valueDim)) - 256;
  const threads = limits.maxComputeWorkgroupsPerDimension * MERGE_THREADS;
  const step = Math.max(1, Math.min(rows, bound, Math.floor(threads / columns)));
  for (let row0 = 0; row0 < rows; row0 += step) {
    const row1 = Math.min(rows, row0 + step);
    const [a, b, out] = [one, other, merged].map((part) =>
      boundRows(part.out, [row0, row1], valueDim, alignment)
    );
    const [aLse, bLse, lse] = [one, other, merged].map((part) =>
      boundRows(part.lse, [row0, row1], 1, alignment)
    );
    operation.launch({
      program,
      resources: {
        one: a.resource,
        other: b.resource,
        out: out.resource,
        oneLse: aLse.resource,
        otherLse: bLse.resource,
        lse: lse.resource,
      },
      params: {
        row0,
        row1,
        second: Number(other !== one),
        oneFirst: a.first,
        otherFirst: b.first,
        outFirst: out.first,
        lseFirst: lse.first,
      },
      grid: [Math.ceil((row1 - row0) * columns / MERGE_THREADS), 1, 1],
    });
  }
}
