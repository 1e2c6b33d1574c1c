import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  mergeAttention,
  neighborhoodAttention,
  type NeighborhoodAttentionOptions,
  type NeighborhoodAxis,
  type ReferenceTensor,
  visibleKeys,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

const ln = Math.log;

/** How many elements a tensor of these sizes has. */
function product(sizes: readonly number[]): number {
  return sizes.reduce((volume, size) => volume * size, 1);
}

/**
 * Which tokens each token sees. Scores are 0 and value y is the y-th unit vector, so that the weight
 * of key y is element y of the output; all weights of a query must be equal and match its lse.
 */
function seen(lengths: number[], options: NeighborhoodAttentionOptions): number[][] {
  const tokens = product(lengths);
  const zeros = { data: new Float64Array(tokens), shape: [1, ...lengths, 1, 1] };
  const units = { data: new Float64Array(tokens ** 2), shape: [1, ...lengths, 1, tokens] };
  for (let y = 0; y < tokens; y++) units.data[y * tokens + y] = 1;

  const { out, lse } = neighborhoodAttention(zeros, zeros, units, options);

  return Array.from({ length: tokens }, (_, x) => {
    const weights = Array.from(out.data.subarray(x * tokens, (x + 1) * tokens));
    const keys = weights.flatMap((weight, y) => weight > 0 ? [y] : []);
    for (const y of keys) assertAlmostEquals(weights[y], 1 / keys.length, 1e-12);
    assertAlmostEquals(lse.data[x], ln(keys.length), 1e-12);
    return keys;
  });
}

/** first, first + 1, ... last. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

Deno.test("neighborhoodAttention() slides windows back inside at the edges", () => {
  assertEquals(seen([6], { windowSize: 3 }), [
    [0, 1, 2],
    [0, 1, 2],
    [1, 2, 3],
    [2, 3, 4],
    [3, 4, 5],
    [3, 4, 5],
  ]);
});

Deno.test("neighborhoodAttention() lets even windows lean left", () => {
  assertEquals(seen([4], { windowSize: 2 }), [[0, 1], [0, 1], [1, 2], [2, 3]]);
  assertEquals(seen([6], { windowSize: 4 }), [
    [0, 1, 2, 3],
    [0, 1, 2, 3],
    [0, 1, 2, 3],
    [1, 2, 3, 4],
    [2, 3, 4, 5],
    [2, 3, 4, 5],
  ]);
});

Deno.test("neighborhoodAttention() centres a stride group's window on its middle", () => {
  // an odd stride: the leaders are 1, 4 and 7; the last window slides back
  const [a, b, c] = [range(0, 2), range(3, 5), range(5, 7)];
  assertEquals(seen([8], { windowSize: 3, stride: 3 }), [a, a, a, b, b, b, c, c]);
  // an even stride: right of the middle, so 1, 3, 5 and 7
  const [d, e, f, g] = [range(0, 2), range(2, 4), range(4, 6), range(5, 7)];
  assertEquals(seen([8], { windowSize: 3, stride: 2 }), [d, d, e, e, f, f, g, g]);
  // both even: leaders 2 and 6, two keys before and one after
  const [h, i] = [range(0, 3), range(4, 7)];
  assertEquals(seen([8], { windowSize: 4, stride: 4 }), [h, h, h, h, i, i, i, i]);
});

Deno.test("neighborhoodAttention() ends causal windows with the query", () => {
  assertEquals(seen([5], { windowSize: 3, causal: true }), [
    [0],
    [0, 1],
    [0, 1, 2],
    [1, 2, 3],
    [2, 3, 4],
  ]);
});

Deno.test("neighborhoodAttention() starts the causal windows of a stride group together", () => {
  // the leaders are 2, 5 and, as the last group is short, 7
  assertEquals(seen([8], { windowSize: 4, stride: 3, causal: true }), [
    [0],
    [0, 1],
    [0, 1, 2],
    [2, 3],
    [2, 3, 4],
    [2, 3, 4, 5],
    [4, 5, 6],
    [4, 5, 6, 7],
  ]);
});

Deno.test("neighborhoodAttention() keeps dilation groups of unequal length apart", () => {
  // the groups are 0 3 6, 1 4 and 2 5
  assertEquals(seen([7], { windowSize: 2, dilation: 3 }), [
    [0, 3],
    [1, 4],
    [2, 5],
    [0, 3],
    [1, 4],
    [2, 5],
    [3, 6],
  ]);
  assertEquals(seen([7], { windowSize: 2, dilation: 3, causal: true }), [
    [0],
    [1],
    [2],
    [0, 3],
    [1, 4],
    [2, 5],
    [3, 6],
  ]);
});

Deno.test("neighborhoodAttention() counts strides in places of the dilation group", () => {
  // the groups are 0 2 4 6 8 and 1 3 5 7; their stride groups lead with places 1, 3 and 5
  const [a, b, c] = [[0, 2, 4], [4, 6, 8], [4, 6, 8]];
  const [d, e] = [[1, 3, 5], [3, 5, 7]];
  assertEquals(
    seen([9], { windowSize: 3, stride: 2, dilation: 2 }),
    [a, d, a, d, b, e, b, e, c],
  );
});

Deno.test("neighborhoodAttention() sees everything with a window as long as the axis", () => {
  for (const stride of [1, 2, 5]) {
    const all = range(0, 4);
    assertEquals(seen([5], { windowSize: 5, stride }), [all, all, all, all, all]);
    const causal = all.map((x) => range(0, x));
    assertEquals(seen([5], { windowSize: 5, stride, causal: true }), causal);
  }
});

Deno.test("neighborhoodAttention() sees the product of the axes in 2-D", () => {
  // rows: window 2 of 3, columns: window 3 of 4
  const windows = seen([3, 4], { windowSize: [2, 3] });

  assertEquals(windows[0], [0, 1, 2, 4, 5, 6]); // (0, 0): rows 0-1, columns 0-2
  assertEquals(windows[7], [1, 2, 3, 5, 6, 7]); // (1, 3): rows 0-1, columns 1-3
  assertEquals(windows[10], [5, 6, 7, 9, 10, 11]); // (2, 2): rows 1-2, columns 1-3
});

Deno.test("neighborhoodAttention() takes each option per axis", () => {
  const options = { windowSize: [2, 3], stride: [1, 3], dilation: [2, 1], causal: [true, false] };
  const windows = seen([4, 6], options);

  assertEquals(windows[2], [0, 1, 2]); // (0, 2): row 0, first block
  assertEquals(windows[9], [9, 10, 11]); // (1, 3): row 1, second block
  assertEquals(windows[12], [0, 1, 2, 12, 13, 14]); // (2, 0): rows 0 and 2, first block
  assertEquals(windows[23], [9, 10, 11, 21, 22, 23]); // (3, 5): rows 1 and 3, second block
});

Deno.test("neighborhoodAttention() takes one value for all axes", () => {
  const one = { windowSize: 2, stride: 2, dilation: 2, causal: true };
  const each = {
    windowSize: [2, 2],
    stride: [2, 2],
    dilation: [2, 2],
    causal: [true, true],
  };

  assertEquals(seen([5, 6], one), seen([5, 6], each));
});

Deno.test("neighborhoodAttention() sees the product of the axes in 3-D", () => {
  const windows = seen([2, 3, 4], { windowSize: [2, 2, 2], causal: [true, false, false] });

  // (0, 2, 3): plane 0, rows 1-2, columns 2-3
  assertEquals(windows[11], [6, 7, 10, 11]);
  // (1, 0, 1): planes 0-1, rows 0-1, columns 0-1
  assertEquals(windows[13], [0, 1, 4, 5, 12, 13, 16, 17]);
});

Deno.test("neighborhoodAttention() shows the additional keys to every query", () => {
  const shape = [1, 3, 1, 1];
  const zeros = { data: [0, 0, 0], shape };
  const v = { data: [6, 12, 30], shape };
  const additionalKeys = { data: [0, 0], shape: [1, 2, 1, 1] };
  const additionalValues = { data: [1, 2], shape: [1, 2, 1, 1] };
  const options = { windowSize: 2, causal: true, additionalKeys, additionalValues };

  const { out, lse } = neighborhoodAttention(zeros, zeros, v, options);

  assertClose("out", out.data, [9 / 3, 21 / 4, 45 / 4], { ratio: 1e-14 });
  assertClose("lse", lse.data, [ln(3), ln(4), ln(4)], { ratio: 1e-14 });
});

Deno.test("neighborhoodAttention() scales by D ** -0.5 unless told otherwise", () => {
  // q · k1 = 2 ln 3: weights 1 : 3 at the default scale of 1/2, 1 : 9 at 1
  const q = { data: [1, 1, 1, 1, 1, 1, 1, 1], shape: [1, 2, 1, 4] };
  const k = { data: [0, 0, 0, 0, 2 * ln(3), 0, 0, 0], shape: [1, 2, 1, 4] };
  const v = { data: [0, 20], shape: [1, 2, 1, 1] };
  const means = (options: { scale?: number }) =>
    neighborhoodAttention(q, k, v, { windowSize: 2, ...options }).out.data;

  assertClose("out", means({}), [15, 15], { ratio: 1e-14 });
  assertClose("out", means({ scale: 1 }), [18, 18], { ratio: 1e-14 });
  assertClose("out", means({ scale: 0 }), [10, 10], { ratio: 1e-14 });
});

Deno.test("neighborhoodAttention() keeps huge scores finite", () => {
  const q = { data: [1, 1, 1], shape: [1, 3, 1, 1] };
  const k = { data: [10000, 9999, -10000], shape: [1, 3, 1, 1] };
  const v = { data: [1, 0, 0], shape: [1, 3, 1, 1] };

  const { out, lse } = neighborhoodAttention(q, k, v, { windowSize: 2 });

  const p = 1 / (1 + Math.exp(-1));
  assertClose("out", out.data, [p, p, 0], { ratio: 1e-12 });
  assertClose("lse", lse.data, [10000 - ln(p), 10000 - ln(p), 9999], { ratio: 1e-12 });
});

// The second formulation: the tokens of each dilation group as a sequence of their own, with a mask.

/** A random problem. */
interface Problem {
  axes: NeighborhoodAxis[];
  q: ReferenceTensor;
  k: ReferenceTensor;
  v: ReferenceTensor;
  options: NeighborhoodAttentionOptions;
}

/** Normal numbers. */
function normal(random: Random, shape: number[]): ReferenceTensor {
  return { data: Float64Array.from({ length: product(shape) }, () => random.normal()), shape };
}

/** An axis that holds the window; the more axes there are, the shorter. */
function randomAxis(random: Random, rank: number): NeighborhoodAxis {
  const windowSize = random.integer(2, [8, 4, 3][rank - 1]);
  const dilation = random.integer(1, [4, 3, 2][rank - 1]);
  return {
    length: windowSize * dilation + random.integer(0, [9, 4, 2][rank - 1]),
    windowSize,
    stride: random.integer(1, windowSize),
    dilation,
    causal: random.pick([true, false]),
  };
}

function randomProblem(random: Random, rank: number): Problem {
  const axes = Array.from({ length: rank }, () => randomAxis(random, rank));
  const [batch, kvHeads, group] = [1, 2, 3].map((last) => random.integer(1, last));
  const [headDim, valueDim, extra] = [4, 5, 6].map((last) => random.integer(1, last));
  const layout = [batch, ...axes.map(({ length }) => length)];
  const options: NeighborhoodAttentionOptions = {
    windowSize: axes.map(({ windowSize }) => windowSize),
    stride: axes.map(({ stride }) => stride),
    dilation: axes.map(({ dilation }) => dilation),
    causal: axes.map(({ causal }) => causal),
  };
  if (random.pick([true, false])) options.scale = random.normal();
  if (random.pick([true, false])) {
    options.additionalKeys = normal(random, [batch, extra, kvHeads, headDim]);
    options.additionalValues = normal(random, [batch, extra, kvHeads, valueDim]);
  }
  return {
    axes,
    q: normal(random, [...layout, kvHeads * group, headDim]),
    k: normal(random, [...layout, kvHeads, headDim]),
    v: normal(random, [...layout, kvHeads, valueDim]),
    options,
  };
}

/** Whether place i of a dilation group sees place j: the rule in words, without its formulas. */
function sees(axis: NeighborhoodAxis, places: number, i: number, j: number): boolean {
  const { windowSize, stride, causal } = axis;
  const members = range(0, places - 1 + stride).filter((place) =>
    Math.floor(place / stride) === Math.floor(i / stride)
  ).slice(0, stride);
  if (causal) {
    const leader = Math.max(...members.filter((place) => place < places));
    return j <= i && j > leader - windowSize;
  }
  // of all windows inside the group, the one whose middle is nearest to the middle member
  const leader = members[Math.floor(stride / 2)];
  let best = 0;
  for (let start = 0; start + windowSize <= places; start++) {
    const distance = (from: number) => Math.abs(from + Math.floor(windowSize / 2) - leader);
    if (distance(start) < distance(best)) best = start;
  }
  return j >= best && j < best + windowSize;
}

/** Every list that has one element of each list, the last varying fastest. */
function combinations(lists: number[][]): number[][] {
  return lists.reduce<number[][]>(
    (heads, list) => heads.flatMap((head) => list.map((element) => [...head, element])),
    [[]],
  );
}

/** The rows of some tokens of every batch, `[B, tokens, H, D]`; `write` puts such rows back. */
function rows(x: ReferenceTensor, batch: number, tokens: number[], write?: ArrayLike<number>) {
  const data = x.data as Float64Array;
  const perBatch = data.length / batch;
  const [heads, dim] = x.shape.slice(-2);
  const width = heads * dim;
  const picked = new Float64Array(batch * tokens.length * width);
  for (let b = 0; b < batch; b++) {
    for (const [index, token] of tokens.entries()) {
      for (let e = 0; e < width; e++) {
        const [from, to] = [
          b * perBatch + token * width + e,
          (b * tokens.length + index) * width + e,
        ];
        if (write) data[from] = write[to];
        else picked[to] = data[from];
      }
    }
  }
  return { data: picked, shape: [batch, tokens.length, heads, dim] };
}

/** Neighborhood attention by attention(), group by group. */
function byGroups({ axes, q, k, v, options }: Problem) {
  const lengths = axes.map(({ length }) => length);
  const [batch, tokens, heads] = [q.shape[0], product(lengths), q.shape[q.shape.length - 2]];
  const scale = options.scale === undefined ? {} : { scale: options.scale };
  const shape = [batch, tokens, heads, v.shape[v.shape.length - 1]];
  const out = { data: new Float64Array(product(shape)).fill(NaN), shape };
  const lse = { data: new Float64Array(batch * tokens * heads).fill(NaN), shape: [...shape] };
  lse.shape[3] = 1;

  for (const residues of combinations(axes.map(({ dilation }) => range(0, dilation - 1)))) {
    const counts = axes.map(({ length, dilation }, axis) =>
      range(0, length - 1).filter((x) => x % dilation === residues[axis]).length
    );
    const places = combinations(counts.map((count) => range(0, count - 1)));
    const group = places.map((place) =>
      place.reduce((token, i, a) => token * lengths[a] + i * axes[a].dilation + residues[a], 0)
    );
    const mask = places.flatMap((x) =>
      places.map((y) => axes.every((axis, a) => sees(axis, counts[a], x[a], y[a])) ? 0 : -Infinity)
    );
    const bias = { data: mask, shape: [1, 1, group.length, group.length] };
    const [qs, ks, vs] = [q, k, v].map((x) => rows(x, batch, group));
    const part = attention(qs, ks, vs, { ...scale, bias });
    rows(out, batch, group, part.out.data);
    rows(lse, batch, group, part.lse.data);
  }
  const whole = { out, lse: { data: lse.data, shape: [batch, tokens, heads] } };
  const { additionalKeys, additionalValues } = options;
  if (!additionalKeys || !additionalValues) return whole;
  const flat = { data: q.data, shape: [batch, tokens, heads, q.shape[q.shape.length - 1]] };
  return mergeAttention([whole, attention(flat, additionalKeys, additionalValues, scale)]);
}

for (const rank of [1, 2, 3]) {
  Deno.test(`neighborhoodAttention() matches masked attention on random ${rank}-D problems`, () => {
    const random = new Random(rank);
    for (let count = 0; count < 14; count++) {
      const problem = randomProblem(random, rank);
      const { q, k, v, options } = problem;
      const name = JSON.stringify(problem.axes);

      const actual = neighborhoodAttention(q, k, v, options);
      const expected = byGroups(problem);

      const valueDim = v.shape[v.shape.length - 1];
      assertEquals(actual.out.shape, [...q.shape.slice(0, -1), valueDim]);
      assertEquals(actual.lse.shape, q.shape.slice(0, -1));
      assertClose(`out of ${name}`, actual.out.data, expected.out.data, { ratio: 1e-13 });
      assertClose(`lse of ${name}`, actual.lse.data, expected.lse.data, { ratio: 1e-13 });
    }
  });
}

Deno.test("visibleKeys() gives as many keys as the window unless causal", () => {
  const random = new Random(4);
  for (let count = 0; count < 100; count++) {
    const axis = randomAxis(random, 1);
    for (let x = 0; x < axis.length; x++) {
      const keys = visibleKeys(axis, x);
      assertEquals(keys.filter((y) => y < 0 || y >= axis.length), []);
      assertEquals(keys.includes(x), true);
      if (axis.causal) assertEquals([keys.length <= axis.windowSize, keys.at(-1)], [true, x]);
      else assertEquals(keys.length, axis.windowSize);
    }
  }
});

/** The queries from <= i < to that see key place j of n: the reverse of the window's rule. */
function queriesOf(j: number, n: number, k: number, s: number, causal: boolean): number[] {
  if (causal) return [j, Math.min(n, s * (Math.floor((j + k) / s) + (j + k >= n ? 1 : 0)))];
  const half = Math.floor(s / 2);
  const from = j < k ? 0 : Math.floor((j - Math.floor((k - 1) / 2) + s - half - 1) / s) * s;
  const to = j >= n - k ? n : Math.floor((j + Math.floor(k / 2) + s - half) / s) * s;
  return [from, to];
}

Deno.test("visibleKeys() is reversed by the closed form of the queries that see a key", () => {
  for (let n = 2; n <= 12; n++) {
    for (const k of range(2, n)) {
      for (const stride of range(1, k)) {
        for (const causal of [false, true]) {
          const axis = { length: n, windowSize: k, stride, dilation: 1, causal };
          const keys = range(0, n - 1).map((i) => visibleKeys(axis, i));
          for (let j = 0; j < n; j++) {
            const [from, to] = queriesOf(j, n, k, stride, causal);
            const expected = range(0, n - 1).filter((i) => keys[i].includes(j));
            assertEquals(range(from, to - 1), expected, JSON.stringify({ ...axis, j }));
          }
        }
      }
    }
  }
});
