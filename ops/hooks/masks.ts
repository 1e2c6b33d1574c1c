import { Tensor } from "../../gpu/tensor.ts";
import type { HookSource } from "../attention/hooks.ts";
import { checkCount, checkTable, type PlacedOptions, placeOf } from "./place.ts";

/**
 * Hides later keys: j ≤ i.
 *
 * @param options where queries stand; without an offset the first query stands at the first key, which
 * `attention` calls `"top-left"`
 * @returns a mask
 * @throws TypeError or RangeError if an option does not fit
 *
 * @example Blocks above the diagonal are empty
 * ```ts
 * import { causal, compileBlockMap, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * using map = compileBlockMap(gpu, causal(), { qLen: 128, kvLen: 128 });
 * assertEquals(await map.matrix(), Uint8Array.of(1, 0, 2, 1));
 * ```
 */
export function causal(options: PlacedOptions = {}): HookSource {
  const { i, inputs } = placeOf("make the mask causal", options);
  return { code: `j <= ${i}`, inputs };
}

/**
 * Hides later keys but those of a prefix, which all see: j ≤ i or j < prefix.
 *
 * Definition: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
 * Transformer" (JMLR 2020), section 3.2.1; Liu et al., "Generating Wikipedia by Summarizing Long Sequences"
 * (ICLR 2018).
 *
 * @param prefix how many keys it has; or how many in each batch entry, i32 `[B]`
 * @param options where queries stand
 * @returns a mask
 * @throws TypeError or RangeError if an argument does not fit
 *
 * @example A prompt of 20 tokens
 * ```ts
 * import { attention, prefixLm, requestGpu } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const random = () => Float32Array.from({ length: 100 * 16 }, Math.random);
 * const [q, k, v] = [1, 2, 3].map(() => gpu.tensor(random(), [1, 100, 1, 16]));
 * const { out } = attention(q, k, v, { mask: prefixLm(20) });
 * console.log(await out.read());
 * ```
 */
export function prefixLm(prefix: number | Tensor, options: PlacedOptions = {}): HookSource {
  const action = "make the mask prefixLm";
  const { i, inputs } = placeOf(action, options);
  if (prefix instanceof Tensor) {
    checkTable(action, "prefix", prefix, { dtypes: ["i32"], axes: [["B"]] });
    return { code: `j <= ${i} || j < prefix(b)`, inputs: { ...inputs, prefix } };
  }
  checkCount(action, "prefix", prefix, { least: 0, input: true });
  return { code: `j <= ${i} || j < i32(prefix)`, inputs: { ...inputs, prefix } };
}

/**
 * Tokens see those of their own document, packed with others: d_i = d_j.
 *
 * Definition: Krell et al., "Efficient Sequence Packing without Cross-contamination" (2021), section 3.3.
 * Where documents are consecutive, packed attention visits no other blocks; this mask takes any order,
 * and joins others.
 *
 * @param documents the number of each query's document, i32 `[T]` or `[B, T]`
 * @param keyDocuments the same for keys, i32 `[S]` or `[B, S]`; those of the queries by default
 * @returns a mask
 * @throws TypeError if an argument does not fit
 *
 * @example Two documents, causal
 * ```ts
 * import { causal, compileBlockMap, documentMask, requestGpu } from "@tessera/kernels";
 * import { assertEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const documents = gpu.tensor(Int32Array.from({ length: 96 }, (_, i) => i < 32 ? 0 : 1), [96]);
 * const mask = [causal(), documentMask(documents)];
 * const sizes = { qLen: 96, kvLen: 96, queryBlock: 32, keyBlock: 32 };
 * using map = compileBlockMap(gpu, mask, sizes);
 * assertEquals(await map.matrix(), Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 2, 1));
 * ```
 */
export function documentMask(documents: Tensor, keyDocuments: Tensor = documents): HookSource {
  const action = "make the mask documentMask";
  const given = { documents, keyDocuments };
  const [own, other] = Object.entries(given).map(([name, tensor]) => {
    const length = name === "documents" ? "T" : "S";
    checkTable(action, name, tensor, { dtypes: ["i32"], axes: [[length], ["B", length]] });
    return tensor.shape.length === 2 ? "b, " : "";
  });
  if (keyDocuments === documents) {
    return { code: `documents(${own}i) == documents(${own}j)`, inputs: { documents } };
  }
  return {
    code: `documents(${own}i) == keyDocuments(${other}j)`,
    inputs: { documents, keyDocuments },
  };
}
