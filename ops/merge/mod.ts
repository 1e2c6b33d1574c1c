import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import { lent } from "../lent.ts";
import { NO_COEFFICIENT } from "./coefficients.ts";
import { launchPair } from "./launch.ts";
import type { AttentionPart, MergeOptions, WeighedPart } from "./options.ts";
import { type MergePart, mergeProblem } from "./problem.ts";

export type { AttentionPart, MergeOptions, WeighedPart } from "./options.ts";

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
 * @param options how often parts count, if not by their lse alone
 * @returns new tensors of these shapes
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range
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
  options?:
    & MergeOptions
    & { weight?: "softmax" }
    & (
      { coefficients?: never } | { masses: true }
    ),
): AttentionPart<T>;
/**
 * Merges results of attention with any weights, and mixes results of several attentions.
 *
 * out = Σ_p f_p out_p; how often f_p a part counts is said by the weight ({@linkcode MergeOptions}), by
 * coefficients, or by both. Stick-breaking: out = out_1 + e^{aux_1} out_2 + e^{aux_1 + aux_2} out_3 …
 * for parts from the latest keys to the earliest. Mixes: ConViT (d'Ascoli et al. 2021), SoftPAG;
 * masses: iLLaMA's soft mask, ACT (Yu et al. 2024); renormalized: ZeroTuning.
 *
 * @typeParam T storage of the outputs
 * @param parts outputs `[…, H, Dv]`, with `aux` (or lse) `[…, H]` where the weight has it
 * @param options the weight of the attention that made the parts, and coefficients
 * @returns new tensors: out; lse for softmax and aux for other weights, as far as they have it
 *
 * @example Sigmoid attention in two halves, and a convex mix of them
 * ```ts
 * import { attention, mergeAttention, requestGpu } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const x = (value: number) => gpu.tensor(new Float32Array(8).fill(value), [1, 1, 1, 8]);
 * const weight = "sigmoid";
 * const parts = [2, 6].map((value) => attention(x(0), x(0), x(value), { weight, aux: true }));
 * const sum = mergeAttention(parts, { weight });
 * const mix = mergeAttention(parts, { coefficients: [0.75, 0.25] });
 * assertAlmostEquals((await sum.out.read())[0], 4, 1e-6);
 * assertAlmostEquals((await mix.out.read())[0], 1.5, 1e-6);
 * ```
 */
export function mergeAttention<T extends "f32" | "f16">(
  parts: readonly WeighedPart<T>[],
  options?: MergeOptions,
): WeighedPart<T>;
export function mergeAttention<T extends "f32" | "f16">(
  given: readonly WeighedPart<T>[],
  options: MergeOptions = {},
): WeighedPart<T> {
  return recall(run<T>, given, options);
}

function run<T extends "f32" | "f16">(
  given: readonly WeighedPart<T>[],
  options: MergeOptions,
): WeighedPart<T> {
  const { problem, parts, gpu } = mergeProblem(given, options);
  const [first, ...others] = parts;
  return record(gpu, "mergeAttention", (operation) => {
    const { shape, dtype } = given[0].out;
    const rows = shape.slice(0, -1);
    const hasAux = problem.rule !== "plain";
    const into = <M extends Pick<MergePart, "out" | "aux">>(
      merged: M,
      one: MergePart,
      other: MergePart,
    ): M => {
      launchPair({ one, other, merged }, { operation, gpu, problem });
      return merged;
    };
    // partial sums of three parts and more, each read by the merge that writes the next
    const sums = [0, 1].slice(0, Math.max(0, others.length - 1)).map((): MergePart => ({
      out: lent(operation, gpu, shape, "f32"),
      aux: hasAux ? lent(operation, gpu, rows, "f32") : null,
      coefficient: NO_COEFFICIENT,
    }));
    let sum = first;
    others.slice(0, -1).forEach((other, i) => sum = into(sums[i % 2], sum, other));
    const out = gpu.empty(shape, dtype);
    const aux = hasAux ? gpu.empty(rows, "f32") : null;
    into({ out, aux }, sum, others.at(-1) ?? first);
    sums.flatMap((part) => [part.out, part.aux]).forEach((tensor) => tensor?.dispose());
    if (aux === null) return { out };
    return problem.rule === "softmax" ? { out, lse: aux } : { out, aux };
  });
}
