import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../cli/random.ts";
import {
  type Float64Tensor,
  recurrence,
  type RecurrenceOptions,
  type ReferenceTensor,
} from "../../reference/mod.ts";
import { assertClose } from "../assert_close.ts";
import { chunkedRecurrence } from "./recurrence_chunked.ts";

/** A tensor whose elements come one by one. */
function tensor(shape: number[], next: () => number): Float64Tensor {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { data: Float64Array.from({ length: size }, next), shape };
}

/** A tensor of given numbers. */
function of(shape: number[], ...data: number[]): ReferenceTensor {
  return { data, shape };
}

const GATE_SHAPES = ["none", "head", "token", "channel"] as const;
const GATES = ["gentle", "strong", "mixed", "resets"] as const;
const EXTRAS = ["none", "gv", "u", "delta", "erase key", "general", "general gv"] as const;

/** One gate. */
function gate(random: Random, kind: typeof GATES[number]): number {
  const open = Math.log(1 / (1 + Math.exp(-random.normal())));
  if (kind === "gentle") return open / 16;
  if (kind === "strong") return -5 - random.next();
  if (kind === "mixed") return random.pick([0, -20]);
  return random.pick([open, open, open, -1e4, -1e30, -Infinity]);
}

/** A random problem with the given gates and extras. */
function randomProblem(
  random: Random,
  shape: typeof GATE_SHAPES[number],
  extra: typeof EXTRAS[number],
) {
  const [HQ, HK, HV] = random.pick([[1, 1, 1], [2, 2, 2], [4, 2, 2], [2, 2, 4], [1, 1, 3], [
    4,
    1,
    2,
  ]]);
  const [K, V] = [random.integer(1, 7), random.integer(1, 7)];
  const packed = random.next() < 0.4;
  const pieces = [0, 1, random.integer(0, 20), random.integer(1, 40), 0];
  const T = packed ? pieces.reduce((a, b) => a + b) : random.integer(1, 75);
  const B = packed ? 1 : random.integer(1, 2);
  const N = packed ? pieces.length : B;
  const normal = () => random.normal();
  const normalize = random.next() < 0.4;
  const positive = normalize ? () => random.next() + 0.1 : normal;
  const small = () => random.normal() / K;

  const options: RecurrenceOptions = { finalState: true, reverse: random.next() < 0.3, normalize };
  if (random.next() < 0.5) options.scale = 0.7;
  if (packed) {
    let end = 0;
    options.cuSeqlens = { data: [0, ...pieces.map((piece) => end += piece)], shape: [N + 1] };
  }
  const kind = random.pick(GATES);
  const nextGate = () => gate(random, kind);
  if (shape === "head") options.g = tensor([HV], nextGate);
  if (shape === "token") options.g = tensor([B, T, HV], nextGate);
  if (shape === "channel") options.g = tensor([B, T, HV, K], nextGate);
  if (extra.endsWith("gv")) options.gv = tensor([B, T, HV, V], nextGate);
  if (extra === "u") options.u = tensor([random.pick([HK, HV]), K], positive);
  if (extra === "delta") options.beta = tensor([B, T, HV], () => random.next());
  if (extra === "erase key") {
    options.p = tensor([B, T, HK, K], small);
    if (random.next() < 0.5) options.beta = tensor([B, T, HV], () => random.next());
  }
  if (extra.startsWith("general")) {
    options.a = tensor([B, T, HK, K], small);
    options.b = tensor([B, T, HK, K], small);
    options.eps = 1000; // z may cross 0
  }
  if (options.beta || options.p) options.eps = 1000;
  if (random.next() < 0.6) {
    const s = tensor([N, HV, K, V], normal);
    options.initialState = normalize ? { s, z: tensor([N, HV, K], positive) } : s;
  }
  const q = tensor([B, T, HQ, K], positive);
  const erase = options.beta || options.p;
  const k = tensor([B, T, HK, K], () => erase ? positive() / K : positive());
  return { q, k, v: tensor([B, T, HV, V], normal), options, name: `${shape} ${extra} ${kind}` };
}

for (const shape of GATE_SHAPES) {
  Deno.test(`recurrence() matches its chunk form on random problems, gates: ${shape}`, () => {
    const random = new Random(GATE_SHAPES.indexOf(shape));
    for (const extra of EXTRAS) {
      for (let count = 0; count < 5; count++) {
        const { q, k, v, options, name } = randomProblem(random, shape, extra);

        const { out, finalState } = recurrence(q, k, v, options);

        const HO = Math.max(q.shape[2], v.shape[2]);
        assertEquals(out.shape, [q.shape[0], q.shape[1], HO, v.shape[3]]);
        const state = finalState && "s" in finalState ? finalState.s : finalState;
        for (const chunkSize of [4, 16, 64]) {
          const expected = chunkedRecurrence(q, k, v, options, chunkSize);
          const what = `${name} in chunks of ${chunkSize}`;
          assertClose(`out of ${what}`, out.data, expected.out, { ratio: 1e-11 });
          assertClose(`state of ${what}`, state?.data ?? [], expected.s, { ratio: 1e-11 });
          if (finalState && "z" in finalState) {
            assertClose(`z of ${what}`, finalState.z.data, expected.z, { ratio: 1e-11 });
          }
        }
      }
    }
  });
}

/** Three tokens of one channel each, key 1, query 1. */
const ones = of([1, 3, 1, 1], 1, 1, 1);
const v = of([1, 3, 1, 1], 8, 4, 2);
const half = -Math.LN2;

/** Asserts about numbers that come out of exp and log. */
function assertNumbers(actual: ArrayLike<number>, expected: number[]): void {
  assertEquals(actual.length, expected.length);
  expected.forEach((value, index) => assertAlmostEquals(actual[index], value, 1e-12));
}

Deno.test("recurrence() sums up without gates", () => {
  assertNumbers(recurrence(ones, ones, v).out.data, [8, 12, 14]);
});

Deno.test("recurrence() takes gates of each shape", () => {
  const q = of([1, 2, 1, 2], 1, 1, 1, 1);
  const w = of([1, 2, 2, 1], 8, 8, 0, 0);
  const run = (g: ReferenceTensor) => recurrence(q, q, w, { g, scale: 1 }).out.data;

  assertNumbers(run(of([2], half, -Infinity)), [16, 16, 8, 0]);
  assertNumbers(run(of([1, 2, 2], 5, 7, half, 2 * half)), [16, 16, 8, 4]);
  const channels = of([1, 2, 2, 2], 1, 2, 3, 4, half, 0, -1e30, 2 * half);
  assertNumbers(run(channels), [16, 16, 4 + 8, 0 + 2]);
});

Deno.test("recurrence() decays value channels", () => {
  const w = of([1, 2, 1, 2], 8, 8, 0, 0);
  const gv = of([1, 2, 1, 2], 0, 0, half, -Infinity);
  const x = of([1, 2, 1, 1], 1, 1);

  assertNumbers(recurrence(x, x, w, { gv }).out.data, [8, 8, 4, 0]);
});

Deno.test("recurrence() reads before the write with u", () => {
  const options = { u: of([1, 1], 3), g: of([1], half), finalState: true };

  const { out, finalState } = recurrence(ones, ones, v, options);

  assertNumbers(out.data, [24, 8 + 12, 8 / 2 + 4 + 6]);
  assertEquals(finalState, { data: Float64Array.of(8 / 4 + 4 / 2 + 2), shape: [1, 1, 1, 1] });
});

Deno.test("recurrence() divides by the decayed sum of the keys", () => {
  const k = of([1, 3, 1, 1], 1, 3, 2);
  const options = { g: of([1], half), normalize: true, eps: 0, finalState: true };

  const { out, finalState } = recurrence(ones, k, v, options);

  assertNumbers(out.data, [8, (4 + 12) / (0.5 + 3), (8 + 4) / (1.75 + 2)]);
  assertEquals(finalState, {
    s: { data: Float64Array.of(12), shape: [1, 1, 1, 1] },
    z: { data: Float64Array.of(3.75), shape: [1, 1, 1] },
  });
});

Deno.test("recurrence() adds eps to the scaled divisor", () => {
  const options = { normalize: true, scale: 0.5 };

  assertNumbers(recurrence(ones, ones, v, { ...options, eps: 0.5 }).out.data, [4, 4, 3.5]);
  const nothing = of([1, 3, 1, 1], 0, 0, 0);
  const tiny = of([1, 3, 1, 1], 1e-10, 0, 0);
  assertNumbers(recurrence(ones, tiny, v, { ...options, scale: 1 }).out.data, [4, 4, 4]);
  assertNumbers(recurrence(ones, nothing, v, options).out.data, [0, 0, 0]);
});

Deno.test("recurrence() erases with the key, or another one, after the decay", () => {
  const beta = of([1, 3, 1], 1, 0.5, 0.25);
  const g = of([1], half);

  // S = 8; 4 + 0.5 (4 - 4); 2 + 0.25 (2 - 2)
  assertNumbers(recurrence(ones, ones, v, { beta, g }).out.data, [8, 4, 2]);
  // S = 8; 4 + 0.5 (4 - 2 · 4); 1 + 0.25 (2 - 3 · 1)
  const p = of([1, 3, 1, 1], 1, 2, 3);
  assertNumbers(recurrence(ones, ones, v, { beta, g, p }).out.data, [8, 2, 0.75]);
  // S = 8; 4 + (4 - 2 · 4); 0 + 2
  assertNumbers(recurrence(ones, ones, v, { g, p }).out.data, [8, 0, 2]);
});

Deno.test("recurrence() applies a general erase pair before the decay", () => {
  const a = of([1, 3, 1, 1], 0, -0.5, 1);
  const b = of([1, 3, 1, 1], 0, 1, 2);

  // S = 8; 4 - 4 + 4; 2 + 2 · 4 + 2
  const { out } = recurrence(ones, ones, v, { a, b, g: of([1], half) });

  assertNumbers(out.data, [8, 4, 12]);
});

Deno.test("recurrence() runs each sequence from its end with reverse", () => {
  const options = { reverse: true, finalState: true, g: of([1, 3, 1], half, 2 * half, 0) };
  const initialState = of([1, 1, 1, 1], 2);

  const { out, finalState } = recurrence(ones, ones, v, { ...options, initialState });

  assertNumbers(out.data, [5 / 2 + 8, 4 / 4 + 4, 2 + 2]);
  assertEquals(finalState, { data: Float64Array.of(10.5), shape: [1, 1, 1, 1] });
});

Deno.test("recurrence() groups heads: queries 4, states 2, keys 1", () => {
  const q = of([1, 1, 4, 1], 1, 2, 3, 4);
  const k = of([1, 1, 1, 1], 10);
  const w = of([1, 1, 2, 1], 1, 100);

  assertNumbers(recurrence(q, k, w).out.data, [10, 20, 3000, 4000]);
});

Deno.test("recurrence() groups heads: queries 2, states 4, keys 2", () => {
  const q = of([1, 1, 2, 1], 1, 2);
  const k = of([1, 1, 2, 1], 1, 10);
  const w = of([1, 1, 4, 1], 1, 2, 3, 4);

  assertNumbers(recurrence(q, k, w).out.data, [1, 2, 60, 80]);
});

Deno.test("recurrence() keeps the state of empty sequences", () => {
  const options = { cuSeqlens: of([4], 0, 0, 3, 3), finalState: true };
  const initialState = of([3, 1, 1, 1], 5, 6, 7);

  const { out, finalState } = recurrence(ones, ones, v, { ...options, initialState });

  assertNumbers(out.data, [14, 18, 20]);
  assertEquals(finalState, { data: Float64Array.of(5, 20, 7), shape: [3, 1, 1, 1] });
});

Deno.test("recurrence() swaps the axes of states with stateLayout vk", () => {
  const random = new Random(5);
  const [q, k] = [0, 1].map(() => tensor([1, 4, 1, 2], () => random.normal()));
  const w = tensor([1, 4, 1, 3], () => random.normal());
  const s = [1, 2, 3, 4, 5, 6];
  const swap = (data: ArrayLike<number>) => [0, 3, 1, 4, 2, 5].map((index) => data[index]);

  const kv = recurrence(q, k, w, { initialState: of([1, 1, 2, 3], ...s), finalState: true });
  const vk = recurrence(q, k, w, {
    initialState: of([1, 1, 3, 2], ...swap(s)),
    finalState: true,
    stateLayout: "vk",
  });

  assertEquals(kv.out, vk.out);
  const [a, b] = [kv, vk].map(({ finalState }) => finalState as Float64Tensor);
  assertEquals([a.shape, b.shape], [[1, 1, 2, 3], [1, 1, 3, 2]]);
  assertEquals(Array.from(b.data), swap(a.data));
  assertEquals(a.data.some((x, index) => x !== b.data[index]), true);
});

Deno.test("recurrence() returns a state only where it is asked for", () => {
  assertEquals(Object.keys(recurrence(ones, ones, v)), ["out"]);
  const options = { finalState: true };
  assertEquals(Object.keys(recurrence(ones, ones, v, options)), ["out", "finalState"]);
});

for (const reset of [-1e4, -1e30, -Infinity]) {
  Deno.test(`recurrence() forgets all before a gate of ${reset}`, () => {
    const random = new Random(6);
    const [q, k, w] = [0, 1, 2].map(() => tensor([1, 9, 1, 3], () => random.normal()));
    const g = tensor([1, 9, 1], () => -random.next());
    g.data[4] = reset;
    const tail = ({ data, shape: [, , ...rest] }: Float64Tensor) => ({
      data: data.slice(data.length * 4 / 9),
      shape: [1, 5, ...rest],
    });

    const whole = recurrence(q, k, w, { g, finalState: true });
    const part = recurrence(tail(q), tail(k), tail(w), { g: tail(g), finalState: true });

    assertEquals(whole.out.data.every(Number.isFinite), true);
    assertEquals(whole.out.data.slice(12), part.out.data);
    assertEquals(whole.finalState, part.finalState);
  });
}
