import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  attention,
  type Float64SoftmaxScanState,
  logCumsumExp,
  type ReferenceTensor,
  scan,
  softmaxScan,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";

/** A tensor of given numbers. */
function of(shape: number[], ...data: number[]): ReferenceTensor {
  return { data, shape };
}

/** A tensor of normal random numbers. */
function normal(random: Random, shape: number[]): ReferenceTensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { data: Float64Array.from({ length: size }, () => random.normal()), shape };
}

/** The tokens from `start` to `end` of a tensor `[1, T, …]`. */
function tokens({ data, shape: [, length, ...axes] }: ReferenceTensor, start: number, end: number) {
  const size = data.length / length;
  const part = Array.from(data).slice(start * size, end * size);
  return { data: part, shape: [1, end - start, ...axes] };
}

Deno.test("scan() runs each channel with initial and final values", () => {
  const a = of([1, 3, 2], 0.5, 1, 0.5, -1, 0, 2);
  const b = of([1, 3, 2], 1, 1, 2, 2, 3, 3);
  const options = { initialState: of([1, 2], 10, 20), finalState: true };

  const { out, finalState } = scan(a, b, options);

  assertEquals(out, { data: Float64Array.of(6, 21, 5, -19, 3, -35), shape: [1, 3, 2] });
  assertEquals(finalState, { data: Float64Array.of(3, -35), shape: [1, 2] });
});

Deno.test("scan() runs sequences apart, from the end with reverse", () => {
  const a = of([1, 4], 2, 2, 3, 5);
  const b = of([1, 4], 1, 10, 100, 1000);
  const cuSeqlens = of([4], 0, 1, 1, 4);

  const forward = scan(a, b, { cuSeqlens, finalState: true, initialState: of([3], 1, 7, 0) });
  const backward = scan(a, b, { cuSeqlens, finalState: true, reverse: true });

  assertEquals(forward.out.data, Float64Array.of(3, 10, 130, 1650));
  assertEquals(forward.finalState?.data, Float64Array.of(3, 7, 1650));
  assertEquals(backward.out.data, Float64Array.of(1, 6210, 3100, 1000));
  assertEquals(backward.finalState?.data, Float64Array.of(1, 0, 6210));
});

Deno.test("scan() matches the closed form on batches", () => {
  const random = new Random(1);
  const [a, b] = [0, 1].map(() => normal(random, [2, 9, 3]));
  const { out } = scan(a, b);

  for (const [index, h] of out.data.entries()) {
    const [batch, t, c] = [Math.floor(index / 27), Math.floor(index / 3) % 9, index % 3];
    let expected = 0; // Σ_s b_s Π_{s<r<=t} a_r
    for (let s = 0; s <= t; s++) {
      let term = b.data[batch * 27 + s * 3 + c];
      for (let r = s + 1; r <= t; r++) term *= a.data[batch * 27 + r * 3 + c];
      expected += term;
    }
    assertAlmostEquals(h, expected, 1e-12);
  }
});

Deno.test("logCumsumExp() is the logarithm of a running sum", () => {
  const x = of([1, 4], Math.log(1), Math.log(2), -Infinity, Math.log(4));
  const initialState = of([1], Math.log(9));

  const { out } = logCumsumExp(x);
  const resumed = logCumsumExp(x, { initialState, finalState: true });
  const reversed = logCumsumExp(x, { reverse: true });

  [1, 3, 3, 7].forEach((sum, t) => assertAlmostEquals(out.data[t], Math.log(sum)));
  [10, 12, 12, 16].forEach((sum, t) => assertAlmostEquals(resumed.out.data[t], Math.log(sum)));
  assertEquals(resumed.finalState, { data: resumed.out.data.slice(3), shape: [1] });
  [7, 6, 4, 4].forEach((sum, t) => assertAlmostEquals(reversed.out.data[t], Math.log(sum)));
});

Deno.test("logCumsumExp() survives huge exponents and sums of nothing", () => {
  const { out } = logCumsumExp(of([1, 5], -Infinity, -1e300, 1e4, 1e4, -1e30));

  assertEquals(Array.from(out.data.subarray(0, 3)), [-Infinity, -1e300, 1e4]);
  assertAlmostEquals(out.data[4], 1e4 + Math.LN2);
  const empty = logCumsumExp(of([1, 0, 2]), { finalState: true });
  assertEquals(empty.finalState, { data: Float64Array.of(-Infinity, -Infinity), shape: [1, 2] });
});

Deno.test("softmaxScan() is causal attention of one query", () => {
  const random = new Random(2);
  const [batch, length, heads] = [2, 11, 3];
  const s = normal(random, [batch, length, heads]);
  const v = normal(random, [batch, length, heads, 5]);
  const q = { data: new Float64Array(s.data.length).fill(1), shape: [...s.shape, 1] };
  const k = { data: s.data, shape: q.shape };

  const { out } = softmaxScan(s, v);
  const expected = attention(q, k, v, { causal: true });

  assertEquals(out.shape, expected.out.shape);
  assertClose("out", out.data, expected.out.data, { ratio: 1e-13 });
});

Deno.test("softmaxScan() resumes, and keeps sequences apart", () => {
  const random = new Random(3);
  const s = normal(random, [1, 9, 2]);
  const v = normal(random, [1, 9, 2, 3]);
  const whole = softmaxScan(s, v, { finalState: true });
  const cuSeqlens = of([4], 0, 4, 4, 9);
  const packed = softmaxScan(s, v, { cuSeqlens, finalState: true });

  let initialState: Float64SoftmaxScanState | undefined;
  const pieces: number[] = [];
  for (const [start, end] of [[0, 4], [4, 9]]) {
    const [sPart, vPart] = [tokens(s, start, end), tokens(v, start, end)];
    const alone = softmaxScan(sPart, vPart);
    assertEquals(packed.out.data.slice(start * 6, end * 6), alone.out.data);
    const options = { finalState: true, ...(initialState ? { initialState } : {}) };
    const { out, finalState } = softmaxScan(sPart, vPart, options);
    initialState = finalState;
    pieces.push(...out.data);
  }

  assertClose("out", pieces, whole.out.data, { ratio: 1e-14 });
  assertEquals(initialState, whole.finalState);
  assertEquals(packed.finalState?.m.data.slice(2, 4), Float64Array.of(-Infinity, -Infinity));
  assertEquals(packed.finalState?.u.data.slice(2, 4), Float64Array.of(0, 0));
});

Deno.test("softmaxScan() keeps huge scores and hidden tokens finite", () => {
  const s = of([1, 4, 1], -Infinity, -1e4, 1e4, -Infinity);
  const v = of([1, 4, 1, 1], 1, 2, 3, 4);

  const { out, finalState } = softmaxScan(s, v, { finalState: true });
  const reversed = softmaxScan(s, v, { reverse: true });

  assertEquals(out.data, Float64Array.of(0, 2, 3, 3));
  const [m, u, w] = [[1e4], [1], [3]].map((data) => Float64Array.from(data));
  assertEquals([finalState?.m.data, finalState?.u.data, finalState?.w.data], [m, u, w]);
  assertEquals(reversed.out.data, Float64Array.of(3, 3, 3, 0));
});
