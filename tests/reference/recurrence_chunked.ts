/**
 * The chunk form of the linear recurrences in double precision, for comparison with the token loop:
 * ../shared/math/recurrence.md 1.1, with the causal anchors of 1.5.
 *
 * @module
 */

import type { RecurrenceOptions, ReferenceTensor } from "../../reference/mod.ts";

/** A matrix, row by row. */
type Matrix = number[][];

/** One sequence as one output head sees it; T rows each. */
interface Head {
  q: Matrix;
  k: Matrix;
  v: Matrix;
  g: Matrix;
  gv: Matrix;
  tied: { p: Matrix; beta: number[] } | null;
  general: { a: Matrix; b: Matrix } | null;
  u: number[] | null;
  scale: number;
}

/** Tokens of a sub-chunk. */
const BLOCK = 4;
/** What gates are clamped to: exp(-88) is next to nothing. */
const LEAST_GATE = -88;

/** exp of an exponent that the form promises not to be positive. */
function decay(exponent: number): number {
  if (exponent > 1e-9) throw new RangeError(`Cannot decay by a positive exponent: ${exponent}`);
  return Math.exp(exponent);
}

/** Cumulative sums of the rows: `c` with the row itself, `e` without it. */
function cumulate(rows: Matrix): { c: Matrix; e: Matrix } {
  let sum = rows[0].map(() => 0);
  const [c, e]: Matrix[] = [[], []];
  for (const row of rows) {
    e.push(sum);
    sum = sum.map((total, d) => total + Math.max(row[d], LEAST_GATE));
    c.push(sum);
  }
  return { c, e };
}

/** A_xy[i][j] = Σ_d x_id y_jd exp(cx_id - c_jd) for j < i, and j = i where the diagonal is wanted. */
function scores(x: Matrix, y: Matrix, cx: Matrix, c: Matrix, e: Matrix, diagonal: boolean): Matrix {
  return x.map((x_i, i) =>
    y.map((y_j, j) => {
      if (j > i || (j === i && !diagonal)) return 0; // the mask comes before exp
      const first = i - i % BLOCK;
      if (j >= first) return sum(x_i, (x_id, d) => x_id * y_j[d] * decay(cx[i][d] - c[j][d]));
      const anchor = e[first];
      return sum(
        x_i,
        (x_id, d) => x_id * decay(cx[i][d] - anchor[d]) * (y_j[d] * decay(anchor[d] - c[j][d])),
      );
    })
  );
}

/** Σ_d f(x_d, d). */
function sum(x: number[], f: (element: number, d: number) => number): number {
  return x.reduce((total, element, d) => total + f(element, d), 0);
}

/** The rows x_i diag(exp(cx_i)) S diag(exp(dx_i)). */
function readState(x: Matrix, cx: Matrix, S: Matrix, dx: Matrix): Matrix {
  return x.map((x_i, i) =>
    S[0].map((_, e) => sum(x_i, (x_id, d) => x_id * decay(cx[i][d]) * S[d][e]) * decay(dx[i][e]))
  );
}

/** Adds Σ_j A[i][j] y_j diag(exp(dx_i - d_j)) to row i. */
function accumulate(row: number[], i: number, A: Matrix, y: Matrix, dx: Matrix, d: Matrix): void {
  for (let j = 0; j < y.length; j++) {
    if (A[i][j] === 0) continue;
    for (let e = 0; e < row.length; e++) row[e] += A[i][j] * y[j][e] * decay(dx[i][e] - d[j][e]);
  }
}

/** One chunk: its outputs; the state is replaced by the one behind it. */
function runChunk(head: Head, S: Matrix): Matrix {
  const { q, k, v, tied, general, u, scale } = head;
  const { c, e } = cumulate(head.g);
  const { c: dc, e: de } = cumulate(head.gv);
  const last = q.length - 1;
  const W: Matrix = []; // what is written with b: a S, or U of the tied form
  const [cq, dq] = u ? [e, de] : [c, dc];
  const O = readState(q, cq, S, dq);
  const written: [Matrix, Matrix][] = []; // keys and the values written with them

  if (tied) {
    const A = scores(tied.p, k, c, c, e, false);
    const held = readState(tied.p, c, S, dc);
    for (let i = 0; i <= last; i++) {
      const erased = [...held[i]];
      accumulate(erased, i, A, W, dc, dc);
      W.push(v[i].map((v_ie, column) => tied.beta[i] * (v_ie - erased[column])));
    }
    written.push([k, W]);
  } else {
    written.push([k, v]);
  }
  if (general) {
    const A = [scores(general.a, k, e, c, e, false), scores(general.a, general.b, e, c, e, false)];
    const held = readState(general.a, e, S, de);
    for (let i = 0; i <= last; i++) {
      const row = [...held[i]];
      accumulate(row, i, A[0], v, de, dc);
      accumulate(row, i, A[1], W, de, dc);
      W.push(row);
    }
    written.push([general.b, W]);
  }

  for (const [keys, values] of written) {
    const A = scores(q, keys, cq, c, e, !u);
    for (let i = 0; i <= last; i++) accumulate(O[i], i, A, values, dq, dc);
  }
  for (let i = 0; i <= last && u; i++) {
    const bonus = sum(q[i], (q_id, d) => q_id * u[d] * k[i][d]);
    for (let column = 0; column < v[i].length; column++) O[i][column] += bonus * v[i][column];
  }
  for (let d = 0; d < S.length; d++) {
    for (let column = 0; column < S[d].length; column++) {
      S[d][column] *= decay(c[last][d]) * decay(dc[last][column]);
      for (const [keys, values] of written) {
        for (let j = 0; j <= last; j++) {
          S[d][column] += keys[j][d] * decay(c[last][d] - c[j][d]) * values[j][column] *
            decay(dc[last][column] - dc[j][column]);
        }
      }
    }
  }
  return O.map((row) => row.map((o) => scale * o));
}

/** Cuts a head into the tokens from `start` on, `size` at most. */
function cut(head: Head, start: number, size: number): Head {
  const part = <T>(rows: T[]): T[] => rows.slice(start, start + size);
  const { tied, general } = head;
  return {
    ...head,
    q: part(head.q),
    k: part(head.k),
    v: part(head.v),
    g: part(head.g),
    gv: part(head.gv),
    tied: tied && { p: part(tied.p), beta: part(tied.beta) },
    general: general && { a: part(general.a), b: part(general.b) },
  };
}

/** Row of token t, counted over the batch, and head h of `[B, T, H, D]`. */
function row(x: ReferenceTensor, t: number, h: number): number[] {
  const [heads, dim] = x.shape.slice(-2);
  const start = (t * heads + h) * dim;
  return Array.from({ length: dim }, (_, d) => x.data[start + d]);
}

/**
 * recurrence() in chunks. With `normalize` the last row of each state of the result is z.
 *
 * @param q The queries, `[B, T, HQ, K]`.
 * @param k The keys, `[B, T, HK, K]`.
 * @param v The values, `[B, T, HV, V]`.
 * @param options As of recurrence(); not the delta rule together with gv.
 * @param chunkSize Tokens of a chunk.
 * @returns The output `[B, T, HO, V]`, the states `[N, HV, K, V]` and the sums `[N, HV, K]`.
 */
export function chunkedRecurrence(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: RecurrenceOptions,
  chunkSize: number,
): { out: Float64Array; s: Float64Array; z: Float64Array } {
  const { g, gv, beta, p, a, b, u, normalize, eps = 1e-10, initialState } = options;
  const [batch, length, HQ, K] = q.shape;
  const [HK, HV, V] = [k.shape[2], v.shape[2], v.shape[3]];
  const HO = Math.max(HQ, HV);
  const bounds = options.cuSeqlens?.data ??
    Array.from({ length: batch + 1 }, (_, index) => index * length);
  const N = bounds.length - 1;
  const out = new Float64Array(batch * length * HO * V).fill(NaN);
  const s = new Float64Array(N * HV * K * V).fill(NaN);
  const z = new Float64Array(N * HV * K).fill(NaN);
  const s0 = initialState && ("s" in initialState ? initialState.s : initialState);
  const z0 = initialState && "z" in initialState ? initialState.z : undefined;

  for (let n = 0; n < N; n++) {
    for (let h = 0; h < HO; h++) {
      const state = Math.floor(h * HV / HO);
      const key = Math.floor(state * HK / HV);
      const own = (x: ReferenceTensor, axis: number): number =>
        Math.floor(state * x.shape[axis] / HV);
      const tokens = Array.from({ length: bounds[n + 1] - bounds[n] }, (_, t) => bounds[n] + t);
      if (options.reverse) tokens.reverse();
      const gateRow = (t: number): number[] => {
        if (g?.shape.length === 4) return row(g, t, state);
        const gate = g ? g.data[g.shape.length === 3 ? t * HV + state : state] : 0;
        return Array.from({ length: K }, () => gate);
      };
      const ones = normalize ? [1] : [];
      const head: Head = {
        q: tokens.map((t) => row(q, t, Math.floor(h * HQ / HO))),
        k: tokens.map((t) => row(k, t, key)),
        v: tokens.map((t) => [...row(v, t, state), ...ones]),
        g: tokens.map(gateRow),
        gv: tokens.map((t) => [
          ...(gv ? row(gv, t, state) : Array.from({ length: V }, () => 0)),
          ...ones.map(() => 0),
        ]),
        tied: beta || p
          ? {
            p: tokens.map((t) => p ? row(p, t, own(p, 2)) : row(k, t, key)),
            beta: tokens.map((t) => beta ? beta.data[t * HV + state] : 1),
          }
          : null,
        general: a && b
          ? {
            a: tokens.map((t) => row(a, t, own(a, 2))),
            b: tokens.map((t) => row(b, t, own(b, 2))),
          }
          : null,
        u: u ? Array.from({ length: K }, (_, d) => u.data[own(u, 0) * K + d]) : null,
        scale: options.scale ?? K ** -0.5,
      };
      const place = n * HV + state;
      const S = Array.from({ length: K }, (_, d) => [
        ...Array.from({ length: V }, (_, e) => s0 ? s0.data[(place * K + d) * V + e] : 0),
        ...ones.map(() => z0 ? z0.data[place * K + d] : 0),
      ]);
      for (let start = 0; start < tokens.length; start += chunkSize) {
        const O = runChunk(cut(head, start, chunkSize), S);
        for (const [i, o] of O.entries()) {
          const norm = normalize ? o[V] + eps : 1;
          const at = (tokens[start + i] * HO + h) * V;
          for (let e = 0; e < V; e++) out[at + e] = o[e] / norm;
        }
      }
      for (let d = 0; d < K; d++) {
        for (let e = 0; e < V; e++) s[(place * K + d) * V + e] = S[d][e];
        if (normalize) z[place * K + d] = S[d][V];
      }
    }
  }
  return { out, s, z };
}
