/**
 * The oracles: every operator in double precision, straight from its definition.
 *
 * They share no code with the kernels, so they cannot share their mistakes. They are made to be read
 * beside the equations, and they trust their input: shapes and ranges are checked by the operators.
 *
 * Shapes are given in these letters, heads last: B batch, T queries, S keys, Hq query heads, Hkv key
 * and value heads, D head dim, Dv value dim.
 *
 * @example Attention over two keys
 * ```ts
 * import { attention } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const q = { data: [1], shape: [1, 1, 1, 1] };
 * const k = { data: [0, Math.log(3)], shape: [1, 2, 1, 1] };
 * const v = { data: [4, 8], shape: [1, 2, 1, 1] };
 *
 * const { out, lse } = attention(q, k, v); // the weights are 1/4 and 3/4
 *
 * assertAlmostEquals(out.data[0], 7);
 * assertAlmostEquals(lse.data[0], Math.log(4));
 * ```
 *
 * @module
 */

export * from "./attention.ts";
export * from "./tensor.ts";
