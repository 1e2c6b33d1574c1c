import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  requestGpu,
  selectiveScan,
  type SelectiveScanOptions,
  selectiveScanStep,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

const WAYS = {
  loop: { mode: "loop" },
  chunk: { mode: "chunk", chunkSize: 16 },
  workgroup: { mode: "loop", schedule: "workgroup" },
  // where there are no subgroups, the loop once more
  broadcast: { mode: "loop", ...(shared?.features.subgroups && { schedule: "broadcast" }) },
  naive: { schedule: "naive" },
} as const;
type Way = keyof typeof WAYS;
const ALL = Object.keys(WAYS) as Way[];

/** A problem; two batch entries of 37 tokens with 34 channels of 5 states, all f32, by default. */
interface Case {
  batch: number;
  length: number;
  channels: number;
  states: number;
  /** Storage of u, b, c and z, of delta, and of a, d and deltaBias. */
  dtype: "f32" | "f16";
  deltaType: "f32" | "f16";
  rateType: "f32" | "f16";
  /** Step sizes, 0 to 0.2 by default, and rates, -1 to -4. */
  step: (random: Random) => number;
  rate: (random: Random) => number;
  /** Which of d, z and deltaBias there are. */
  others: readonly string[];
  initial: boolean;
  final: boolean;
  cuSeqlens: readonly number[] | null;
  reverse: boolean;
  softplus: boolean;
}

type Inputs = Readonly<Record<string, HostTensor>>;
type Outputs = Readonly<Record<string, ArrayLike<number>>>;

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 2, length: 37, channels: 34, states: 5 },
    ...{ dtype: "f32", deltaType: "f32", rateType: "f32" },
    ...{ step: (random) => 0.2 * random.next(), rate: (random) => -1 - 3 * random.next() },
    ...{ others: ["d", "z", "deltaBias"], initial: true, final: true, cuSeqlens: null },
    ...{ reverse: false, softplus: false },
    ...part,
  };
}

function inputsOf(c: Case): Inputs {
  const random = new Random(5);
  const normal = () => random.normal();
  const tokens = [c.batch, c.length];
  const sequences = c.cuSeqlens ? c.cuSeqlens.length - 1 : c.batch;
  const others = {
    d: hostTensor(c.rateType, [c.channels], normal),
    z: hostTensor(c.dtype, [...tokens, c.channels], normal),
    deltaBias: hostTensor(c.rateType, [c.channels], () => random.next()),
  };
  return {
    u: hostTensor(c.dtype, [...tokens, c.channels], normal),
    delta: hostTensor(c.deltaType, [...tokens, c.channels], () => c.step(random)),
    a: hostTensor(c.rateType, [c.channels, c.states], () => c.rate(random)),
    b: hostTensor(c.dtype, [...tokens, c.states], normal),
    c: hostTensor(c.dtype, [...tokens, c.states], normal),
    ...Object.fromEntries(Object.entries(others).filter(([name]) => c.others.includes(name))),
    ...(c.initial &&
      { initialState: hostTensor("f32", [sequences, c.channels, c.states], normal) }),
  };
}

/** Calls an operator with arguments by name. */
function call<T, R extends object>(
  operator: (...args: never[]) => R,
  { u, delta, a, b, c, ...tensors }: Readonly<Record<string, T>>,
  options: object,
): R {
  const called = operator as (...args: unknown[]) => R;
  return called(u, delta, a, b, c, { ...options, ...tensors });
}

/** Uploads, computes, reads and frees. */
async function compute(
  c: Case,
  inputs: Inputs,
  way: Partial<SelectiveScanOptions>,
  gpu: Gpu = theGpu(),
): Promise<Outputs> {
  const before = gpu.memory().tensors;
  const tensors: Record<string, Tensor> = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [name, gpu.tensor(data, shape)]),
  );
  if (c.cuSeqlens) {
    tensors.cuSeqlens = gpu.tensor(Int32Array.from(c.cuSeqlens), [c.cuSeqlens.length]);
  }
  const options = { reverse: c.reverse, finalState: c.final, deltaSoftplus: c.softplus, ...way };
  const results = call(selectiveScan, tensors, options);
  const outputs: Record<string, ArrayLike<number>> = {};
  for (const [name, tensor] of Object.entries(results)) outputs[name] = await tensor.read();
  for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.dispose();
  assertEquals(gpu.memory().tensors, before);
  return outputs;
}

/** Computes a case in float64. */
function expectedOf({ cuSeqlens, ...c }: Case, inputs: Inputs): Outputs {
  const packed = cuSeqlens && { data: cuSeqlens, shape: [cuSeqlens.length] };
  const tensors = { ...inputs, ...(packed && { cuSeqlens: packed }) };
  const options = { reverse: c.reverse, finalState: c.final, deltaSoftplus: c.softplus };
  const results = call(reference.selectiveScan, tensors, options);
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
}

async function assertMatches(
  c: Case,
  way: Partial<SelectiveScanOptions>,
  gpu = theGpu(),
): Promise<void> {
  const inputs = inputsOf(c);
  const actual = await compute(c, inputs, way, gpu);
  const expected = expectedOf(c, inputs);
  assertEquals(Object.keys(actual), Object.keys(expected));
  for (const [name, data] of Object.entries(expected)) {
    const ratio = c.dtype === "f16" && name === "out" ? 1e-3 : 1e-5;
    assertClose(name, actual[name], data, { ratio });
  }
}

/** Asserts that two arrays hold the same bits. */
function assertSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i])) assertEquals(actual[i], expected[i], `element ${i}`);
  }
}

/** Tests that a case agrees with float64, in every form. */
function testCase(name: string, part: Partial<Case>, ways: readonly Way[] = ALL): void {
  for (const way of ways) {
    Deno.test({
      name: `selectiveScan() matches the reference for ${name} (${way})`,
      ignore,
      fn: () => assertMatches(caseOf(part), WAYS[way]),
    });
  }
}

const PACKED: Partial<Case> = { batch: 1, length: 63, cuSeqlens: [0, 0, 1, 30, 30, 31, 63, 63] };

testCase("states in and out", {});
testCase("no states", { initial: false, final: false });
testCase("states out alone", { initial: false });
testCase("states in alone", { final: false });
testCase("nothing but u, delta, a, b and c", { others: [] });
testCase("a skip connection", { others: ["d"] }, ["loop", "chunk", "naive"]);
testCase("a bias in f16", { others: ["deltaBias"], rateType: "f16" }, ["loop", "chunk", "naive"]);
testCase("a gate", { others: ["z"], channels: 36 }, ["loop", "chunk", "naive"]);
testCase("softplus of step sizes of either sign", {
  softplus: true,
  step: (random) => 4 * random.normal() - 2,
});
testCase("packed sequences", PACKED);
testCase("packed sequences from their ends", { ...PACKED, reverse: true });
testCase("whole vec4s of channels and states", { channels: 36, states: 8 }, ["loop", "chunk"]);
testCase("one channel of one state", { channels: 1, states: 1 });
testCase("f16", { dtype: "f16", deltaType: "f16", rateType: "f16", channels: 36, states: 16 });
testCase("f16 of ragged channels", { dtype: "f16", deltaType: "f16", channels: 7, states: 3 });
testCase("f16 with step sizes in f32", { dtype: "f16" }, ["loop"]);
testCase("rates that clear states at once, or never", {
  rate: (random) => random.pick([0, -1e-4, -1e6, -Infinity]),
  step: (random) => 0.1 + random.next(),
});
testCase("rates above 0", { length: 20, rate: (random) => random.next() });
testCase("one token", { length: 1 });
testCase("no tokens", { length: 0 });
testCase("no batch entries", { batch: 0 });
testCase("64 states", { states: 64, channels: 5, length: 20 }, ["loop"]);

for (const way of ["loop", "chunk", "naive"] as const) {
  Deno.test({
    name: `selectiveScan() gives the same bits where loops, bindings and grids are short (${way})`,
    ignore,
    async fn() {
      const limits = {
        maxLoopIterations: 30,
        maxStorageBufferBindingSize: 16384,
        maxComputeWorkgroupsPerDimension: 2,
      };
      using small = await requestGpu({ poison: true, limits });
      const parts = [
        { length: 300, channels: 72 },
        { length: 100, channels: 150, states: 2, reverse: true },
        { length: 300, initial: false, final: false },
        PACKED,
      ];
      for (const part of parts) {
        const c = caseOf(part);
        const inputs = inputsOf(c);

        const actual = await compute(c, inputs, WAYS[way], small);

        const expected = await compute(c, inputs, WAYS[way]);
        for (const [name, data] of Object.entries(expected)) assertSameBits(actual[name], data);
      }
    },
  });

  Deno.test({
    name: `selectiveScan() gives the same bits whatever comes later (${way})`,
    ignore,
    async fn() {
      const c = caseOf({ batch: 1, length: 100 });
      const inputs = inputsOf(c);
      const changed = Object.fromEntries(
        Object.entries(inputs).map(([name, { data, shape }]) => {
          const copy = data.slice();
          if (shape[1] === c.length) copy.fill(9, 57 * data.length / c.length);
          return [name, { data: copy, shape }];
        }),
      );

      const actual = await compute(c, changed, WAYS[way]);

      const { out } = await compute(c, inputs, WAYS[way]);
      const kept = 57 * c.channels;
      assertSameBits(Array.from(actual.out).slice(0, kept), Array.from(out).slice(0, kept));
    },
  });

  Deno.test({
    name: `selectiveScan() gives a sequence the same bits packed and alone (${way})`,
    ignore,
    async fn() {
      const c = caseOf({ batch: 2, length: 70, initial: false });
      const inputs = inputsOf(c);
      const packed = Object.fromEntries(
        Object.entries(inputs).map(([name, { data, shape }]) => [
          name,
          { data, shape: shape[1] === 70 ? [1, 140, ...shape.slice(2)] : shape },
        ]),
      );
      const cuSeqlens = [0, 0, 70, 140];

      const actual = await compute({ ...c, batch: 1, length: 140, cuSeqlens }, packed, WAYS[way]);

      const { out } = await compute(c, inputs, WAYS[way]);
      assertSameBits(actual.out, out);
    },
  });
}

Deno.test({
  name: "selectiveScan() goes on from a final state as if it had not stopped",
  ignore,
  async fn() {
    const c = caseOf({ batch: 1, length: 50 });
    const inputs = inputsOf(c);
    const part = (first: number, end: number): Inputs =>
      Object.fromEntries(
        Object.entries(inputs).map(([name, { data, shape }]) => {
          if (shape[1] !== c.length) return [name, { data, shape }];
          const rows = data.slice(first * shape[2], end * shape[2]);
          return [name, { data: rows, shape: [1, end - first, shape[2]] }];
        }),
      );
    const start = await compute(c, part(0, 21), WAYS.loop);
    const data = Float32Array.from(start.finalState);
    const rest = { ...part(21, 50), initialState: { ...inputs.initialState, data } };

    const { out, finalState } = await compute(c, rest, WAYS.loop);

    const whole = await compute(c, inputs, WAYS.loop);
    assertSameBits([...Array.from(start.out), ...Array.from(out)], whole.out);
    assertSameBits(finalState, whole.finalState);
  },
});

Deno.test({
  name: "selectiveScanStep() gives token by token what selectiveScan() gives at once, in place",
  ignore,
  async fn() {
    const gpu = theGpu();
    const c = caseOf({ length: 6, softplus: true });
    const inputs = inputsOf(c);
    const { out, finalState } = await compute(c, inputs, WAYS.loop);
    const upload = ({ data, shape }: HostTensor): Tensor => gpu.tensor(data, shape);
    const state = upload(inputs.initialState) as Tensor<"f32">;

    for (let t = 0; t < c.length; t++) {
      const { initialState: _, ...token } = Object.fromEntries(
        Object.entries(inputs).map(([name, { data, shape: [batch, length, width] }]) => {
          if (length !== c.length) return [name, upload(inputs[name])];
          const rows = hostTensor("f32", [batch, 1, width], () => 0);
          for (let b = 0; b < batch; b++) {
            const start = (b * length + t) * width;
            rows.data.set(data.slice(start, start + width), b * width);
          }
          return [name, upload(rows)];
        }),
      );
      _.dispose();
      const step = (...args: never[]) =>
        (selectiveScanStep as (...args: unknown[]) => Tensor)(state, ...args);
      const y = call(step, token, { deltaSoftplus: true });
      const expected = [0, 1].flatMap((b) => {
        const start = (b * c.length + t) * c.channels;
        return Array.from(out).slice(start, start + c.channels);
      });
      assertSameBits(await y.read(), expected);
      for (const tensor of [y, ...Object.values(token)]) tensor.dispose();
    }

    assertSameBits(await state.read(), finalState);
    state.dispose();
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "selectiveScan() leaves an initial state as it is",
  ignore,
  async fn() {
    const gpu = theGpu();
    const [u, delta, b, c] = [1, 2, 3, 4].map((x) => gpu.tensor(Float32Array.of(x), [1, 1, 1]));
    const a = gpu.tensor(Float32Array.of(-1), [1, 1]);
    const initialState = gpu.tensor(Float32Array.of(5), [1, 1, 1]);

    const { out, finalState } = selectiveScan(u, delta, a, b, c, {
      initialState,
      finalState: true,
    });

    assert(finalState !== undefined);
    assertAlmostEquals((await finalState.read())[0], 5 * Math.exp(-2) + 6, 1e-5);
    assertEquals(await initialState.read(), Float32Array.of(5));
    for (const tensor of [u, delta, a, b, c, initialState, out, finalState]) tensor.dispose();
  },
});

Deno.test({
  name: "selectiveScan() lets states grow to Infinity by rates above 0",
  ignore,
  async fn() {
    const gpu = theGpu();
    const ones = () => gpu.tensor(Float32Array.of(1, 1, 1), [1, 3, 1]);
    const [u, delta, b, c] = [ones(), ones(), ones(), ones()];
    const a = gpu.tensor(Float32Array.of(50), [1, 1]);

    const { out } = selectiveScan(u, delta, a, b, c);

    const y = await out.read();
    assertEquals([y[0], y[2]], [1, Infinity]);
    assertAlmostEquals(y[1] / Math.exp(50), 1, 1e-5);
    for (const tensor of [u, delta, a, b, c, out]) tensor.dispose();
  },
});
