import { assertAlmostEquals, assertEquals } from "@std/assert";
import { attention, type ReferenceTensor } from "../../reference/mod.ts";

// Most cases have one batch, one head and dims of 1, and a scale of 1: then s_ij = q_i k_j.

/** A sequence of one batch, one head and dim 1. */
function sequence(...data: number[]): ReferenceTensor {
  return { data, shape: [1, data.length, 1, 1] };
}

/** Compares element by element, infinities included. */
function assertElements(actual: ArrayLike<number>, expected: number[]): void {
  assertEquals(actual.length, expected.length);
  for (const [index, value] of expected.entries()) {
    if (Number.isFinite(value)) assertAlmostEquals(actual[index], value, 1e-12);
    else assertEquals(actual[index], value);
  }
}

const ln = Math.log;
// scores of 0: out is the plain mean of the visible values
const q2 = sequence(0, 0);
const q3 = sequence(0, 0, 0);
const k3 = sequence(0, 0, 0);
const v3 = sequence(6, 12, 30);

Deno.test("attention() returns the value of a single key", () => {
  const q = { data: [1, 2], shape: [1, 1, 1, 2] };
  const k = { data: [3, 4], shape: [1, 1, 1, 2] };
  const v = { data: [5, 6, 7], shape: [1, 1, 1, 3] };

  const { out, lse } = attention(q, k, v);

  assertEquals(out, { data: Float64Array.of(5, 6, 7), shape: [1, 1, 1, 3] });
  assertEquals(lse.shape, [1, 1, 1]);
  assertElements(lse.data, [11 / Math.sqrt(2)]); // (1 * 3 + 2 * 4) / sqrt(D)
});

Deno.test("attention() returns the mean of the values for equal keys", () => {
  const { out, lse } = attention(sequence(5), sequence(2, 2, 2), v3);

  assertElements(out.data, [16]);
  assertElements(lse.data, [10 + ln(3)]);
});

Deno.test("attention() weighs values by the exponential of their score", () => {
  // exp(0) : exp(ln 3) = 1 : 3
  const { out, lse } = attention(sequence(1), sequence(0, ln(3)), sequence(4, 8));

  assertElements(out.data, [7]);
  assertElements(lse.data, [ln(4)]);
});

Deno.test("attention() scales by D ** -0.5 unless told otherwise", () => {
  // q · k1 = 2 ln 3: weights 1 : 3 at the default scale of 1/2, 1 : 9 at 1
  const q = { data: [1, 1, 1, 1], shape: [1, 1, 1, 4] };
  const k = { data: [0, 0, 0, 0, 2 * ln(3), 0, 0, 0], shape: [1, 2, 1, 4] };
  const v = sequence(0, 20);

  assertElements(attention(q, k, v).out.data, [15]);
  assertElements(attention(q, k, v, { scale: 1 }).out.data, [18]);
  assertElements(attention(q, k, v, { scale: 0 }).out.data, [10]);
});

Deno.test("attention() keeps huge scores finite", () => {
  const { out, lse } = attention(sequence(1), sequence(10000, 9999, -10000), sequence(1, 0, 0));

  assertElements(out.data, [1 / (1 + Math.exp(-1))]);
  assertElements(lse.data, [10000 + ln(1 + Math.exp(-1))]);
});

Deno.test("attention() hides later keys when causal", () => {
  const { out, lse } = attention(q3, k3, v3, { causal: true });

  assertElements(out.data, [6, 9, 16]);
  assertElements(lse.data, [0, ln(2), ln(3)]);
});

Deno.test("attention() aligns causal with the last key", () => {
  // T = 2, S = 3: query i sees j <= i + 1
  assertElements(attention(q2, k3, v3, { causal: true }).out.data, [9, 16]);
  // T = 3, S = 2: query i sees j <= i - 1, the first none
  const { out, lse } = attention(q3, sequence(0, 0), sequence(6, 12), { causal: true });
  assertElements(out.data, [0, 6, 9]);
  assertElements(lse.data, [-Infinity, 0, ln(2)]);
});

Deno.test("attention() aligns top-left causal with the first key", () => {
  const causal = "top-left";

  assertElements(attention(q2, k3, v3, { causal }).out.data, [6, 9]);
  assertElements(attention(q3, sequence(0, 0), sequence(6, 12), { causal }).out.data, [6, 9, 9]);
});

Deno.test("attention() sees a window around the diagonal", () => {
  const means = (left: number, right: number) =>
    attention(q3, k3, v3, { window: { left, right } }).out.data;

  assertElements(means(0, 0), [6, 12, 30]);
  assertElements(means(1, 0), [6, 9, 21]);
  assertElements(means(0, 1), [9, 21, 30]);
  assertElements(means(2, 2), [16, 16, 16]);
});

Deno.test("attention() leaves a missing side of the window unbounded", () => {
  assertElements(attention(q3, k3, v3, { window: { left: 0 } }).out.data, [16, 21, 30]);
  assertElements(attention(q3, k3, v3, { window: { right: 0 } }).out.data, [6, 9, 16]);
  assertElements(attention(q3, k3, v3, { window: {} }).out.data, [16, 16, 16]);
});

Deno.test("attention() places the window on the diagonal of the alignment", () => {
  const window = { left: 0, right: 0 };

  assertElements(attention(q2, k3, v3, { window }).out.data, [12, 30]);
  assertElements(attention(q2, k3, v3, { window, causal: true }).out.data, [12, 30]);
  assertElements(attention(q2, k3, v3, { window, causal: "top-left" }).out.data, [6, 12]);
});

Deno.test("attention() combines window and causal", () => {
  const window = { left: 1, right: 5 };

  assertElements(attention(q3, k3, v3, { window, causal: true }).out.data, [6, 9, 21]);
});

Deno.test("attention() returns zeros for rows whose window misses all keys", () => {
  // T = 3, S = 1: the diagonal is i - 2
  const options = { window: { left: 0, right: 1 } };
  const { out, lse } = attention(q3, sequence(0), sequence(6), options);

  assertElements(out.data, [0, 6, 6]);
  assertElements(lse.data, [-Infinity, 0, 0]);
});

Deno.test("attention() caps the scores before it adds the bias", () => {
  // tanh(ln(3) / 2) = 1/2: a score of ln 3 becomes 2 * 1/2 = 1
  const [q, k] = [sequence(1), sequence(0, ln(3))];
  const bias = { data: [0, -1], shape: [1, 1, 1, 2] };

  const capped = attention(q, k, sequence(4, 8), { softcap: 2 });
  const biased = attention(q, k, sequence(4, 8), { softcap: 2, bias });

  assertElements(capped.lse.data, [ln(1 + Math.E)]);
  assertElements(biased.out.data, [6]);
});

Deno.test("attention() caps the scaled score", () => {
  const options = { scale: ln(3) / 10, softcap: 2 };

  const { lse } = attention(sequence(1), sequence(0, 10), sequence(4, 8), options);

  assertElements(lse.data, [ln(1 + Math.E)]);
});

Deno.test("attention() lets each head's sink join the denominator only", () => {
  const shape = [1, 1, 2, 1];
  const zero = { data: [0, 0], shape };
  const v = { data: [4, 8], shape };
  const sinks = { data: [0, ln(3)], shape: [2] };

  const { out, lse } = attention(zero, zero, v, { sinks });

  assertElements(out.data, [4 / 2, 8 / 4]);
  assertElements(lse.data, [ln(2), ln(4)]);
});

Deno.test("attention() returns the sink as lse of a row that sees no key", () => {
  const sinks = { data: [0.5], shape: [1] };

  const { out, lse } = attention(q2, sequence(0), sequence(6), { causal: true, sinks });

  assertElements(out.data, [0, 6 / (1 + Math.exp(0.5))]);
  assertElements(lse.data, [0.5, ln(1 + Math.exp(0.5))]);
});

Deno.test("attention() broadcasts the bias over batch, heads and queries", () => {
  // B2 T2 H2 S2: value 0 of key 0 and 1 of key 1, so out is the weight of key 1
  const zero = { data: new Float32Array(8), shape: [2, 2, 2, 1] };
  const v = { data: [0, 0, 1, 1, 0, 0, 1, 1], shape: [2, 2, 2, 1] };
  const weights = (shape: number[], rows: number[]) => {
    const data = rows.flatMap((row) => [0, ln(row)]); // row : 1 in favour of key 1
    return attention(zero, zero, v, { bias: { data, shape } }).out.data; // in order b, i, h
  };
  const [a, b, c, d] = [1 / 2, 2 / 3, 3 / 4, 4 / 5]; // for rows of 1, 2, 3, 4

  assertElements(weights([1, 1, 1, 2], [2]), [b, b, b, b, b, b, b, b]);
  assertElements(weights([2, 1, 1, 2], [1, 2]), [a, a, a, a, b, b, b, b]);
  assertElements(weights([1, 2, 1, 2], [1, 2]), [a, b, a, b, a, b, a, b]);
  assertElements(weights([1, 1, 2, 2], [1, 2]), [a, a, b, b, a, a, b, b]);
  assertElements(weights([1, 2, 2, 2], [1, 2, 3, 4]), [a, c, b, d, a, c, b, d]);
  assertElements(weights([2, 2, 2, 2], [1, 2, 3, 4, 4, 3, 2, 1]), [a, c, b, d, d, b, c, a]);
});

Deno.test("attention() does not see keys whose bias is -Infinity", () => {
  const bias = { data: [0, -Infinity, 0, -Infinity, -Infinity, -Infinity], shape: [1, 1, 2, 3] };

  const { out, lse } = attention(q2, k3, v3, { bias });

  assertElements(out.data, [18, 0]);
  assertElements(lse.data, [ln(2), -Infinity]);
});

Deno.test("attention() does not see keys whose bias is -Infinity, whatever a hook makes of them", () => {
  const bias = { data: [0, -Infinity, 0, -Infinity, -Infinity, -Infinity], shape: [1, 1, 2, 3] };

  const { out, lse } = attention(q2, k3, v3, { bias, score: () => 0 });

  assertElements(out.data, [18, 0]);
  assertElements(lse.data, [ln(2), -Infinity]);
});

Deno.test("attention() reads kv head floor(h / (Hq / Hkv))", () => {
  const q = { data: [0, 0, 0, 0], shape: [1, 1, 4, 1] };
  const k = { data: [0, 0, 0, 0], shape: [1, 2, 2, 1] };
  const v = { data: [1, 10, 3, 30], shape: [1, 2, 2, 1] };

  assertElements(attention(q, k, v).out.data, [2, 2, 20, 20]);
});

Deno.test("attention() keeps batches apart", () => {
  const q = { data: [1, 1], shape: [2, 1, 1, 1] };
  const k = { data: [0, 0, 0, ln(3)], shape: [2, 2, 1, 1] };
  const v = { data: [4, 8, 40, 80], shape: [2, 2, 1, 1] };

  assertElements(attention(q, k, v).out.data, [6, 70]);
});

Deno.test("attention() returns zeros when there are no keys", () => {
  const none = { data: [], shape: [1, 0, 1, 2] };

  const { out, lse } = attention({ data: [1, 2, 3, 4], shape: [1, 2, 1, 2] }, none, none);

  assertEquals(out, { data: new Float64Array(4), shape: [1, 2, 1, 2] });
  assertElements(lse.data, [-Infinity, -Infinity]);
});

Deno.test("attention() returns empty tensors when there are no queries", () => {
  const { out, lse } = attention({ data: [], shape: [1, 0, 1, 1] }, k3, v3, { causal: true });

  assertEquals(out, { data: new Float64Array(), shape: [1, 0, 1, 1] });
  assertEquals(lse, { data: new Float64Array(), shape: [1, 0, 1] });
});
