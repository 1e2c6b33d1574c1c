import { Random } from "../../cli/random.ts";

/** Sizes of a dense problem; batch entries and heads by the letters of the documentation. */
export interface DenseSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly Hq: number;
  readonly Hkv: number;
  readonly D: number;
  readonly Dv: number;
}

/** q `[B, T, Hq, D]`, k `[B, S, Hkv, D]` and v `[B, S, Hkv, Dv]`. */
export interface DenseProblem extends DenseSizes {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Batch entry, query head, query and key. */
export interface Pair {
  readonly b: number;
  readonly h: number;
  readonly i: number;
  readonly j: number;
}

/** Standard normal q, k and v; S, Hkv and Dv are T, Hq and D where they are not given. */
export function denseProblem(
  { B, T, Hq, D, S = T, Hkv = Hq, Dv = D }:
    & Pick<DenseSizes, "B" | "T" | "Hq" | "D">
    & Partial<DenseSizes>,
): DenseProblem {
  const random = new Random(5);
  const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
  const [q, k, v] = [B * T * Hq * D, B * S * Hkv * D, B * S * Hkv * Dv].map(normal);
  return { B, T, S, Hq, Hkv, D, Dv, q, k, v };
}

/** A T x S matrix for each batch entry and head, `[B, Hq, T, S]`, of what a function says of each pair. */
export function matrixOf(
  { B, T, S, Hq }: DenseSizes,
  entry: (pair: Pair, n: number) => number,
): Float64Array {
  const matrix = new Float64Array(B * Hq * T * S);
  let n = 0;
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < Hq; h++) {
      for (let i = 0; i < T; i++) {
        for (let j = 0; j < S; j++, n++) matrix[n] = entry({ b, h, i, j }, n);
      }
    }
  }
  return matrix;
}

/** q_i · k_j / √D, −∞ where a query does not see a key. */
export function scoresOf(
  problem: DenseProblem,
  seen: (pair: Pair) => boolean = () => true,
): Float64Array {
  const { T, S, Hq, Hkv, D, q, k } = problem;
  return matrixOf(problem, (pair) => {
    if (!seen(pair)) return -Infinity;
    const { b, h, i, j } = pair;
    const kvHead = Math.floor(h / (Hq / Hkv));
    let sum = 0;
    for (let c = 0; c < D; c++) {
      sum += q[((b * T + i) * Hq + h) * D + c] * k[((b * S + j) * Hkv + kvHead) * D + c];
    }
    return sum / Math.sqrt(D);
  });
}

/** Softmax of each row of `columns` scores; 0 where a row has none. */
export function softmaxOf(scores: Float64Array, columns: number): Float64Array {
  const weights = new Float64Array(scores.length);
  for (let first = 0; first < scores.length; first += columns) {
    const row = scores.subarray(first, first + columns);
    const most = Math.max(...row);
    const sum = row.reduce((total, s) => total + Math.exp(s - most), 0);
    row.forEach((s, j) => weights[first + j] = most === -Infinity ? 0 : Math.exp(s - most) / sum);
  }
  return weights;
}

/** Σ_j A_ij v_j of weights `[B, Hq, T, S]`, as `[B, T, Hq, Dv]`. */
export function outputOf(problem: DenseProblem, weights: Float64Array): Float64Array {
  const { B, T, S, Hq, Hkv, Dv, v } = problem;
  const out = new Float64Array(B * T * Hq * Dv);
  matrixOf(problem, ({ b, h, i, j }, n) => {
    const kvHead = Math.floor(h / (Hq / Hkv));
    for (let c = 0; c < Dv; c++) {
      out[((b * T + i) * Hq + h) * Dv + c] += weights[n] *
        v[((b * S + j) * Hkv + kvHead) * Dv + c];
    }
    return 0;
  });
  return out;
}

/** The share of blocks of queries and keys with a pair that is seen, over all heads. */
export function densityOf(
  sizes: Pick<DenseSizes, "T" | "S" | "Hq">,
  block: number,
  seen: (pair: Pair) => boolean,
): number {
  const { T, S, Hq } = sizes;
  const [rows, columns] = [T, S].map((length) => Math.ceil(length / block));
  const found = new Set<number>();
  matrixOf({ ...sizes, B: 1, Hkv: 1, D: 0, Dv: 0 }, (pair) => {
    const { h, i, j } = pair;
    const at = (h * rows + Math.floor(i / block)) * columns + Math.floor(j / block);
    if (!found.has(at) && seen(pair)) found.add(at);
    return 0;
  });
  return found.size / (Hq * rows * columns);
}
