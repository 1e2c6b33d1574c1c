import { Random } from "../../cli/random.ts";
import type { AttentionOptions, AttentionWeight, ReferenceTensor } from "../../reference/mod.ts";

// Attention as matrices: the whole of S and P by the book, without care for overflow, to compare with.

/** The inputs of a problem with grouped heads, a capped and biased score and rows that see nothing. */
export interface DenseProblem {
  q: ReferenceTensor;
  k: ReferenceTensor;
  v: ReferenceTensor;
  options: AttentionOptions;
}

/** The matrices of one head, and what each row keeps beside its output. */
export interface DenseHead {
  s: number[][];
  p: number[][];
  aux: number[];
}

/** Every weight, and one of the caller's own of each kind. */
export const WEIGHTS: readonly AttentionWeight[] = [
  "softmax",
  "sigmoid",
  "softplus",
  "relu",
  "elu1",
  "none",
  "stickBreaking",
  { weight: (s) => s * s, normalize: true },
  { weight: (s) => Math.tanh(s), normalize: false },
];

/** The name of a weight, for test names. */
export function nameOf(weight: AttentionWeight): string {
  if (typeof weight === "string") return weight;
  return weight.normalize ? "a normalized function" : "a function";
}

/** Normal numbers of a shape. */
export function normal(random: Random, shape: readonly number[]): ReferenceTensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return { data: Float64Array.from({ length }, () => random.normal()), shape };
}

/** B2 T6 S9 Hq4 Hkv2 D3 Dv2: causal, windowed, capped, biased, hooked and masked. */
export function denseProblem(seed: number): DenseProblem {
  const random = new Random(seed);
  const bias = Float64Array.from(
    { length: 4 * 6 * 9 },
    () => random.next() < 0.2 ? -Infinity : random.normal(),
  );
  return {
    q: normal(random, [2, 6, 4, 3]),
    k: normal(random, [2, 9, 2, 3]),
    v: normal(random, [2, 9, 2, 2]),
    options: {
      scale: 0.7,
      causal: true,
      window: { left: 6 },
      softcap: 3,
      bias: { data: bias, shape: [1, 4, 6, 9] },
      score: [(s, { h, i, j }) => s * (1 + h / 4) - 0.1 * Math.abs(i - j), (s, { b }) => s + b / 2],
      mask: [({ h, i }) => h !== 1 || i !== 2, ({ i, j }) => (i + j) % 4 !== 0], // head 1, query 2: none
    },
  };
}

/** The matrices of a problem, by batch and head. */
export function denseHeads({ q, k, options }: DenseProblem): DenseHead[][] {
  const [batch, qLen, heads] = q.shape;
  const kvLen = k.shape[1];
  return range(batch).map((b) =>
    range(heads).map((h) => {
      const s = range(qLen).map((i) =>
        range(kvLen).map((j) => denseScore(q, k, options, { b, h, i, j }))
      );
      const rows = s.map((row) => denseWeights(row, options.weight ?? "softmax"));
      return { s, p: rows.map(({ p }) => p), aux: rows.map(({ aux }) => aux) };
    })
  );
}

/** P V of every head, and the rows' aux, in the order of the operator's results. */
export function denseAttention(problem: DenseProblem): { out: number[]; aux: number[] } {
  const { q, v } = problem;
  const [batch, qLen, heads] = q.shape;
  const [, kvLen, kvHeads, valueDim] = v.shape;
  const matrices = denseHeads(problem);
  const out: number[] = [];
  const aux: number[] = [];
  for (const b of range(batch)) {
    for (const i of range(qLen)) {
      for (const h of range(heads)) {
        const { p, aux: rows } = matrices[b][h];
        const kvHead = Math.floor(h * kvHeads / heads);
        aux.push(rows[i]);
        for (const d of range(valueDim)) {
          out.push(sum(range(kvLen).map((j) => p[i][j] * at(v, b, j, kvHead, d))));
        }
      }
    }
  }
  return { out, aux };
}

/** The score of a pair; -Infinity where it is hidden. */
function denseScore(
  q: ReferenceTensor,
  k: ReferenceTensor,
  { scale = 1, causal, window, softcap, bias, score, mask }: AttentionOptions,
  place: { b: number; h: number; i: number; j: number },
): number {
  const { b, h, i, j } = place;
  const own = i + k.shape[1] - q.shape[1];
  const kvHead = Math.floor(h * k.shape[2] / q.shape[2]);
  let s = scale * sum(range(q.shape[3]).map((d) => at(q, b, i, h, d) * at(k, b, j, kvHead, d)));
  if (softcap) s = softcap * Math.tanh(s / softcap);
  if (bias) s += at(bias, ...[b, h, i, j].map((x, axis) => bias.shape[axis] === 1 ? 0 : x));
  for (const hook of [score ?? []].flat()) s = hook(s, place);
  const seen = (!causal || j <= own) && j >= own - (window?.left ?? Infinity) &&
    [mask ?? []].flat().every((hook) => hook(place));
  return seen ? s : -Infinity;
}

/** What a row of scores becomes. */
function denseWeights(s: number[], weight: AttentionWeight): { p: number[]; aux: number } {
  const visible = (w: (s: number) => number) => s.map((x) => x === -Infinity ? 0 : w(x));
  const sigma = (x: number) => 1 / (1 + Math.exp(-x));
  const divided = (w: number[]) => {
    const total = sum(w);
    return { p: w.map((x) => total === 0 ? 0 : x / total), aux: total };
  };
  if (typeof weight !== "string") {
    const w = visible(weight.weight);
    return weight.normalize ? divided(w) : { p: w, aux: NaN };
  }
  switch (weight) {
    case "softmax": {
      const { p, aux } = divided(visible(Math.exp));
      return { p, aux: Math.log(aux) };
    }
    case "softplus":
      return divided(visible((x) => Math.log(1 + Math.exp(x))));
    case "relu":
      return divided(visible((x) => x > 0 ? x : 0));
    case "elu1":
      return divided(visible((x) => (x > 0 ? x : Math.exp(x) - 1) + 1));
    case "sigmoid":
      return { p: visible(sigma), aux: NaN };
    case "none":
      return { p: visible((x) => x), aux: NaN };
    case "stickBreaking": {
      const broken = visible(sigma);
      const left = (j: number) => product(broken.slice(j).map((x) => 1 - x));
      return { p: broken.map((x, j) => x * left(j + 1)), aux: Math.log(left(0)) };
    }
  }
}

/** An element by its indices. */
export function at({ data, shape }: ReferenceTensor, ...indices: number[]): number {
  return data[indices.reduce((offset, index, axis) => offset * shape[axis] + index, 0)];
}

/** 0, 1, …, length - 1. */
export function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** The sum of numbers. */
export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, x) => total + x, 0);
}

function product(numbers: readonly number[]): number {
  return numbers.reduce((total, x) => total * x, 1);
}
