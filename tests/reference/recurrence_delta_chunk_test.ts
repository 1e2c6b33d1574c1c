import { Random } from "../../cli/random.ts";
import { gatedDeltaRule, kda, type ReferenceTensor } from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

type Matrix = number[][];

const dot = (x: number[], y: number[]): number => x.reduce((sum, x_d, d) => sum + x_d * y[d], 0);
const matrix = (rows: number, columns: number, f: (i: number, j: number) => number): Matrix =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => f(i, j)));
const product = (A: Matrix, B: Matrix): Matrix =>
  matrix(A.length, B[0].length, (i, j) => dot(A[i], B.map((row) => row[j])));

/** A tensor of given numbers. */
function of(shape: number[], ...data: number[]): ReferenceTensor {
  return { data, shape };
}

/**
 * One chunk of the tied delta rule of one head by its triangular system, T = (I + M)^-1 diag(beta) with
 * M = tril(beta_i p_i · k_j decay_ij, -1); g for each key channel. S is replaced.
 */
function triangularChunk(
  { q, k, v, g, beta }: Record<"q" | "k" | "v" | "g", Matrix> & { beta: number[] },
  S: Matrix,
): Matrix {
  const [C, K, V] = [q.length, k[0].length, v[0].length];
  const c: Matrix = [];
  g.forEach((g_i, i) => c.push(g_i.map((x, d) => x + (i ? c[i - 1][d] : 0))));
  const score = (x: number[], i: number, j: number) =>
    x.reduce((sum, x_d, d) => sum + x_d * k[j][d] * Math.exp(c[i][d] - c[j][d]), 0);
  const M = matrix(C, C, (i, j) => j < i ? beta[i] * score(k[i], i, j) : 0);
  const T = matrix(C, C, (i, j) => i === j ? beta[i] : 0); // forward substitution
  for (let i = 0; i < C; i++) {
    for (let l = 0; l < i; l++) {
      for (let j = 0; j <= l; j++) T[i][j] -= M[i][l] * T[l][j];
    }
  }
  const decayed = (x: Matrix) => x.map((x_i, i) => x_i.map((x_d, d) => x_d * Math.exp(c[i][d])));
  const held = product(decayed(k), S);
  const U = product(T, matrix(C, V, (i, e) => v[i][e] - held[i][e]));
  const read = product(decayed(q), S);
  const A = matrix(C, C, (i, j) => j <= i ? score(q[i], i, j) : 0);
  const within = product(A, U);
  const last = c[C - 1];
  const keys = matrix(K, C, (d, j) => k[j][d] * Math.exp(last[d] - c[j][d]));
  const added = product(keys, U);
  for (let d = 0; d < K; d++) {
    for (let e = 0; e < V; e++) S[d][e] = Math.exp(last[d]) * S[d][e] + added[d][e];
  }
  return matrix(C, V, (i, e) => K ** -0.5 * (read[i][e] + within[i][e]));
}

const KEYS = ["random", "equal", "cosine 0.99", "zero"] as const;
const STRENGTHS = { "in (0, 1)": (x: number) => x, "1": () => 1, "2": () => 2 };
const GATES = { "0": () => 0, "gentle": (x: number) => -x / 16, "-20": () => -20 };

for (const keys of KEYS) {
  Deno.test(`kda() and gatedDeltaRule() are their triangular systems, keys: ${keys}`, () => {
    const random = new Random(2);
    const [T, K, V] = [70, 4, 3];
    const normal = (rows: number, columns: number) => matrix(rows, columns, () => random.normal());
    const base = normal(1, K)[0];
    const spread = keys === "random" ? 1 : keys === "cosine 0.99" ? 0.1 : 0;
    const rows = normal(T, K).map((x) => {
      const key = x.map((x_d, d) => spread * x_d + (keys === "random" ? 0 : base[d]));
      return keys === "zero" ? key.map(() => 0) : key.map((x_d) => x_d / Math.sqrt(dot(key, key)));
    });
    const [q, v] = [normal(T, K), normal(T, V)];
    const flat = (x: Matrix, dim: number) => of([1, T, 1, dim], ...x.flat());

    for (const strength of Object.values(STRENGTHS)) {
      for (const gate of Object.values(GATES)) {
        const beta = Array.from({ length: T }, () => strength(random.next()));
        const g = normal(T, K).map((x) => x.map((x_d) => gate(Math.abs(x_d))));
        const scalar = g.map((x) => x.map(() => x[0]));
        for (const gates of [g, scalar]) {
          const arrays = [flat(q, K), flat(rows, K), flat(v, V)] as const;
          const strengths = of([1, T, 1], ...beta);
          const { out } = gates === g
            ? kda(...arrays, flat(g, K), strengths)
            : gatedDeltaRule(...arrays, of([1, T, 1], ...scalar.map((x) => x[0])), strengths);
          for (const size of [16, 32, 64]) {
            const S = matrix(K, V, () => 0);
            const expected: Matrix = [];
            for (let t = 0; t < T; t += size) {
              const cut = <X>(x: X[]) => x.slice(t, t + size);
              const chunk = { q: cut(q), k: cut(rows), v: cut(v), g: cut(gates), beta: cut(beta) };
              expected.push(...triangularChunk(chunk, S));
            }
            assertClose(`chunks of ${size}`, out.data, expected.flat(), { ratio: 1e-12 });
          }
        }
      }
    }
  });
}
