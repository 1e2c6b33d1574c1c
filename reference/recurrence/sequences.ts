import type { Float64Tensor, ReferenceTensor } from "../tensor.ts";

/** Where the tokens of a packed sequence lie among all B · T tokens, and in which order they run. */
export interface TokenSequence {
  /** Its tokens in the order in which the recurrence meets them; none if it is empty. */
  tokens: number[];
  /** Which sequence it is, the index of its state. */
  n: number;
}

/** The sequences: the rows of the batch, or what `cuSeqlens` cuts the only row into. */
export function sequencesOf(
  batch: number,
  length: number,
  cuSeqlens: ReferenceTensor | undefined,
  reverse: boolean,
): TokenSequence[] {
  const bounds = cuSeqlens
    ? Array.from(cuSeqlens.data)
    : Array.from({ length: batch + 1 }, (_, b) => b * length);
  return bounds.slice(1).map((end, n) => {
    const tokens = Array.from({ length: end - bounds[n] }, (_, index) => bounds[n] + index);
    return { n, tokens: reverse ? tokens.reverse() : tokens };
  });
}

/**
 * Reads rows of a tensor `[B, T, H, D]` on behalf of `heads` heads: head s of them reads head
 * floor(s H / heads). Tokens are counted over the whole batch.
 */
export function rowsOf(
  x: ReferenceTensor,
  heads: number,
): (token: number, s: number) => Float64Array {
  const data = Float64Array.from(x.data);
  const [own, dim] = x.shape.slice(-2);
  return (token, s) => {
    const row = token * own + Math.floor(s * own / heads);
    return data.subarray(row * dim, (row + 1) * dim);
  };
}

/** One row for each state head, `[B, T, HV, K]`, of rows for each key head, `[B, T, HK, K]`. */
export function perStateHead(x: ReferenceTensor, heads: number): Float64Tensor {
  const [batch, length, , keyDim] = x.shape;
  const rowAt = rowsOf(x, heads);
  const data = new Float64Array(batch * length * heads * keyDim);
  for (let row = 0; row < batch * length * heads; row++) {
    data.set(rowAt(Math.floor(row / heads), row % heads), row * keyDim);
  }
  return { data, shape: [batch, length, heads, keyDim] };
}

/** The output heads that read state head s of `heads`. */
export function readersOf(s: number, heads: number, outHeads: number): number[] {
  return Array.from({ length: outHeads }, (_, h) => h)
    .filter((h) => Math.floor(h * heads / outHeads) === s);
}
