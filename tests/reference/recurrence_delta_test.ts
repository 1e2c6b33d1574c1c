import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  comba,
  deltaProduct,
  deltaRule,
  dplr,
  type Float64Tensor,
  gatedDeltaRule,
  gdn2,
  kda,
  recurrence,
  type ReferenceTensor,
  rwkv7,
  type StateResult,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

type Matrix = number[][];

/** A tensor whose elements come one by one. */
function tensor(shape: number[], next: (index: number) => number): Float64Tensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { data: Float64Array.from({ length: size }, (_, index) => next(index)), shape };
}

/** A tensor of given numbers. */
function of(shape: number[], ...data: number[]): ReferenceTensor {
  return { data, shape };
}

/** A tensor made of another one. */
function map(x: ReferenceTensor, f: (element: number, index: number) => number): Float64Tensor {
  return { data: Float64Array.from(x.data, f), shape: [...x.shape] };
}

/** Row of token t and head h of a tensor `[1, T, H, D]`; heads are read as one of `heads` would. */
function row(x: ReferenceTensor, t: number, h: number, heads: number): number[] {
  const [own, dim] = x.shape.slice(-2);
  const start = (t * own + Math.floor(h * own / heads)) * dim;
  return Array.from({ length: dim }, (_, d) => x.data[start + d]);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.log(1 + Math.exp(x));
const dot = (x: number[], y: number[]): number => x.reduce((sum, x_d, d) => sum + x_d * y[d], 0);
const matrix = (rows: number, columns: number, f: (i: number, j: number) => number): Matrix =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => f(i, j)));
const product = (A: Matrix, B: Matrix): Matrix =>
  matrix(A.length, B[0].length, (i, j) => dot(A[i], B.map((row) => row[j])));

/** A S + B. */
const affine = (A: Matrix, S: Matrix, B: Matrix): Matrix =>
  product(A, S).map((kept, d) => kept.map((element, e) => element + B[d][e]));
/** xᵀ y. */
const outer = (x: number[], y: number[]): Matrix => x.map((x_d) => y.map((y_e) => x_d * y_e));

/** 4 heads that query, 1 that writes, 2 states; K = 3, V = 5. */
function inputs(seed: number, length = 12) {
  const random = new Random(seed);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  const uniform = (...shape: number[]) => tensor(shape, () => random.next());
  return {
    q: normal(1, length, 4, 3),
    k: map(normal(1, length, 1, 3), (x) => x / 2),
    v: normal(1, length, 2, 5),
    g: map(uniform(1, length, 2), (x) => -x),
    gChannel: map(uniform(1, length, 2, 3), (x) => -x),
    beta: uniform(1, length, 2),
    p: map(normal(1, length, 2, 3), (x) => x / 2),
    a: map(normal(1, length, 2, 3), (x) => x / 2),
    b: map(normal(1, length, 1, 3), (x) => x / 2),
    erase: uniform(1, length, 2, 3),
    write: uniform(1, length, 2, 5),
    initialState: normal(1, 2, 3, 5),
  };
}

/** What a token does to the state: S <- A S + B. */
interface Step {
  A: Matrix;
  B: Matrix;
}

/** Runs steps with dense K x K transitions; `stepOf` gives that of token t and state s. */
function denseRun(
  { q, initialState }: ReturnType<typeof inputs>,
  scale: number,
  stepOf: (t: number, s: number) => Step,
): { out: number[]; state: number[] } {
  const out = new Float64Array(q.shape[1] * 4 * 5);
  const states = [0, 1].map((s) => {
    let S = matrix(3, 5, (d, e) => initialState.data[(s * 3 + d) * 5 + e]);
    for (let t = 0; t < q.shape[1]; t++) {
      const { A, B } = stepOf(t, s);
      S = affine(A, S, B);
      for (const h of [2 * s, 2 * s + 1]) {
        out.set(product([row(q, t, h, 4)], S)[0].map((o) => scale * o), (t * 4 + h) * 5);
      }
    }
    return S.flat();
  });
  return { out: [...out], state: states.flat() };
}

const all = inputs(1);
const { q, k, v, g, gChannel, beta, p, a, b, erase, write, initialState } = all;
const options = { initialState, finalState: true };

/** diag(d) - factor xᵀ y, times diag(e) from the right. */
function transition(d: number, factor: number, x: number[], y: number[], e: number[]): Matrix {
  return matrix(3, 3, (i, j) => ((i === j ? d : 0) - factor * x[i] * y[j]) * e[j]);
}

/** Every family by its formula. */
const FAMILIES: Record<
  string,
  { run: () => StateResult; scale?: number; step: (t: number, s: number) => Step }
> = {
  "deltaRule()": {
    run: () => deltaRule(q, k, v, beta, options),
    step: (t, s) => stepOf(t, s, (k, β) => transition(1, β, k, k, [1, 1, 1])),
  },
  "gatedDeltaRule()": {
    run: () => gatedDeltaRule(q, k, v, g, beta, options),
    step: (t, s) => {
      const α = Math.exp(g.data[t * 2 + s]);
      return stepOf(t, s, (k, β) => transition(1, β, k, k, [α, α, α]));
    },
  },
  "kda()": {
    run: () => kda(q, k, v, gChannel, beta, { ...options, scale: 2 }),
    scale: 2,
    step: (t, s) =>
      stepOf(t, s, (k, β) => transition(1, β, k, k, row(gChannel, t, s, 2).map(Math.exp))),
  },
  "comba()": {
    run: () => comba(q, k, v, p, g, beta, options),
    step: (t, s) => {
      const α = Math.exp(g.data[t * 2 + s]);
      return stepOf(t, s, (k, β) => transition(α, β, k, row(p, t, s, 2), [1, 1, 1]));
    },
  },
  "gdn2()": {
    run: () => gdn2(q, k, v, gChannel, erase, write, options),
    step: (t, s) => {
      const e = row(erase, t, s, 2);
      const { A } = stepOf(t, s, (k) => {
        const p = k.map((k_d, d) => e[d] * k_d);
        return transition(1, 1, k, p, row(gChannel, t, s, 2).map(Math.exp));
      });
      const w = row(write, t, s, 2);
      return { A, B: outer(row(k, t, s, 2), row(v, t, s, 2).map((v_e, e) => w[e] * v_e)) };
    },
  },
  "dplr()": {
    run: () => dplr(q, k, v, a, b, gChannel, options),
    step: (t, s) => generalStep(t, s),
  },
  "rwkv7()": {
    run: () => rwkv7(q, gChannel, k, v, a, b, options),
    scale: 1,
    step: (t, s) => generalStep(t, s),
  },
};

/** The step of a tied rule, which writes β v. */
function stepOf(
  t: number,
  s: number,
  transitionOf: (k: number[], β: number) => Matrix,
): Step {
  const [key, β] = [row(k, t, s, 2), beta.data[t * 2 + s]];
  return { A: transitionOf(key, β), B: outer(key, row(v, t, s, 2).map((v_e) => β * v_e)) };
}

/** The step of a general pair. */
function generalStep(t: number, s: number): Step {
  const pair = { a: row(a, t, s, 2), b: row(b, t, s, 2) };
  const decay = row(gChannel, t, s, 2).map(Math.exp);
  const A = matrix(3, 3, (i, j) => (i === j ? decay[i] : 0) + pair.b[i] * pair.a[j]);
  return { A, B: outer(row(k, t, s, 2), row(v, t, s, 2)) };
}

for (const [name, { run, scale = 3 ** -0.5, step }] of Object.entries(FAMILIES)) {
  Deno.test(`${name} is its dense transition, heads grouped`, () => {
    const expected = denseRun(all, scale, step);

    const { out, finalState } = run();

    assertEquals(out.shape, [1, 12, 4, 5]);
    assertEquals(finalState?.shape, [1, 2, 3, 5]);
    assertClose("out", out.data, expected.out, { ratio: 1e-13 });
    assertClose("state", finalState?.data ?? [], expected.state, { ratio: 1e-13 });
  });
}

Deno.test("recurrence() with a general pair is the delta rule that it says", () => {
  const keys = [k, p]; // erase keys of one head, and of each state head
  for (const erasing of keys) {
    for (const gates of [g, gChannel]) {
      const at = (index: number, gate: ReferenceTensor) =>
        gate.data[gate.shape.length === 3 ? Math.floor(index / 3) : index];
      const perState = tensor(
        [1, 12, 2, 3],
        (i) => row(erasing, Math.floor(i / 6), Math.floor(i / 3) % 2, 2)[i % 3],
      );
      const general = {
        a: map(perState, (p_d, i) => -Math.exp(at(i, gates)) * p_d),
        b: tensor(
          [1, 12, 2, 3],
          (i) => beta.data[Math.floor(i / 3)] * k.data[Math.floor(i / 6) * 3 + i % 3],
        ),
      };
      const written = map(v, (v_e, i) => beta.data[Math.floor(i / 5)] * v_e);

      const tied = recurrence(q, k, v, { ...options, g: gates, beta, p: erasing });
      const pair = recurrence(q, k, written, { ...options, g: gates, ...general });

      assertClose("out", tied.out.data, pair.out.data, { ratio: 1e-14 });
    }
  }
});

Deno.test("gatedDeltaRule() computes gates and strengths as its options say", () => {
  const [aLog, dtBias] = [of([2], -1, 0.5), of([2], 0.25, -2)];
  const logits = map(beta, (x) => 6 * x - 3);
  const x = map(g, (gate) => 8 * gate + 4);
  const gates = map(
    x,
    (x_t, i) => -Math.exp(aLog.data[i % 2]) * softplus(x_t + dtBias.data[i % 2]),
  );

  const same = (actual: StateResult, expected: StateResult) =>
    assertClose("out", actual.out.data, expected.out.data, { ratio: 1e-14 });
  same(gatedDeltaRule(q, k, v, x, beta, { aLog, dtBias }), gatedDeltaRule(q, k, v, gates, beta));
  const plainGates = map(x, (x_t, i) => -Math.exp(aLog.data[i % 2]) * softplus(x_t));
  same(gatedDeltaRule(q, k, v, x, beta, { aLog }), gatedDeltaRule(q, k, v, plainGates, beta));
  same(
    gatedDeltaRule(q, k, v, g, logits, { betaSigmoid: true }),
    gatedDeltaRule(q, k, v, g, map(logits, sigmoid)),
  );
  same(
    gatedDeltaRule(q, k, v, g, logits, { betaSigmoid: true, allowNegativeEigenvalues: true }),
    gatedDeltaRule(q, k, v, g, map(logits, (x_t) => 2 * sigmoid(x_t))),
  );
});

Deno.test("kda() computes both kinds of gates", () => {
  const aLog = of([2], -1, 0.5);
  const dtBias = of([2, 3], 0.25, -2, 1, 0, 3, -1);
  const x = map(gChannel, (gate) => 8 * gate + 4);
  const rate = (i: number) => Math.exp(aLog.data[Math.floor(i / 3) % 2]);
  const biased = map(x, (x_d, i) => x_d + dtBias.data[i % 6]);
  const unbounded = map(biased, (x_d, i) => -rate(i) * softplus(x_d));
  const bounded = map(biased, (x_d, i) => -5 * sigmoid(rate(i) * x_d));

  const run = (gates: ReferenceTensor, options = {}) => kda(q, k, v, gates, beta, options).out.data;
  assertClose("softplus", run(x, { aLog, dtBias }), run(unbounded), { ratio: 1e-14 });
  const actual = run(x, { aLog, dtBias, lowerBound: -5 });
  assertClose("sigmoid", actual, run(bounded), { ratio: 1e-14 });
});

Deno.test("kda() with equal channels is gatedDeltaRule()", () => {
  const channels = tensor([1, 12, 2, 3], (i) => g.data[Math.floor(i / 3)]);

  for (const qkL2norm of [false, true]) {
    const expected = gatedDeltaRule(q, k, v, g, beta, { ...options, qkL2norm });
    assertEquals(kda(q, k, v, channels, beta, { ...options, qkL2norm }), expected);
  }
});

Deno.test("deltaRule() with qkL2norm divides by the root of the squares and 1e-6", () => {
  const scaled = (x: ReferenceTensor) =>
    map(x, (element, i) => {
      const start = i - i % 3;
      const squares = [0, 1, 2].reduce((sum, d) => sum + x.data[start + d] ** 2, 0);
      return element / Math.sqrt(squares + 1e-6);
    });
  const zero = map(k, (x, i) => i < 3 ? 0 : x);

  const { out } = deltaRule(q, zero, v, beta, { qkL2norm: true });

  const expected = deltaRule(scaled(q), scaled(zero), v, beta).out.data;
  assertClose("out", out.data, expected, { ratio: 1e-14 });
  assertEquals(Array.from(out.data.subarray(0, 20)), Array.from({ length: 20 }, () => 0));
});

Deno.test("comba() reads with p before the decay", () => {
  const decayed = tensor(
    [1, 12, 2, 3],
    (i) => Math.exp(g.data[Math.floor(i / 3)]) * k.data[Math.floor(i / 6) * 3 + i % 3],
  );
  const gated = gatedDeltaRule(q, k, v, g, beta).out.data;
  assertClose("p = e^g k", comba(q, k, v, decayed, g, beta).out.data, gated, { ratio: 1e-14 });

  const after = map(p, (p_d, i) => Math.exp(-g.data[Math.floor(i / 3)]) * p_d);
  const tied = recurrence(q, k, v, { g, beta, p: after }).out.data;
  assertClose("tied", comba(q, k, v, p, g, beta).out.data, tied, { ratio: 1e-13 });
  const cleared = comba(q, k, v, p, map(g, () => -Infinity), beta);
  assertEquals(cleared.out.data.every(Number.isFinite), true);
});

Deno.test("gdn2() whose gates are all beta is kda()", () => {
  const [e, w] = [3, 5].map((dim) =>
    tensor([1, 12, 2, dim], (i) => beta.data[Math.floor(i / dim)])
  );

  const { out } = gdn2(q, k, v, gChannel, e, w);

  assertClose("out", out.data, kda(q, k, v, gChannel, beta).out.data, { ratio: 1e-14 });
});

Deno.test("deltaProduct() with one step is gatedDeltaRule()", () => {
  const expected = gatedDeltaRule(q, k, v, g, beta, options);

  assertEquals(deltaProduct(q, k, v, g, beta, options), expected);
  assertEquals(deltaProduct(q, k, v, g, beta, { ...options, householders: 1 }), expected);
});

Deno.test("deltaProduct() decays once and takes all steps of a token", () => {
  const few = inputs(1, 4);
  const rows = inputs(1, 12);
  const expected = denseRun({ ...few, initialState }, 3 ** -0.5, (t, s) => {
    const α = Math.exp(few.g.data[t * 2 + s]);
    let A = matrix(3, 3, (i, j) => i === j ? α : 0);
    let B = matrix(3, 5, () => 0);
    for (let j = 3 * t; j < 3 * t + 3; j++) {
      const [key, β] = [row(rows.k, j, s, 2), rows.beta.data[j * 2 + s]];
      const H = transition(1, β, key, key, [1, 1, 1]);
      A = product(H, A);
      B = affine(H, B, outer(key, row(rows.v, j, s, 2).map((v_e) => β * v_e)));
    }
    return { A, B };
  });

  const { out, finalState } = deltaProduct(few.q, rows.k, rows.v, few.g, rows.beta, {
    ...options,
    householders: 3,
  });
  assertClose("out", out.data, expected.out, { ratio: 1e-13 });
  assertClose("state", finalState?.data ?? [], expected.state, { ratio: 1e-13 });
});

Deno.test("dplr() with gates of 0 and opposite keys is deltaRule()", () => {
  const perState = tensor([1, 12, 2, 3], (i) => k.data[Math.floor(i / 6) * 3 + i % 3]);
  const written = map(v, (v_e, i) => beta.data[Math.floor(i / 5)] * v_e);
  const opposite = map(perState, (k_d, i) => beta.data[Math.floor(i / 3)] * k_d);
  const minus = map(k, (k_d) => -k_d);

  const { out } = dplr(q, k, written, minus, opposite, map(gChannel, () => 0));

  assertClose("out", out.data, deltaRule(q, k, v, beta).out.data, { ratio: 1e-14 });
});

Deno.test("gatedDeltaRule() forgets all before a gate of -Infinity", () => {
  const gates = map(g, (gate, i) => i === 8 || i === 9 ? -Infinity : gate);
  const tail = (x: Float64Tensor) => ({
    data: x.data.slice(x.data.length / 3),
    shape: [1, 8, ...x.shape.slice(2)],
  });

  const { out } = gatedDeltaRule(q, k, v, gates, beta);
  const part = gatedDeltaRule(tail(q), tail(k), tail(v), tail(gates), tail(beta));

  assertEquals(out.data.every(Number.isFinite), true);
  part.out.data.forEach((o, i) => assertAlmostEquals(out.data[4 * 20 + i], o, 1e-15));
});
