import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  causalConv1d,
  type Float64Tensor,
  gatedDeltaRule,
  hgrn,
  logLinearAttention,
  mlstm,
  recurrence,
  type ReferenceTensor,
  selectiveScan,
  simpleGla,
  titansMemory,
  tttLinear,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

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

/** Row `index` of a tensor whose rows have `dim` elements. */
function row(x: ReferenceTensor, index: number, dim: number): number[] {
  return Array.from({ length: dim }, (_, d) => x.data[index * dim + d]);
}

const sum = (x: ArrayLike<number>): number => Array.from(x).reduce((total, y) => total + y, 0);
const dot = (x: number[], y: number[]): number => sum(x.map((x_d, d) => x_d * y[d]));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** One head, 13 tokens, K = 3, V = 5. */
function inputs(seed: number, length = 13) {
  const random = new Random(seed);
  const normal = (...shape: number[]) => tensor([1, length, 1, ...shape], () => random.normal());
  const uniform = () => tensor([1, length, 1], () => random.next());
  return {
    q: normal(3),
    k: normal(3),
    v: normal(5),
    w: normal(3),
    i: normal(),
    f: normal(),
    g: map(uniform(), (x) => -x),
    theta: uniform(),
    eta: uniform(),
    alpha: uniform(),
    M: tensor([1, 1, 3, 5], () => random.normal()),
    S: tensor([1, 1, 3, 5], () => random.normal()),
  };
}

/** Σ_j weight(t, j) v_j for each token t, j <= t. */
function weighted(
  v: ReferenceTensor,
  dim: number,
  weight: (t: number, j: number) => number,
): Float64Tensor {
  return tensor([...v.shape], (index) => {
    const [t, e] = [Math.floor(index / dim), index % dim];
    return sum(Array.from({ length: t + 1 }, (_, j) => weight(t, j) * v.data[j * dim + e]));
  });
}

/** Σ_{j<l<=t} x_l. */
const between = (x: ReferenceTensor, j: number, t: number): number =>
  sum(Array.from({ length: t - j }, (_, l) => x.data[j + 1 + l]));

Deno.test("hgrn() is the sum of what has decayed", () => {
  const random = new Random(1);
  const x = tensor([1, 9, 2, 3], () => random.normal());
  const g = tensor([1, 9, 2, 3], () => -random.next());

  const { out } = hgrn(x, g);

  for (let c = 0; c < 6; c++) {
    const column = (tensor: ReferenceTensor) =>
      of([1, 9], ...Array.from({ length: 9 }, (_, t) => tensor.data[t * 6 + c]));
    const gates = column(g);
    const expected = weighted(column(x), 1, (t, j) => Math.exp(between(gates, j, t)));
    assertClose("h", Array.from(column(out).data), expected.data, { ratio: 1e-14 });
  }
});

/** A selective scan of 6 channels with 4 states. */
function selective(seed: number) {
  const random = new Random(seed);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  return {
    u: normal(2, 9, 6),
    delta: normal(2, 9, 6),
    a: tensor([6, 4], () => -random.next()),
    b: normal(2, 9, 4),
    c: normal(2, 9, 4),
    d: normal(6),
    z: normal(2, 9, 6),
    deltaBias: normal(6),
    initialState: normal(2, 6, 4),
  };
}

Deno.test("selectiveScan() is the engine with a head of V = 1 for each channel", () => {
  const { u, delta, a, b, c, d, z, deltaBias, initialState } = selective(2);
  const Δ = map(delta, (x, index) => Math.log(1 + Math.exp(x + deltaBias.data[index % 6])));
  const g = tensor([2, 9, 6, 4], (i) => Δ.data[Math.floor(i / 4)] * a.data[i % 24]);
  const v = { ...map(u, (x, index) => Δ.data[index] * x), shape: [2, 9, 6, 1] };
  const [k, q] = [b, c].map((x) => ({ ...x, shape: [2, 9, 1, 4] }));
  const heads = { data: initialState.data, shape: [2, 6, 4, 1] };

  const engine = recurrence(q, k, v, { g, scale: 1, initialState: heads, finalState: true });
  const states = { initialState, finalState: true };
  const own = { deltaBias, deltaSoftplus: true };
  const plain = selectiveScan(u, delta, a, b, c, { ...own, ...states });
  const { out } = selectiveScan(u, delta, a, b, c, { ...own, ...states, d, z });

  assertClose("y", plain.out.data, engine.out.data, { ratio: 1e-14 });
  assertEquals(plain.finalState?.shape, [2, 6, 4]);
  const final = engine.finalState as Float64Tensor;
  assertClose("h", plain.finalState?.data ?? [], final.data, { ratio: 1e-14 });
  const gated = map(
    plain.out,
    (y, index) => (y + d.data[index % 6] * u.data[index]) * z.data[index] * sigmoid(z.data[index]),
  );
  assertClose("gated", out.data, gated.data, { ratio: 1e-14 });
  const raw = selectiveScan(u, Δ, a, b, c, states);
  assertClose("delta as it is", raw.out.data, plain.out.data, { ratio: 1e-14 });
});

Deno.test("mlstm() is the unstabilised formula", () => {
  const { q, k, v, i, f } = inputs(3);
  const scale = 3 ** -0.5;
  const logF = map(f, (x) => Math.log(sigmoid(x)));
  for (const gate of ["exp", "sigmoid"] as const) {
    const D = (t: number, j: number) => {
      const input = gate === "exp" ? Math.exp(i.data[j]) : sigmoid(i.data[j]);
      return Math.exp(between(logF, j, t)) * input;
    };
    const score = (t: number, j: number) => scale * dot(row(q, t, 3), row(k, j, 3)) * D(t, j);
    const divisors = Array.from(
      { length: 13 },
      (_, t) => Math.max(Math.abs(sum(Array.from({ length: t + 1 }, (_, j) => score(t, j)))), 1),
    );
    const sums = weighted(v, 5, score);
    const expected = map(sums, (o, index) => o / divisors[Math.floor(index / 5)]);

    const { out, finalState } = mlstm(q, k, v, i, f, { gate, eps: 0, finalState: true });

    assertClose("out", out.data, expected.data, { ratio: 1e-12 });
    const factor = Math.exp(finalState?.m.data[0] ?? NaN);
    assertEquals(gate === "sigmoid", factor === 1);
    for (let d = 0; d < 3; d++) {
      const n = sum(Array.from({ length: 13 }, (_, j) => D(12, j) * k.data[j * 3 + d]));
      assertAlmostEquals(factor * (finalState?.n.data[d] ?? NaN), n, 1e-12);
      for (let e = 0; e < 5; e++) {
        const C = sum(
          Array.from({ length: 13 }, (_, j) => D(12, j) * k.data[j * 3 + d] * v.data[j * 5 + e]),
        );
        assertAlmostEquals(factor * (finalState?.c.data[d * 5 + e] ?? NaN), C, 1e-12);
      }
    }
  }
});

Deno.test("mlstm() stays finite where the exponentials would not", () => {
  const { q, k, v, i, f } = inputs(4);
  const run = (shift: number) => mlstm(q, k, v, map(i, (x) => x + shift), f, { eps: 0 }).out.data;

  // above l all weights scale alike, and the quotient stays; below it the sums vanish
  assertClose("1000 more", run(2000), run(1000), { ratio: 1e-10 });
  assertEquals(run(-2000).every((x) => x === 0), true);
  const forgetting = map(f, (x, t) => t === 6 ? -Infinity : x);
  const nothing = map(i, (x, t) => t === 6 ? -Infinity : x);
  const { out } = mlstm(q, k, v, nothing, forgetting);
  assertEquals(out.data.every(Number.isFinite), true);
  assertEquals(Array.from(out.data.subarray(30, 35)), [0, 0, 0, 0, 0]);
});

Deno.test("mlstm() adds eps to the divisor as it is stabilised", () => {
  const one = of([1, 1, 1, 1], 2);
  const gate = of([1, 1, 1], Math.log(4));

  // m = log 4: n = 2 · 1, divisor max(2 · 2, 1/4) + 1
  const { out } = mlstm(one, one, one, gate, gate, { eps: 1 });
  assertAlmostEquals(out.data[0], 8 / (4 + 1));
});

Deno.test("logLinearAttention() is the direct sum over levels", () => {
  const { q, k, v, g } = inputs(5, 21);
  const random = new Random(5);
  const lambda = tensor([1, 21, 1, 6], () => random.normal());
  const level = (t: number, s: number) => (t ^ s).toString(2).length - (t === s ? 1 : 0);
  const expected = weighted(v, 5, (t, s) => {
    const weight = lambda.data[t * 6 + level(t, s)] * Math.exp(between(g, s, t));
    return weight * dot(row(q, t, 3), row(k, s, 3));
  });

  const { out, finalState } = logLinearAttention(q, k, v, g, lambda, { finalState: true });

  assertClose("out", out.data, expected.data, { ratio: 1e-13 });
  assertEquals(finalState?.s.shape, [1, 1, 6, 3, 5]);
  assertEquals(Array.from(finalState?.t.data ?? []), [21]);
  const scaled = logLinearAttention(q, k, v, g, lambda, { scale: 2 }).out;
  assertClose("scaled", scaled.data, expected.data.map((o) => 2 * o), { ratio: 1e-13 });
});

Deno.test("logLinearAttention() with equal weights is simpleGla()", () => {
  const { q, k, v, g } = inputs(6);

  const { out } = logLinearAttention(q, k, v, g, tensor([1, 13, 1, 5], () => 1));

  assertClose("out", out.data, simpleGla(q, k, v, g, { scale: 1 }).out.data, { ratio: 1e-13 });
});

/** LN(z) w + b. */
function layerNorm(z: number[], w: number[], b: number[]): number[] {
  const mean = sum(z) / z.length;
  const variance = sum(z.map((x) => (x - mean) ** 2)) / z.length;
  return z.map((x, e) => (x - mean) / Math.sqrt(variance + 1e-6) * w[e] + b[e]);
}

Deno.test("tttLinear() is its dual form with the gradients of the loss", () => {
  const { q, k, w: v, eta } = inputs(7, 11);
  const random = new Random(7);
  const [w, b] = [0, 1].map(() => Array.from({ length: 3 }, () => random.normal()));
  const W = Array.from({ length: 3 }, () => Array.from({ length: 3 }, () => random.normal()));
  const c = Array.from({ length: 3 }, () => random.normal());
  const initialState = { w: of([1, 1, 3, 3], ...W.flat()), b: of([1, 1, 3], ...c) };
  const times = (x: number[]) => W[0].map((_, e) => dot(x, W.map((line) => line[e])));

  const { out, finalState } = tttLinear(q, k, v, of([1, 3], ...w), of([1, 3], ...b), eta, {
    miniBatch: 4,
    initialState,
    finalState: true,
  });

  const expected: number[] = [];
  for (let start = 0; start < 11; start += 4) {
    const tokens = Array.from({ length: Math.min(4, 11 - start) }, (_, i) => start + i);
    const G = tokens.map((t) => {
      const target = row(v, t, 3).map((v_e, e) => v_e - k.data[t * 3 + e]);
      const loss = (z: number[]) => sum(layerNorm(z, w, b).map((y, e) => (y - target[e]) ** 2)) / 2;
      const z = times(row(k, t, 3)).map((z_e, e) => z_e + c[e]);
      return z.map((_, e) => {
        const moved = (step: number) => loss(z.map((z_e, at) => at === e ? z_e + step : z_e));
        return (8 * (moved(1e-3) - moved(-1e-3)) - (moved(2e-3) - moved(-2e-3))) / 12e-3;
      });
    });
    for (const [i, t] of tokens.entries()) {
      const x = row(q, t, 3).map((q_d) => 3 ** -0.5 * q_d);
      const o = times(x).map((held, e) => {
        const steps = G.slice(0, i + 1).map((G_j, j) =>
          (dot(x, row(k, tokens[j], 3)) + 1) * G_j[e]
        );
        return held + c[e] - eta.data[t] * sum(steps);
      });
      expected.push(...layerNorm(o, w, b).map((y, e) => o[e] + y));
    }
    const η = eta.data[tokens[tokens.length - 1]];
    for (const [j, t] of tokens.entries()) {
      for (let e = 0; e < 3; e++) {
        for (let d = 0; d < 3; d++) W[d][e] -= η * k.data[t * 3 + d] * G[j][e];
        c[e] -= η * G[j][e];
      }
    }
  }
  assertClose("out", out.data, expected, { ratio: 1e-6 });
  assertClose("W", finalState?.w.data ?? [], W.flat(), { ratio: 1e-6 });
  assertClose("c", finalState?.b.data ?? [], c, { ratio: 1e-6 });
});

Deno.test("titansMemory() without momentum is gatedDeltaRule()", () => {
  const { q, k, v, theta, alpha, M } = inputs(8);
  const eta = map(theta, () => 0);
  const g = map(alpha, (x) => Math.log(1 - x));
  const expected = gatedDeltaRule(q, k, v, g, theta, { initialState: M, finalState: true });
  const initialState = { m: M, s: map(M, () => 0) };
  const options = { theta, alpha, initialState, finalState: true };

  for (const momentum of [{}, { eta }]) {
    const { out, finalState } = titansMemory(q, k, v, { ...options, ...momentum });
    assertClose("out", out.data, expected.out.data, { ratio: 1e-13 });
    const state = expected.finalState?.data ?? [];
    assertClose("state", finalState?.m.data ?? [], state, { ratio: 1e-13 });
  }
});

Deno.test("titansMemory() is the sum over its mini-batch", () => {
  const { q, k, v, theta, eta, alpha, M: m, S: s } = inputs(9, 7);
  const [logη, logα] = [map(eta, Math.log), map(alpha, (x) => Math.log(1 - x))];
  const kept = (j: number, t: number) => Math.exp(between(logα, j, t));
  const moved = (j: number, t: number) => Math.exp(between(logη, j, t));
  // what the momentum of token j has added to the memory by token t
  const added = (j: number, t: number) =>
    sum(Array.from({ length: t - Math.max(j, 0) + 1 }, (_, l) => {
      const at = Math.max(j, 0) + l;
      return kept(at, t) * moved(j, at);
    }));
  const held = (x: number[], state: ReferenceTensor, e: number) =>
    sum(x.map((x_d, d) => x_d * state.data[d * 5 + e]));
  const surprise = tensor([1, 7, 1, 5], (index) => {
    const [t, e] = [Math.floor(index / 5), index % 5];
    return v.data[index] - kept(-1, t) * held(row(k, t, 3), m, e);
  });
  const written = weighted(
    surprise,
    5,
    (t, j) => theta.data[j] * added(j, t) * dot(row(q, t, 3), row(k, j, 3)),
  );
  const expected = map(written, (o, index) => {
    const [t, e] = [Math.floor(index / 5), index % 5];
    const x = row(q, t, 3);
    return 3 ** -0.5 * (o + kept(-1, t) * held(x, m, e) + added(-1, t) * held(x, s, e));
  });

  const options = { theta, eta, alpha, initialState: { m, s } };
  const { out } = titansMemory(q, k, v, { ...options, miniBatch: 7 });

  assertClose("out", out.data, expected.data, { ratio: 1e-12 });
  const smaller = titansMemory(q, k, v, { ...options, miniBatch: 3 }).out.data;
  assertClose("first mini-batch", smaller.subarray(0, 15), out.data.subarray(0, 15), { ratio: 0 });
  assertEquals(smaller[15] === out.data[15], false);
});

Deno.test("causalConv1d() is the direct sum, bias and activation", () => {
  const random = new Random(10);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  const [x, weight, bias, state] = [normal(2, 5, 3), normal(3, 4), normal(3), normal(2, 3, 3)];
  const input = (b: number, t: number, c: number) =>
    t < 0 ? state.data[(b * 3 + c) * 3 + 3 + t] : x.data[(b * 5 + t) * 3 + c];
  const expected = tensor([2, 5, 3], (index) => {
    const [b, t, c] = [Math.floor(index / 15), Math.floor(index / 3) % 5, index % 3];
    return [0, 1, 2, 3].reduce(
      (total, back) => total + weight.data[c * 4 + 3 - back] * input(b, t - back, c),
      bias.data[c],
    );
  });

  const { out, finalState } = causalConv1d(x, weight, { bias, state, finalState: true });
  const activated = causalConv1d(x, weight, { bias, state, activation: "silu" }).out.data;

  assertClose("out", out.data, expected.data, { ratio: 1e-14 });
  assertClose("silu", activated, expected.data.map((y) => y * sigmoid(y)), { ratio: 1e-14 });
  const last = tensor([2, 3, 3], (i) => input(Math.floor(i / 9), 2 + i % 3, Math.floor(i / 3) % 3));
  assertEquals(finalState, last);
});

Deno.test("causalConv1d() keeps inputs of its state where the sequence is short", () => {
  const x = of([1, 1, 1], 4);
  const weight = of([1, 4], 1000, 100, 10, 1);
  const state = of([1, 1, 3], 1, 2, 3);

  const { out, finalState } = causalConv1d(x, weight, { state, finalState: true });

  assertEquals(Array.from(out.data), [1234]);
  assertEquals(finalState, { data: Float64Array.of(2, 3, 4), shape: [1, 1, 3] });
  const single = causalConv1d(x, of([1, 1], 5), { finalState: true });
  assertEquals(Array.from(single.out.data), [20]);
  assertEquals(single.finalState?.shape, [1, 1, 0]);
});
