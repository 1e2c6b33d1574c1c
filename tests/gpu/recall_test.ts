import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  appendToCache,
  attention,
  type AttentionOptions,
  causalConv1d,
  compileBlockMap,
  gatedDeltaRule,
  gatedDeltaRuleStep,
  type Gpu,
  mergeAttention,
  mlstm,
  neighborhoodAttention,
  requestGpu,
  rope,
  simpleGla,
  simpleGlaStep,
  type Tensor,
} from "../../mod.ts";
import { Bounded } from "../../gpu/bounded.ts";
import { recall } from "../../gpu/recall.ts";
import { record, runtimeOf } from "../../gpu/runtime.ts";
import { nothingFound, spell } from "../../gpu/spelling.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Numbers that look random, the same for the same seed. */
function numbers(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(1 + seed * 7.1 + i * 1.7));
}

/** Makes tensors of given shapes, whose contents follow from a seed. */
function maker(gpu: Gpu, seed: number): (...shape: number[]) => Tensor<"f32"> {
  let made = 0;
  return (...shape) =>
    gpu.tensor(numbers(shape.reduce((a, b) => a * b, 1), seed + 31 * made++), shape);
}

/** What a call reads and gives: its outputs, and the tensors that it changes in place. */
type Call = (make: ReturnType<typeof maker>, gpu: Gpu) => readonly Tensor[];

function attend(options: AttentionOptions): Call {
  return (make) => {
    const [q, k, v] = [make(1, 9, 4, 8), make(1, 9, 2, 8), make(1, 9, 2, 8)];
    return Object.values(attention(q, k, v, options));
  };
}

/** Calls that differ in something that their results must show. */
const CALLS: Readonly<Record<string, Call>> = {
  plain: attend({}),
  causal: attend({ causal: true }),
  "top-left": attend({ causal: "top-left", window: { left: 3 } }),
  window: attend({ causal: "top-left", window: { left: 2 } }),
  scale: attend({ scale: 0.5 }),
  "another scale": attend({ scale: 0.25 }),
  softcap: attend({ softcap: 2 }),
  "another softcap": attend({ softcap: 1 }),
  lse: attend({ lse: true }),
  hook: attend({ score: "s + x * f32(j)", inputs: { x: 0.5 } }),
  "another number": attend({ score: "s + x * f32(j)", inputs: { x: -0.5 } }),
  "another hook": attend({ score: "s - x * f32(j)", inputs: { x: 0.5 } }),
  sinks: (make) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    return [attention(q, k, v, { sinks: make(2) }).out];
  },
  "one tensor": (make) => {
    const x = make(1, 9, 2, 8);
    return [attention(x, x, x).out];
  },
  "two tensors": (make) => {
    const [q, k] = [make(1, 9, 2, 8), make(1, 9, 2, 8)];
    return [attention(q, k, k).out];
  },
  "three tensors": (make) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    return [attention(q, k, v).out];
  },
  cache: (make, gpu) => {
    const [k, v, lengths] = [make(1, 8, 2, 8), make(1, 8, 2, 8), gpu.tensor(Int32Array.of(3), [1])];
    appendToCache({ k, v, lengths }, make(1, 2, 2, 8), make(1, 2, 2, 8));
    return [attention(make(1, 1, 2, 8), k, v, { kvLengths: lengths }).out, k, v, lengths];
  },
  "other lengths": (make, gpu) => {
    const [k, v, lengths] = [make(1, 8, 2, 8), make(1, 8, 2, 8), gpu.tensor(Int32Array.of(5), [1])];
    appendToCache({ k, v, lengths }, make(1, 2, 2, 8), make(1, 2, 2, 8));
    return [attention(make(1, 1, 2, 8), k, v, { kvLengths: lengths }).out, k, v, lengths];
  },
  "a block map": (make, gpu) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    using blockMap = compileBlockMap(gpu, "j <= i && (j + 1) % 3 != 0", {
      ...{ qLen: 9, kvLen: 9, queryBlock: 8, keyBlock: 8 },
    });
    return [attention(q, k, v, { blockMap }).out];
  },
  "another block map": (make, gpu) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    using blockMap = compileBlockMap(gpu, "j <= i && j % 3 != 0", {
      ...{ qLen: 9, kvLen: 9, queryBlock: 8, keyBlock: 8 },
    });
    return [attention(q, k, v, { blockMap }).out];
  },
  packed: (make, gpu) => [
    attention(make(1, 9, 2, 8), make(1, 9, 2, 8), make(1, 9, 2, 8), {
      cuSeqlensQ: gpu.tensor(Int32Array.of(0, 4, 9), [3]),
    }).out,
  ],
  "packed otherwise": (make, gpu) => [
    attention(make(1, 9, 2, 8), make(1, 9, 2, 8), make(1, 9, 2, 8), {
      cuSeqlensQ: gpu.tensor(Int32Array.of(0, 6, 9), [3]),
    }).out,
  ],
  neighborhood: (make) => [
    neighborhoodAttention(make(1, 16, 2, 8), make(1, 16, 2, 8), make(1, 16, 2, 8), {
      windowSize: 5,
    }).out,
  ],
  "neighborhood of 7": (make) => [
    neighborhoodAttention(make(1, 16, 2, 8), make(1, 16, 2, 8), make(1, 16, 2, 8), {
      windowSize: 7,
    }).out,
  ],
  merge: (make) => {
    const parts = [1, 2, 3].map(() => ({ out: make(1, 4, 2, 8), lse: make(1, 4, 2) }));
    return Object.values(mergeAttention(parts));
  },
  simpleGla: (make) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    const { out, finalState } = simpleGla(q, k, v, make(1, 9, 2), { finalState: true });
    return [out, ...(finalState ? [finalState] : [])];
  },
  simpleGlaStep: (make) => {
    const [state, q, k, v] = [make(1, 2, 8, 8), ...[1, 2, 3].map(() => make(1, 1, 2, 8))];
    return [simpleGlaStep(state, q, k, v, make(1, 1, 2)), state];
  },
  gatedDeltaRule: (make) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    return [gatedDeltaRule(q, k, v, make(1, 9, 2), make(1, 9, 2), { qkL2norm: true }).out];
  },
  gatedDeltaRuleStep: (make) => {
    const [state, q, k, v] = [make(1, 2, 8, 8), ...[1, 2, 3].map(() => make(1, 1, 2, 8))];
    return [gatedDeltaRuleStep(state, q, k, v, make(1, 1, 2), make(1, 1, 2)), state];
  },
  mlstm: (make) => {
    const [q, k, v] = [1, 2, 3].map(() => make(1, 9, 2, 8));
    return [mlstm(q, k, v, make(1, 9, 2), make(1, 9, 2)).out];
  },
  rope: (make) => [rope(make(1, 9, 2, 8))],
  "rope from 5": (make) => [rope(make(1, 9, 2, 8), { offset: 5 })],
  conv: (make) => [causalConv1d(make(1, 9, 8), make(8, 4)).out],
  silu: (make) => [causalConv1d(make(1, 9, 8), make(8, 4), { activation: "silu" }).out],
};

/** All results of a call, as one list of bits. */
async function bitsOf(gpu: Gpu, call: Call, seed: number): Promise<number[]> {
  const results = call(maker(gpu, seed), gpu);
  const arrays = await Promise.all(results.map((tensor) => tensor.read()));
  return arrays.flatMap((array) => [...new Uint32Array(array.buffer)]);
}

/** A device that has seen all calls, with other numbers. */
const shared = adapter === null ? null : await requestGpu();

function experienced(): Gpu {
  assert(shared !== null);
  return shared;
}

if (shared !== null) {
  shared.scope(() => Object.values(CALLS).forEach((call) => void call(maker(shared, 1), shared)));
  await shared.submit();
}

for (const [name, call] of Object.entries(CALLS)) {
  Deno.test({
    name: `recall() gives the bits of a first call, with other tensors: ${name}`,
    ignore,
    async fn() {
      using fresh = await requestGpu();
      const { size } = runtimeOf(experienced()).tapes;

      const bits = await bitsOf(experienced(), call, 2);
      assertEquals(bits, await bitsOf(fresh, call, 2));
      assertNotEquals(bits, await bitsOf(fresh, call, 3), "results must tell tensors apart");
      // integers that are uploaded are part of what a call is remembered by
      const uploads = ["cache", "other lengths", "packed", "packed otherwise"].includes(name);
      assertEquals(runtimeOf(experienced()).tapes.size > size, uploads);
    },
  });
}

/** An operator that counts its runs. */
function counting(): { readonly run: (x: Tensor, options: object) => Tensor; runs(): number } {
  let runs = 0;
  return {
    run(x, options) {
      runs++;
      assert(typeof options === "object");
      return rope(x as Tensor<"f32">);
    },
    runs: () => runs,
  };
}

Deno.test({
  name: "recall() runs an operator once for arguments that are alike",
  ignore,
  async fn() {
    const gpu = experienced();
    const { run, runs } = counting();
    using a = gpu.empty([1, 3, 2, 8], "f32");
    using b = gpu.empty([1, 3, 2, 8], "f32");
    using long = gpu.empty([1, 4, 2, 8], "f32");
    using half = gpu.empty([1, 3, 2, 8], "f16");

    gpu.scope(() => {
      for (const x of [a, b, a]) recall(run, x, { n: 1 });
      assertEquals(runs(), 1);
      recall(run, a, { n: 2 });
      assertEquals(runs(), 2);
      recall(run, long, { n: 1 });
      assertEquals(runs(), 3);
      recall(run, half, { n: 1 });
      assertEquals(runs(), 4);
      recall(run, long, { n: 1 });
      assertEquals(runs(), 4);
      recall(counting().run, a, { n: 1 });
      assertEquals(runs(), 4, "another operator");
    });
    await gpu.submit();
  },
});

Deno.test({
  name: "recall() remembers nothing that it cannot spell, and no upload",
  ignore,
  async fn() {
    const gpu = experienced();
    const { run, runs } = counting();
    let uploads = 0;
    const upload = (_x: Tensor): Tensor => gpu.tensor(Float32Array.of(uploads++), [1]);
    using a = gpu.empty([1, 3, 2, 8], "f32");

    gpu.scope(() => {
      for (let call = 0; call < 2; call++) recall(run, a, { callback: () => 1 });
      assertEquals(runs(), 2);
      for (let call = 0; call < 2; call++) recall(run, a, new Date(0));
      assertEquals(runs(), 4);
      for (let call = 0; call < 2; call++) recall(upload, a);
      assertEquals(uploads, 2);
    });
    await gpu.submit();
  },
});

Deno.test({
  name: "recall() lets an operator refuse bad arguments behind good ones",
  ignore,
  async fn() {
    const gpu = experienced();
    using other = await requestGpu();
    const call = (q: Tensor<"f32">, options: object = {}) => () => attention(q, q, q, options);
    using q = gpu.empty([1, 4, 2, 8], "f32");
    const gone = gpu.empty([1, 4, 2, 8], "f32");
    call(gone)().out.dispose();
    call(gone)().out.dispose();
    gone.dispose();

    assertThrows(call(gone), TypeError, "as q must be live: q [1,4,2,8] was disposed");
    assertThrows(
      () => attention(q, other.empty([1, 4, 2, 8], "f32"), q),
      TypeError,
      "share a device",
    );
    assertThrows(call(q, { causl: true }), TypeError, '"causl" is not');
    assertThrows(call(q, { scale: Infinity }), RangeError, "scale");
    assertThrows(call(q, { scale: Infinity }), RangeError, "scale");
    assertThrows(call(q, { schedule: "none" }), RangeError, '"none" is not among');
    assertThrows(call(q, { schedule: "none" }), RangeError, '"none" is not among');
    await gpu.submit();
  },
});

/** Options that give a scale in ways which a look at their names and values may miss. */
const SLY: Readonly<Record<string, () => AttentionOptions>> = {
  "a getter that tells something else each time": () => {
    let scale = 0;
    return {
      get scale() {
        return ++scale / 4;
      },
    };
  },
  "a property that is not enumerable": () =>
    Object.defineProperty({}, "scale", { value: 2, enumerable: false }),
  "a proxy": () => {
    let scale = 0;
    return new Proxy({ scale: 0 }, { get: () => ++scale / 4 });
  },
};

for (const [name, options] of Object.entries(SLY)) {
  Deno.test({
    name: `recall() keeps apart calls with ${name}`,
    ignore,
    async fn() {
      const known = [{}, { scale: 0.25 }, { scale: 0.5 }, { scale: 0.75 }, { scale: 1 }, {
        scale: 1.25,
      }];
      using gpu = await requestGpu();
      attend(options())(maker(gpu, 1), gpu);
      for (const plain of known) {
        using fresh = await requestGpu();
        const expected = await bitsOf(fresh, attend(plain), 2);
        assertEquals(await bitsOf(gpu, attend(plain), 2), expected, JSON.stringify(plain));
      }
    },
  });
}

Deno.test({
  name: "recall() reads properties that are not enumerable behind calls without them",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using fresh = await requestGpu();
    const options = SLY["a property that is not enumerable"]();
    attend({})(maker(gpu, 1), gpu);

    const expected = await bitsOf(fresh, attend({ scale: 2 }), 2);
    assertEquals(await bitsOf(gpu, attend(options), 2), expected);
  },
});

Deno.test({
  name: "recall() inside an operator remembers nothing that it cannot do outside",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = maker(gpu, 1)(1, 4, 2, 8);
    const inside = await record(gpu, "an operator", () => rope(x)).read();

    assertEquals(await rope(x).read(), inside);
    assertEquals(await record(gpu, "an operator", () => rope(x)).read(), inside);
  },
});

Deno.test({
  name: "recall() leaves no memory behind",
  ignore,
  async fn() {
    const gpu = experienced();
    const before = gpu.memory();
    for (let round = 0; round < 3; round++) {
      for (const call of Object.values(CALLS)) gpu.scope(() => void call(maker(gpu, round), gpu));
      await gpu.submit();
      assertEquals({ ...gpu.memory(), peakBytes: 0 }, { ...before, peakBytes: 0 });
    }
  },
});

Deno.test({
  name: "recall() records into an encoder of the caller's",
  ignore,
  async fn() {
    const gpu = experienced();
    const make = maker(gpu, 5);
    const [q, k, v, g] = [...[1, 2, 3].map(() => make(1, 9, 2, 8)), make(1, 9, 2)];
    const first = await simpleGla(q, k, v, g).out.read();
    const encoder = gpu.device.createCommandEncoder();
    const { out } = gpu.record(encoder, () => simpleGla(q, k, v, g));
    gpu.device.queue.submit([encoder.finish()]);

    assertEquals(await out.read(), first);
    [q, k, v, g, out].forEach((tensor) => tensor.dispose());
  },
});

Deno.test({
  name: "recall() gives operators the buffers of freed tensors, in the order of the work",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = gpu.tensor(numbers(64, 1), [1, 4, 2, 8]);
    const y = gpu.tensor(numbers(64, 2), [1, 4, 2, 8]);
    const [once, twice, other] = [1, 2, 3].map(() => rope(x));
    const expected = [await rope(once).read(), await rope(y).read()];
    [once, twice, other].forEach((tensor) => tensor.dispose());

    const a = rope(x, { offset: 0 });
    const b = rope(a);
    a.dispose();
    const uploaded = gpu.tensor(numbers(64, 3), [1, 4, 2, 8]);
    const empty = gpu.empty([1, 4, 2, 8], "f32");
    const c = rope(y);
    assert(c.buffer === a.buffer && uploaded.buffer !== a.buffer && empty.buffer !== a.buffer);
    assertEquals([await b.read(), await c.read()], expected);
    assertEquals(await uploaded.read(), numbers(64, 3));
  },
});

Deno.test({
  name: "recall() gives no operator a buffer that a caller may still use",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = maker(gpu, 1)(1, 4, 2, 8);
    const pending = rope(x);
    const wrapped = gpu.wrap(pending.buffer, [1, 4, 2, 8], "f32");
    pending.dispose();
    assert(rope(x).buffer !== wrapped.buffer);

    const encoder = gpu.device.createCommandEncoder();
    const [inside, outside] = gpu.record(encoder, () => {
      using freed = gpu.empty([1, 4, 2, 8], "f32");
      return [freed.buffer, rope(x)];
    });
    assert(rope(x).buffer !== inside);
    outside.dispose();
    assert(rope(x).buffer !== outside.buffer);
  },
});

Deno.test({
  name: "spell() tells values apart",
  ignore,
  fn() {
    const gpu = experienced();
    const word = (value: unknown): string => spell(value, nothingFound());
    using a = gpu.empty([2, 3], "f32");
    using b = gpu.empty([2, 3], "f32");
    using wrapped = gpu.wrap(a.buffer, [2, 3], "f32");
    using i = gpu.tensor(Int32Array.of(1, 2), [2]);
    using j = gpu.tensor(Int32Array.of(1, 2), [2]);
    const shapes = [gpu.empty([3, 2], "f32"), gpu.empty([6], "f32"), gpu.empty([2, 3], "f16")];
    const values: unknown[] = [
      ...[0, -0, 1, -1, NaN, Infinity, -Infinity, null, undefined, true, false],
      ...["", "0", "null", "NaN", "a", "a,b", 'a"b'],
      ...[[], [[]], [0], [0, 0], [[0], 0], ["a", "b"], [null], [undefined]],
      ...[{}, { a: 1 }, { b: 1 }, { a: 1, b: 1 }, { a: "1" }, { a: [1] }, { a: { b: 1 } }],
      ...[{ "a1,": 1 }, { a: "1,1b1" }, { a: undefined }, { a: null }],
      ...[a, [a, a], [a, b], [a, wrapped], wrapped, i, j, ...shapes],
    ];

    assertEquals(new Set(values.map(word)).size, values.length);
    assertEquals(word({ x: [b, a, b] }), word({ x: [a, b, a] }));
    shapes.forEach((tensor) => tensor.dispose());
  },
});

Deno.test("spell() says what it cannot spell", () => {
  for (
    const value of [() => 1, new Map(), { deep: [new Date(0)] }, Symbol("s"), new Float32Array(1)]
  ) {
    const found = nothingFound();
    spell(value, found);
    assertEquals(found.plain, false);
  }
});

Deno.test("Bounded forgets the oldest entry", () => {
  const map = new Bounded<number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("c", 3);

  assertEquals(["a", "b", "c"].map((key) => map.get(key)), [undefined, 2, 3]);
  assertEquals(map.size, 2);
});

Deno.test("Bounded forgets what is too heavy together", () => {
  const map = new Bounded<number>(4);
  map.set("a", 1, 2);
  map.set("b", 2);
  map.set("c", 3, 3);
  assertEquals(["a", "b", "c"].map((key) => map.get(key)), [undefined, 2, 3]);

  map.set("c", 4);
  map.set("d", 5, 2);
  assertEquals(["b", "c", "d"].map((key) => map.get(key)), [2, 4, 5]);
  map.set("e", 6, 5);
  assertEquals(map.size, 0);
});

Deno.test({
  name: "recall() remembers fewer calls where they hold large tables",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using x = gpu.empty([1, 3, 2, 8], "f32");
    const { tapes } = runtimeOf(gpu);
    const large = (x: Tensor, _n: number): void =>
      record(x.gpu, "a table", (operation) => void operation.table(new Uint32Array(1 << 20)));

    for (let n = 0; n < 20; n++) recall(large, x, n);
    assertEquals(tapes.size, 15);
  },
});
