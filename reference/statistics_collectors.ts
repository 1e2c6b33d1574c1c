import { descending } from "./selection.ts";
import type { Float64Tensor, Int32Tensor } from "./tensor.ts";

/** One row of the matrix: the scores and weights of query i in head h of batch b. */
export interface MatrixRow {
  b: number;
  h: number;
  i: number;
  /** The row in tensors `[B, T, Hq]`. */
  row: number;
  /** The scores of all keys, -Infinity where hidden. */
  s: Float64Array;
  /** The weights of all keys. */
  p: Float64Array;
  lse: number;
}

/** What the attention matrix is of. */
export interface MatrixSizes {
  batch: number;
  qLen: number;
  kvLen: number;
  heads: number;
}

/** A statistic, and how a row joins it. */
export interface Collector<T> {
  result: T;
  add: (row: MatrixRow) => void;
}

/** The log-sum-exp of each row. */
export function lseOf({ batch, qLen, heads }: MatrixSizes): Collector<Float64Tensor> {
  const data = new Float64Array(batch * qLen * heads);
  return {
    result: { data, shape: [batch, qLen, heads] },
    add: ({ row, lse }) => data[row] = lse,
  };
}

/** The weight of each key. */
export function columnSumsOf({ batch, kvLen, heads }: MatrixSizes): Collector<Float64Tensor> {
  const data = new Float64Array(batch * kvLen * heads);
  return {
    result: { data, shape: [batch, kvLen, heads] },
    add: ({ b, h, p }) => p.forEach((weight, j) => data[(b * kvLen + j) * heads + h] += weight),
  };
}

/** The weight of each distance. */
export function diagonalSumsOf(
  { batch, qLen, kvLen, heads }: MatrixSizes,
): Collector<Float64Tensor> {
  const diagonals = Math.max(0, qLen + kvLen - 1);
  const data = new Float64Array(batch * diagonals * heads);
  return {
    result: { data, shape: [batch, diagonals, heads] },
    add({ b, h, i, p }) {
      for (const [j, weight] of p.entries()) {
        data[(b * diagonals + j - i + qLen - 1) * heads + h] += weight;
      }
    },
  };
}

/** The largest score of each block. */
export function blockMaxOf(
  { batch, qLen, kvLen, heads }: MatrixSizes,
  { queryBlock, keyBlock }: { queryBlock: number; keyBlock: number },
): Collector<Float64Tensor> {
  const shape = [batch, heads, Math.ceil(qLen / queryBlock), Math.ceil(kvLen / keyBlock)];
  const [, , queryBlocks, keyBlocks] = shape;
  const data = new Float64Array(batch * heads * queryBlocks * keyBlocks).fill(-Infinity);
  return {
    result: { data, shape },
    add({ b, h, i, s }) {
      const first = ((b * heads + h) * queryBlocks + Math.floor(i / queryBlock)) * keyBlocks;
      for (const [j, score] of s.entries()) {
        const block = first + Math.floor(j / keyBlock);
        data[block] = Math.max(data[block], score);
      }
    },
  };
}

/** The largest scores of each row, in order. */
export function topKOf(
  { batch, qLen, heads }: MatrixSizes,
  k: number,
): Collector<{ indices: Int32Tensor; values: Float64Tensor }> {
  const shape = [batch, qLen, heads, k];
  const indices = new Int32Array(batch * qLen * heads * k).fill(-1);
  const values = new Float64Array(indices.length).fill(-Infinity);
  return {
    result: { indices: { data: indices, shape }, values: { data: values, shape: [...shape] } },
    add({ row, s }) {
      const keys = descending(s).slice(0, k);
      indices.set(keys, row * k);
      values.set(keys.map((j) => s[j]), row * k);
    },
  };
}

/** The entropy of each row. */
export function entropyOf({ batch, qLen, heads }: MatrixSizes): Collector<Float64Tensor> {
  const data = new Float64Array(batch * qLen * heads);
  return {
    result: { data, shape: [batch, qLen, heads] },
    add({ row, p }) {
      for (const weight of p) if (weight > 0) data[row] -= weight * Math.log(weight);
    },
  };
}

/** The key with the largest score of each row. */
export function argMaxOf({ batch, qLen, heads }: MatrixSizes): Collector<Int32Tensor> {
  const data = new Int32Array(batch * qLen * heads).fill(-1);
  return {
    result: { data, shape: [batch, qLen, heads] },
    add({ row, s }) {
      for (const [j, score] of s.entries()) {
        if (score > (s[data[row]] ?? -Infinity)) data[row] = j;
      }
    },
  };
}
