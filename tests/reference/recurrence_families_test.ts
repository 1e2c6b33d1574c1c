import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  based,
  type FeatureMap,
  type Float64StateRecord,
  type Float64Tensor,
  gla,
  hgrn2,
  lightNet,
  lightningAttention,
  lightningSlopes,
  linearAttention,
  linearAttentionFull,
  mamba2,
  recurrence,
  type ReferenceTensor,
  retention,
  rwkv6,
  simpleGla,
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

/** The tokens from `start` to `end` of a tensor `[1, T, …]`. */
function tokens(x: ReferenceTensor, start: number, end: number): ReferenceTensor {
  const [, length, ...axes] = x.shape;
  const size = x.data.length / length;
  const part = Array.from(x.data).slice(start * size, end * size);
  return { data: part, shape: [1, end - start, ...axes] };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Random inputs of one batch: 4 heads that query, 2 that write, 2 states. */
function inputs(seed: number, batch = 1, length = 12) {
  const random = new Random(seed);
  const normal = (...shape: number[]) => tensor(shape, () => random.normal());
  return {
    q: normal(batch, length, 4, 3),
    k: normal(batch, length, 2, 3),
    v: normal(batch, length, 2, 5),
    gHead: tensor([batch, length, 2], () => -random.next()),
    gChannel: tensor([batch, length, 2, 3], () => -random.next()),
    gv: tensor([batch, length, 2, 5], () => -random.next()),
    u: normal(2, 3),
    c: normal(batch, length, 2, 3),
    x: normal(batch, length, 4, 5),
    z: normal(batch, length, 4, 5),
    dt: normal(batch, length, 4),
    a: tensor([4], () => -random.next()),
    d: normal(4),
    dtBias: normal(4),
    tokenWeights: tensor([batch, length, 2], () => random.next()),
  };
}

type Inputs = ReturnType<typeof inputs>;
type State = ReferenceTensor | Float64StateRecord;

/** What the properties below give to every family. */
interface Options {
  initialState?: State;
  finalState?: boolean;
  cuSeqlens?: ReferenceTensor;
  reverse?: boolean;
}

/** Every family on the tensors that have a time axis; the rest comes from the same seed. */
const FAMILIES: Record<
  string,
  (t: Inputs, options: Options) => { out: Float64Tensor; finalState?: State }
> = {
  "linearAttention()": ({ q, k, v }, o) => linearAttention(q, k, v, o),
  "linearAttention() with elu1": ({ q, k, v }, o) =>
    linearAttention(q, k, v, { ...o, featureMap: "elu1" }),
  "retention()": ({ q, k, v }, o) => retention(q, k, v, o as object),
  "lightningAttention()": ({ q, k, v }, o) => lightningAttention(q, k, v, o as object),
  "simpleGla()": ({ q, k, v, gHead }, o) => simpleGla(q, k, v, gHead, o as object),
  "gla()": ({ q, k, v, gChannel, gv }, o) => gla(q, k, v, gChannel, { ...o as object, gv }),
  "hgrn2()": ({ q, k, v }, o) => hgrn2(q, k, v, { ...o as object, lowerBound: 0.2 }),
  "lightNet()": ({ q, k, v }, o) => lightNet(q, k, v, o as object),
  "rwkv6()": ({ q, k, v, gChannel, u }, o) => rwkv6(q, k, v, gChannel, u, o as object),
  "mamba2()": ({ x, dt, a, k, c, d, z, dtBias }, o) =>
    mamba2(x, dt, a, k, c, { ...o as object, d, z, dtBias, dtSoftplus: true }),
  "based()": ({ q, k, v }, o) => based(q, k, v, o as object),
};

/** The tensors with a time axis from `start` to `end`. */
function part(all: Inputs, start: number, end: number): Inputs {
  const { a, d, dtBias, u, ...rest } = all;
  const entries = Object.entries(rest).map(([name, x]) => [name, tokens(x, start, end)]);
  return { a, d, dtBias, u, ...Object.fromEntries(entries) };
}

/** The elements of a state, one after the other. */
function elements(state: State | undefined): number[] {
  if (!state) return [];
  return "s" in state
    ? [...Array.from(state.s.data), ...Array.from(state.z.data)]
    : Array.from(state.data);
}

for (const [name, run] of Object.entries(FAMILIES)) {
  const all = inputs(1);

  Deno.test(`${name} resumed is the whole`, () => {
    const whole = run(all, { finalState: true });
    for (const reverse of [false, true]) {
      const full = run(all, { finalState: true, reverse });
      const [first, second] = [part(all, 0, 5), part(all, 5, 12)];
      const [early, late] = reverse ? [second, first] : [first, second];
      const before = run(early, { finalState: true, reverse });
      const initialState = before.finalState;
      const after = run(late, {
        finalState: true,
        reverse,
        ...(initialState ? { initialState } : {}),
      });
      const [head, tail] = reverse ? [after, before] : [before, after];
      assertClose("out", [...head.out.data, ...tail.out.data], full.out.data, { ratio: 1e-13 });
      assertClose("state", elements(after.finalState), elements(full.finalState), { ratio: 1e-13 });
      if (reverse) assertEquals(full.out.data.every((x, i) => x === whole.out.data[i]), false);
    }
  });

  Deno.test(`${name} packed is each sequence alone`, () => {
    const bounds = [0, 4, 4, 5, 12];
    for (const reverse of [false, true]) {
      const cuSeqlens = of([5], ...bounds);
      const packed = run(all, { finalState: true, cuSeqlens, reverse });
      const alone = bounds.slice(1).map((end, n) =>
        run(part(all, bounds[n], end), { finalState: true, reverse })
      );
      assertEquals(Array.from(packed.out.data), alone.flatMap(({ out }) => Array.from(out.data)));
      const states = (key: "s" | "z") =>
        alone.flatMap(({ finalState: state }) => {
          if (!state) return [];
          if ("s" in state) return Array.from(state[key].data);
          return key === "s" ? Array.from(state.data) : [];
        });
      assertEquals(elements(packed.finalState), [...states("s"), ...states("z")]);
    }
  });

  Deno.test(`${name} runs the batch row by row`, () => {
    const two = inputs(2, 2, 6);
    const { out } = run(two, {});
    const { a, d, dtBias, u, ...rest } = two;
    const flat = Object.entries(rest).map(([key, { data, shape: [, , ...axes] }]) =>
      [key, { data, shape: [1, 12, ...axes] }] as const
    );
    const packed = { a, d, dtBias, u, ...Object.fromEntries(flat) } as Inputs;
    assertEquals(out.data, run(packed, { cuSeqlens: of([3], 0, 6, 12) }).out.data);
  });
}

Deno.test("retention() and lightningAttention() decay each head by its constant", () => {
  const { q, k, v } = inputs(3);
  const gammas = [31 / 32, 63 / 64];

  const g = of([2], ...gammas.map(Math.log));
  const expected = recurrence(q, k, v, { g }).out.data;
  assertClose("retention", retention(q, k, v).out.data, expected, { ratio: 1e-14 });
  const slopes = gammas.map((gamma) => -Math.log(gamma));
  assertEquals(lightningAttention(q, k, v, { slopes }).out.data, expected);
  const asTensor = { slopes: of([2], ...slopes) };
  assertEquals(lightningAttention(q, k, v, asTensor).out.data, expected);
  const alibi = recurrence(q, k, v, { g: of([2], -1 / 16, -1 / 256) }).out.data;
  assertEquals(lightningAttention(q, k, v).out.data, alibi);
});

Deno.test("lightningSlopes() has the published slopes", () => {
  assertEquals(lightningSlopes(8, { layer: 0, layers: 4 }), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(lightningSlopes(4, { layer: 3, layers: 4 }), [0, 0.5, 1, 1.5]);
  assertEquals(lightningSlopes(8, "alibi"), [1, 2, 3, 4, 5, 6, 7, 8].map((h) => 2 ** -h));
  const [a, b] = [2 ** -0.5, 2 ** -1.5];
  const expected = [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125];
  lightningSlopes(6, "alibi").forEach((slope, h) => assertAlmostEquals(slope, expected[h], 1e-15));
  lightningSlopes(12, "alibi").slice(8).forEach((slope, h) =>
    assertAlmostEquals(slope, [a, b, 2 ** -2.5, 2 ** -3.5][h], 1e-15)
  );
});

Deno.test("simpleGla(), gla() and rwkv6() hand their gates to the engine", () => {
  const { q, k, v, gHead, gChannel, gv, u } = inputs(4);
  const same = (actual: Float64Tensor, options: object) =>
    assertEquals(actual, recurrence(q, k, v, options).out);

  same(simpleGla(q, k, v, gHead).out, { g: gHead });
  same(simpleGla(q, k, v, of([2], -1, -2), { scale: 2 }).out, { g: of([2], -1, -2), scale: 2 });
  same(gla(q, k, v, gChannel).out, { g: gChannel });
  same(gla(q, k, v, gChannel, { gv }).out, { g: gChannel, gv });
  same(rwkv6(q, k, v, gChannel, u).out, { g: gChannel, u });
});

Deno.test("hgrn2() is the engine with gates between lower bound and 1", () => {
  const { q, k: f, v } = inputs(5);
  const bounds = of([2, 3], 0, 0.1, 0.5, 0.9, 0, 0.3);
  for (const lowerBound of [0, 0.25, bounds]) {
    const lb = (index: number) =>
      typeof lowerBound === "number" ? lowerBound : lowerBound.data[index % 6];
    const gates = map(f, (x, index) => lb(index) + (1 - lb(index)) * sigmoid(x));

    const { out } = hgrn2(q, f, v, { lowerBound });

    const g = map(gates, Math.log);
    const expected = recurrence(q, map(gates, (gate) => 1 - gate), v, { g });
    assertClose("out", out.data, expected.out.data, { ratio: 1e-12 });
  }
  assertEquals(hgrn2(q, f, v).out, hgrn2(q, f, v, { lowerBound: 0 }).out);
});

Deno.test("hgrn2() keeps what saturated gates let through", () => {
  const shape = [1, 2, 1, 1];
  const ones = of(shape, 1, 1);
  const run = (...f: number[]) => hgrn2(ones, of(shape, ...f), of(shape, 1, 1)).out.data;

  assertEquals(run(40, 40)[0], Math.exp(-40) / (1 + Math.exp(-40)));
  assertEquals(Array.from(run(-1e4, -1e4)), [1, 1]);
  assertEquals(Array.from(run(1e4, -Infinity)), [0, 1]);
});

Deno.test("lightNet() is a softmax over time in each key channel", () => {
  const { q, k, v } = inputs(6);
  const { out, finalState } = lightNet(q, k, v, { finalState: true });

  const expected = tensor([...out.shape], () => 0);
  for (let t = 0; t < 12; t++) {
    for (let h = 0; h < 4; h++) {
      const s = Math.floor(h / 2);
      for (let d = 0; d < 3; d++) {
        const key = (j: number) => Math.exp(k.data[(j * 2 + s) * 3 + d]);
        let sum = 0;
        for (let j = 0; j <= t; j++) sum += key(j);
        for (let j = 0; j <= t; j++) {
          const weight = 3 ** -0.5 * q.data[(t * 4 + h) * 3 + d] * key(j) / sum;
          for (let e = 0; e < 5; e++) {
            expected.data[(t * 4 + h) * 5 + e] += weight * v.data[(j * 2 + s) * 5 + e];
          }
        }
        if (t === 11) {
          assertAlmostEquals(finalState?.z.data[s * 3 + d] ?? NaN, Math.log(sum), 1e-13);
        }
      }
    }
  }
  assertClose("out", out.data, expected.data, { ratio: 1e-13 });
  assertEquals(finalState?.z.shape, [1, 2, 3]);
  assertEquals(finalState?.s.shape, [1, 2, 3, 5]);
});

Deno.test("lightNet() survives huge keys and hidden tokens", () => {
  const shape = [1, 5, 1, 1];
  const ones = of(shape, 1, 1, 1, 1, 1);
  const k = of(shape, -Infinity, -1e4, 1e4, -Infinity, 1e4);

  const { out } = lightNet(ones, k, of(shape, 1, 2, 3, 4, 5));

  [0, 2, 3, 3, 4].forEach((o, t) => assertAlmostEquals(out.data[t], o, 1e-12));
});

Deno.test("mamba2() is the engine with keys b, queries c and values dt x", () => {
  const { x, z, dt, a, d, dtBias, k: b, c } = inputs(7);
  const dtLimits = [0.3, 1.5] as const;

  const { out } = mamba2(x, dt, a, b, c, { d, z, dtBias, dtSoftplus: true, dtLimits });

  const steps = map(dt, (raw, index) => {
    const step = Math.log(1 + Math.exp(raw + dtBias.data[index % 4]));
    return Math.min(1.5, Math.max(0.3, step));
  });
  const values = map(x, (x_e, index) => x_e * steps.data[Math.floor(index / 5)]);
  const g = map(steps, (step, index) => step * a.data[index % 4]);
  const y = recurrence(c, b, values, { g, scale: 1 }).out;
  const expected = map(y, (y_e, index) => {
    const skip = d.data[Math.floor(index / 5) % 4] * x.data[index];
    return (y_e + skip) * z.data[index] * sigmoid(z.data[index]);
  });
  assertClose("out", out.data, expected.data, { ratio: 1e-13 });
});

Deno.test("mamba2() has literal settings: plain dt, d per channel, groups in one axis", () => {
  const ones = of([1, 1, 2, 1], 1, 1);
  const x = of([1, 1, 2, 2], 1, 2, 3, 4);
  const [dt, a] = [of([1, 1, 2], -3, 2), of([2], -1, -1)];
  const d = of([2, 2], 10, 20, 30, 40);

  // dt is clamped to 0, so that the first head writes nothing
  assertEquals(Array.from(mamba2(x, dt, a, ones, ones).out.data), [0, 0, 6, 8]);
  assertEquals(Array.from(mamba2(x, dt, a, ones, ones, { d }).out.data), [10, 40, 96, 168]);
  const flat = of([1, 1, 4], 1, 0, 1, 1);
  const grouped = mamba2(x, dt, a, flat, flat, { groups: 2, finalState: true });
  assertEquals(Array.from(grouped.out.data), [0, 0, 12, 16]);
  assertEquals(grouped.finalState?.shape, [1, 2, 2, 2]);
  assertEquals(Array.from(mamba2(x, dt, a, flat, flat).out.data), [0, 0, 18, 24]);
});

Deno.test("mamba2() has states of mamba_ssm with stateLayout vk", () => {
  const x = of([1, 1, 1, 2], 3, 5);
  const b = of([1, 1, 1, 3], 1, 2, 4);
  const [dt, a] = [of([1, 1, 1], 1), of([1], -1)];

  const { finalState } = mamba2(x, dt, a, b, b, { finalState: true, stateLayout: "vk" });

  assertEquals(finalState, {
    data: Float64Array.of(3, 6, 12, 5, 10, 20),
    shape: [1, 1, 2, 3],
  });
});

/** Σ_j w_j v_j and Σ_j w_j over the first tokens, for weights given by query and key rows. */
function quadratic(
  { q, k, v }: Inputs,
  visible: (t: number) => number,
  weight: (q: number[], k: number[], j: number, head: number) => number,
): { sums: Float64Tensor; norms: number[] } {
  const sums = tensor([1, 12, 4, 5], () => 0);
  const norms = Array.from({ length: 48 }, () => 0);
  for (let row = 0; row < 48; row++) {
    const [t, s] = [Math.floor(row / 4), Math.floor((row % 4) / 2)];
    for (let j = 0; j < visible(t); j++) {
      const key = j * 2 + s;
      const query = Array.from(q.data.slice(row * 3, row * 3 + 3));
      const w = weight(query, Array.from(k.data.slice(key * 3, key * 3 + 3)), j, s);
      norms[row] += w;
      for (let e = 0; e < 5; e++) sums.data[row * 5 + e] += w * v.data[key * 5 + e];
    }
  }
  return { sums, norms };
}

const dot = (x: number[], y: number[]): number => x.reduce((sum, x_d, d) => sum + x_d * y[d], 0);

Deno.test("based() weighs by the second-order series of exp", () => {
  const all = inputs(8);
  for (const scale of [3 ** -0.5, 2]) {
    const { sums, norms } = quadratic(all, (t) => t + 1, (q, k) => {
      const s = scale * dot(q, k);
      return 1 + s + s * s / 2;
    });
    const expected = map(sums, (o, index) => o / (norms[Math.floor(index / 5)] + 1e-6));
    const options = scale === 2 ? { scale } : {};

    const { out, finalState } = based(all.q, all.k, all.v, { ...options, finalState: true });

    assertClose("out", out.data, expected.data, { ratio: 1e-12 });
    assertEquals(finalState?.s.shape, [1, 2, 10, 5]);
    assertEquals(finalState?.z.shape, [1, 2, 10]);
  }
  const taylor = linearAttention(all.q, all.k, all.v, {
    featureMap: "taylor2",
    scale: 1,
    eps: 1e-6,
  });
  assertClose("taylor2", taylor.out.data, based(all.q, all.k, all.v).out.data, { ratio: 1e-12 });
});

Deno.test("linearAttention() has taylor2 features in the documented order", () => {
  const x = of([1, 1, 1, 3], 1, 2, 4);
  const one = of([1, 1, 1, 1], 1);

  const options = { featureMap: "taylor2", finalState: true } as const;
  const { finalState } = linearAttention(x, x, one, options);

  const [a, b, c] = [3 ** -0.25, 6 ** -0.5, 3 ** -0.5];
  const expected = [1, a, 2 * a, 4 * a, b, 4 * b, 16 * b, 2 * c, 4 * c, 8 * c];
  assertClose("features", elements(finalState).slice(10), expected, { ratio: 1e-14 });
});

/** The elementwise feature maps and hedgehog without weights, one row at a time. */
const FEATURES: Record<Exclude<FeatureMap, "taylor2">, (x: number[]) => number[]> = {
  identity: (x) => x,
  elu1: (x) => x.map((x_d) => x_d > 0 ? x_d + 1 : Math.exp(x_d)),
  relu: (x) => x.map((x_d) => x_d > 0 ? x_d : 0),
  exp: (x) => x.map((x_d) => Math.exp(x_d)),
  hedgehog: (x) => {
    const e = [...x.map((x_d) => Math.exp(2 * x_d)), ...x.map((x_d) => Math.exp(-2 * x_d))];
    return e.map((e_d) => e_d / e.reduce((sum, element) => sum + element));
  },
};

for (const featureMap of ["identity", "elu1", "relu", "exp", "hedgehog"] as const) {
  const φ = FEATURES[featureMap];

  Deno.test(`linearAttention() is the quadratic form with ${featureMap}`, () => {
    const all = inputs(9);
    const scale = (featureMap === "hedgehog" ? 6 : 3) ** -0.5;
    const { sums, norms } = quadratic(all, (t) => t + 1, (q, k) => scale * dot(φ(q), φ(k)));
    const run = (options: object) =>
      linearAttention(all.q, all.k, all.v, { featureMap, ...options }).out.data;
    const normalized = map(sums, (o, index) => o / (norms[Math.floor(index / 5)] + 0.5));

    assertClose("sums", run({ normalize: false }), sums.data, { ratio: 1e-12 });
    const divided = run({ normalize: true, eps: 0.5 });
    assertClose("normalised", divided, normalized.data, { ratio: 1e-10 });
    assertEquals(run({}), run({ normalize: featureMap !== "identity", eps: 1e-10 }));
  });

  Deno.test(`linearAttentionFull() is the quadratic form with ${featureMap}`, () => {
    const all = inputs(10);
    const { q, k, v, tokenWeights } = all;
    const scale = (featureMap === "hedgehog" ? 6 : 3) ** -0.5;
    const weight = (q: number[], k: number[], j: number, s: number) =>
      scale * tokenWeights.data[j * 2 + s] * dot(φ(q), φ(k));
    const { sums, norms } = quadratic(all, () => 12, weight);
    const run = (options: object) =>
      linearAttentionFull(q, k, v, { featureMap, tokenWeights, ...options }).out.data;
    const normalized = map(sums, (o, index) => o / (norms[Math.floor(index / 5)] + 0.5));

    assertClose("sums", run({ normalize: false }), sums.data, { ratio: 1e-12 });
    const divided = run({ normalize: true, eps: 0.5 });
    assertClose("normalised", divided, normalized.data, { ratio: 1e-10 });
    assertEquals(run({}), run({ normalize: featureMap !== "identity", eps: 1e-6 }));
  });
}

Deno.test("linearAttentionFull() is what the last token of linearAttention() sees", () => {
  const { q, k, v } = inputs(11);
  for (const featureMap of ["identity", "elu1", "taylor2"] as const) {
    const full = linearAttentionFull(q, k, v, { featureMap, eps: 1e-10 }).out.data;
    const causal = linearAttention(q, k, v, { featureMap }).out.data;
    assertClose("last", full.slice(-20), causal.slice(-20), { ratio: 1e-12 });
  }
});

Deno.test("linearAttentionFull() with subtractMean is InLine", () => {
  const { q, k, v } = inputs(12);
  const { out } = linearAttentionFull(q, k, v, { subtractMean: true });

  const s = 3 ** -0.5;
  for (let row = 0; row < 48; row++) {
    const head = Math.floor((row % 4) / 2);
    const query = Array.from(q.data.slice(row * 3, row * 3 + 3));
    const keys = Array.from({ length: 12 }, (_, j) => Array.from(k.data.slice((j * 2 + head) * 3)));
    const mean = [0, 1, 2].map((d) => keys.reduce((sum, key) => sum + key[d], 0) / 12);
    for (let e = 0; e < 5; e++) {
      const values = keys.map((_, j) => v.data[(j * 2 + head) * 5 + e]);
      const kv = dot(keys.map((key) => dot(query, key)), values);
      const meanValue = values.reduce((a, b) => a + b) / 12;
      const expected = s / 12 * kv + (1 - s * dot(query, mean)) * meanValue;
      assertAlmostEquals(out.data[row * 5 + e], expected, 1e-13);
    }
  }
});

Deno.test("linearAttentionFull() crosses to keys of another length", () => {
  const q = of([2, 1, 1, 1], 1, 2);
  const k = of([2, 3, 1, 1], 1, 2, 3, 1, 1, 1);
  const v = of([2, 3, 1, 1], 1, 10, 100, 1, 2, 3);

  assertEquals(linearAttentionFull(q, k, v).out, {
    data: Float64Array.of(321, 12),
    shape: [2, 1, 1, 1],
  });
});

Deno.test("linearAttention() with hedgehog weights of each head and side, and biases", () => {
  const { q, k, v } = inputs(13);
  const random = new Random(13);
  const W = tensor([2, 2, 3, 4], () => random.normal()); // queries, keys; two heads; a bias
  const run = (hedgehogWeights: ReferenceTensor) =>
    linearAttention(q, k, v, { featureMap: "hedgehog", hedgehogWeights }).out.data;
  const project = (x: Float64Tensor, side: number, heads: number) =>
    tensor([1, 12, heads, 3], (index) => {
      const [row, i] = [Math.floor(index / 3), index % 3];
      const start = ((side * 2 + Math.floor((row % heads) * 2 / heads)) * 3 + i) * 4;
      const y = dot(
        Array.from(x.data.slice(row * 3, row * 3 + 3)),
        Array.from(W.data.slice(start)),
      );
      return y + W.data[start + 3];
    });

  const projected = linearAttention(project(q, 0, 4), project(k, 1, 2), v, {
    featureMap: "hedgehog",
  });
  assertClose("own maps", run(W), projected.out.data, { ratio: 1e-13 });

  const shared = tensor([3, 3], () => random.normal());
  const twice = (x: Float64Tensor) => [...x.data, ...x.data];
  const perHead = { data: twice(shared), shape: [2, 3, 3] };
  const perSide = { data: [...perHead.data, ...perHead.data], shape: [2, 2, 3, 3] };
  assertEquals(run(shared), run(perHead));
  assertEquals(run(shared), run(perSide));
  assertEquals(
    run(of([3, 3], 1, 0, 0, 0, 1, 0, 0, 0, 1)),
    linearAttention(q, k, v, { featureMap: "hedgehog" }).out.data,
  );
});

Deno.test("linearAttention() with exp features of one channel is softmax attention", () => {
  // exp(q) cancels in the quotient: what is left is exp(k), attention to keys with query 1
  const random = new Random(14);
  const [q, k, v] = [0, 1, 2].map(() => tensor([1, 9, 1, 1], () => random.normal()));
  const ones = map(q, () => 1);

  const { out } = linearAttention(q, k, v, { featureMap: "exp", eps: 0 });
  const full = linearAttentionFull(q, k, v, { featureMap: "exp", eps: 0 });

  const options = { scale: 1, causal: true };
  const expected = attention(ones, k, v, options).out.data;
  assertClose("causal", out.data, expected, { ratio: 1e-13 });
  const all = attention(ones, k, v, { scale: 1 }).out.data;
  assertClose("full", full.out.data, all, { ratio: 1e-13 });
});
