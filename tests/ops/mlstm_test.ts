import { assert, assertEquals } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  mlstm,
  type MlstmOptions,
  type MlstmResult,
  mlstmStep,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new tensor is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** Options that are no tensors. */
type Options = Omit<MlstmOptions, "initialState" | "cuSeqlens">;

type Draw = (random: Random, t: number) => number;

/** A problem; one sequence of 37 tokens with two heads of 8 key and 12 value channels by default. */
interface Case {
  readonly batch: number;
  readonly length: number;
  /** HQ, HK and HV. */
  readonly heads: readonly [number, number, number];
  readonly dims: readonly [keyDim: number, valueDim: number];
  readonly dtype: "f32" | "f16";
  /** Storage of the input and of the forget gates. */
  readonly gates: readonly ["f32" | "f16", "f32" | "f16"];
  /** The gates of token t. */
  readonly i: Draw;
  readonly f: Draw;
  /** Elements of queries and keys; their absolute values keep what is divided by from 0. */
  readonly read: Draw;
  /** Whether sequences start from states. */
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  readonly options: Options;
}

const TENSORS = ["q", "k", "v", "i", "f"] as const;
type Inputs = Readonly<Record<typeof TENSORS[number], HostTensor>> & {
  readonly state?: Readonly<Record<"c" | "n" | "m", HostTensor>>;
};

const LOOP: Options = { mode: "loop" };
const CHUNK: Options = { mode: "chunk", chunkSize: 16 };
const BLOCKS: Options = shared?.features.subgroups ? { schedule: "blocks" } : {};
const WAYS: Readonly<Record<string, Options>> = {
  ...{ loop: LOOP, chunk: CHUNK, naive: { schedule: "naive" } },
  ...{ workgroup: { schedule: "workgroup", ...CHUNK }, blocks: { ...BLOCKS, ...CHUNK } },
};
const GATES = ["exp", "sigmoid"] as const;

const normal: Draw = (random) => random.normal();
const positive: Draw = (random) => Math.abs(random.normal());
const masked: Draw = (random) => random.next() < 1 / 3 ? -Infinity : random.normal();

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 1, length: 37, heads: [2, 2, 2], dims: [8, 12], dtype: "f32", initial: false },
    ...{ gates: ["f32", "f32"], i: normal, f: normal, read: normal, options: {} },
    ...part,
  };
}

function inputsOf(c: Case): Inputs {
  const random = new Random(9);
  const [qHeads, kHeads, heads] = c.heads;
  const [keyDim, valueDim] = c.dims;
  const rows = [c.batch, c.length];
  const sequences = c.cuSeqlens ? c.cuSeqlens.length - 1 : c.batch;
  const axes = c.options.stateLayout === "vk" ? [valueDim, keyDim] : [keyDim, valueDim];
  const drawn = (dtype: "f32" | "f16", shape: readonly number[], draw: Draw): HostTensor => {
    const width = shape.slice(2).reduce((product, length) => product * length, 1);
    let element = 0;
    return hostTensor(dtype, [...shape], () => {
      return draw(random, Math.floor(element++ / width) % c.length);
    });
  };
  return {
    q: drawn(c.dtype, [...rows, qHeads, keyDim], c.read),
    k: drawn(c.dtype, [...rows, kHeads, keyDim], c.read),
    v: drawn(c.dtype, [...rows, heads, valueDim], normal),
    i: drawn(c.gates[0], [...rows, heads], c.i),
    f: drawn(c.gates[1], [...rows, heads], c.f),
    ...(c.initial && {
      state: {
        c: drawn("f32", [sequences, heads, ...axes], normal),
        n: drawn("f32", [sequences, heads, keyDim], positive),
        m: drawn("f32", [sequences, heads], normal),
      },
    }),
  };
}

function upload(gpu: Gpu, { data, shape }: HostTensor): Tensor<"f32"> {
  return gpu.tensor(data, shape) as Tensor<"f32">;
}

/** Uploads and calls, with the final state. */
function call(gpu: Gpu, c: Case, { state, ...inputs }: Inputs): MlstmResult<"f32"> {
  const { cuSeqlens } = c;
  const [q, k, v, i, f] = TENSORS.map((name) => upload(gpu, inputs[name]));
  return mlstm(q, k, v, i, f, {
    ...{ ...c.options, finalState: true },
    ...(cuSeqlens && { cuSeqlens: gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]) }),
    ...(state && {
      initialState: { c: upload(gpu, state.c), n: upload(gpu, state.n), m: upload(gpu, state.m) },
    }),
  });
}

type Outputs = Readonly<Record<"out" | "c" | "n" | "m", Float32Array>>;

async function readAll({ out, finalState }: MlstmResult<"f32">): Promise<Outputs> {
  assert(finalState);
  const { c, n, m } = finalState;
  const read = { out: await out.read(), c: await c.read(), n: await n.read(), m: await m.read() };
  [out, c, n, m].forEach((tensor) => tensor.dispose());
  return read;
}

/** Uploads, computes, reads and frees. */
function compute(c: Case, inputs: Inputs, gpu: Gpu = theGpu()): Promise<Outputs> {
  return readAll(gpu.scope(() => call(gpu, c, inputs)));
}

type Expected = Readonly<Record<keyof Outputs, ArrayLike<number>>>;

/** Computes in float64. */
function expectedOf(c: Case, { q, k, v, i, f, state }: Inputs): Expected {
  const { cuSeqlens } = c;
  const { mode: _mode, chunkSize: _size, schedule: _schedule, ...options } = c.options;
  const { out, finalState } = reference.mlstm(q, k, v, i, f, {
    ...{ ...options, finalState: true },
    ...(state && { initialState: state }),
    ...(cuSeqlens && { cuSeqlens: { data: cuSeqlens, shape: [cuSeqlens.length] } }),
  });
  assert(finalState);
  return { out: out.data, c: finalState.c.data, n: finalState.n.data, m: finalState.m.data };
}

/** What the memory and the sums are with the stabiliser of the reference: an m of 1e4 has three decimals. */
function restated({ m, ...states }: Outputs, expected: Expected): Outputs {
  const scaled = (data: Float32Array) =>
    data.map((x, at) => {
      const head = Math.floor(at * m.length / data.length);
      return x === 0 ? 0 : x * Math.exp(m[head] - expected.m[head]);
    });
  return { out: states.out, c: scaled(states.c), n: scaled(states.n), m };
}

function assertAgrees(actual: Outputs, expected: Expected, c: Case, ratio = 1e-5): void {
  const stated = restated(actual, expected);
  for (const name of ["out", "c", "n", "m"] as const) {
    const rounded = c.dtype === "f16" && name === "out";
    assertClose(name, stated[name], expected[name], { ratio: rounded ? 1e-3 : ratio });
  }
}

async function assertMatches(c: Case, gpu: Gpu = theGpu(), ratio = 1e-5): Promise<void> {
  const inputs = inputsOf(c);
  assertAgrees(await compute(c, inputs, gpu), expectedOf(c, inputs), c, ratio);
}

/** Tests that a case agrees with float64, in all ways. */
function testCase(name: string, part: Partial<Case>): void {
  for (const [way, options] of Object.entries(WAYS)) {
    Deno.test({
      name: `mlstm() matches the reference for ${name} (${way})`,
      ignore,
      async fn() {
        for (const gate of part.options?.gate ? [part.options.gate] : GATES) {
          await assertMatches(
            caseOf({ ...part, options: { ...options, gate, ...part.options } }),
          );
        }
      },
    });
  }
}

const PACKED: Partial<Case> = { length: 63, cuSeqlens: [0, 0, 1, 30, 30, 31, 63, 63] };
const large: Draw = (random) => 1e4 * random.normal();

testCase("one sequence", {});
testCase("states in and out", { batch: 2, initial: true, options: { scale: 0.3, eps: 1e-2 } });
testCase("packed sequences", PACKED);
testCase("packed sequences from their ends", {
  ...{ ...PACKED, initial: true, options: { reverse: true } },
});
testCase("several state heads for a key head", { heads: [2, 2, 6], initial: true });
testCase("several query heads for a state head", { heads: [6, 1, 2] });
testCase("three state heads and ragged channels", {
  heads: [3, 1, 3],
  dims: [7, 5],
  initial: true,
});
testCase("one channel", { heads: [1, 1, 1], dims: [1, 1] });
testCase("states with V before K", { initial: true, options: { stateLayout: "vk" } });
testCase("f16", { dtype: "f16", gates: ["f16", "f16"], initial: true });
testCase("f16 of ragged channels", { dtype: "f16", heads: [2, 1, 2], dims: [7, 5] });
testCase("f16 input gates", { gates: ["f16", "f32"] });
testCase("f16 forget gates of five heads", { gates: ["f32", "f16"], heads: [5, 5, 5] });
testCase("one token", { length: 1, initial: true });
testCase("one token behind nothing", { length: 1 });
testCase("no tokens", { length: 0, initial: true });
testCase("no batch entries", { batch: 0 });
testCase("input gates of thousands", { i: large, read: positive });
testCase("input gates of 1e4 or -1e4 behind states", {
  ...{ i: (random) => random.pick([1e4, -1e4]), read: positive, initial: true },
});
testCase("input gates about 80", { i: (random) => 80 + random.normal(), read: positive });
testCase("input gates about -80", { i: (random) => -80 + random.normal(), read: positive });
testCase("input gates about 1e4", { i: (random) => 1e4 + random.normal(), read: positive });
testCase("saturated forget gates", { f: (random) => random.pick([30, -30]), initial: true });
testCase("forget gates of thousands", { f: large, initial: true });
testCase("forget gates that are infinite", {
  ...{ f: (random) => random.pick([Infinity, 0, -Infinity]), initial: true, read: positive },
});
testCase("some input gates of -Infinity", { i: masked });
testCase("some input gates of -Infinity behind states", { ...PACKED, i: masked, initial: true });
testCase("input gates of -Infinity alone behind states", { i: () => -Infinity, initial: true });

for (const [way, options] of Object.entries(WAYS)) {
  Deno.test({
    name: `mlstm() gives 0 where nothing was ever written (${way})`,
    ignore,
    async fn() {
      for (const f of [normal, () => -Infinity]) {
        const c = caseOf({ i: () => -Infinity, f, length: 30, options });
        const { out, c: memory, n, m } = await compute(c, inputsOf(c));

        assertEquals([...out, ...memory, ...n].filter((x) => x !== 0), []);
        assertEquals(m.every((x) => x === -Infinity), f !== normal);
      }
    },
  });
}

for (const [way, options] of Object.entries({ loop: LOOP, chunk: CHUNK })) {
  for (const gate of GATES) {
    for (const f of ["lasting", "equal", "open"] as const) {
      for (const i of ["normal", "large"] as const) {
        Deno.test({
          name: `mlstm() loses nothing over 8192 tokens, ${gate}, ${f} f, ${i} i (${way})`,
          ignore,
          fn() {
            const draw = {
              lasting: (random: Random) => 8 + random.normal(),
              equal: () => 10,
              open: () => 30,
            }[f];
            const shift = i === "large" ? 1e4 : 0;
            const part = { f: draw, i: (random: Random) => shift + random.normal() };
            const c = caseOf({
              length: 8192,
              ...part,
              read: positive,
              options: { ...options, gate },
            });
            return assertMatches(c, theGpu(), 1e-4);
          },
        });
      }
    }
  }

  Deno.test({
    name: `mlstm() agrees where loops, bindings and grids are short (${way})`,
    ignore,
    async fn() {
      using small = await requestGpu({
        poison: true,
        limits: {
          ...{ maxLoopIterations: 100, maxStorageBufferBindingSize: 16384 },
          maxComputeWorkgroupsPerDimension: 3,
        },
      });
      for (const part of [{ length: 300 }, { length: 200, dims: [7, 5] as const }, PACKED]) {
        const grouped = { ...part, heads: [2, 1, 2] as const, initial: true };
        for (const reverse of [false, true]) {
          await assertMatches(caseOf({ ...grouped, options: { ...options, reverse } }), small);
        }
      }
    },
  });

  Deno.test({
    name: `mlstm() gives the same bits whatever comes later, and again (${way})`,
    ignore,
    async fn() {
      for (const gate of GATES) {
        const c = caseOf({ length: 60, options: { ...options, gate }, i: masked });
        const inputs = inputsOf(c);
        const changed = { ...inputs };
        for (const name of TENSORS) {
          const { data, shape } = inputs[name];
          changed[name] = { data: data.slice().fill(9, 41 * data.length / 60), shape };
        }
        const { out } = await compute(c, inputs);

        assertEquals(await compute(c, inputs), await compute(c, inputs));
        const kept = 41 * out.length / 60;
        assertEquals((await compute(c, changed)).out.slice(0, kept), out.slice(0, kept));
      }
    },
  });

  Deno.test({
    name: `mlstm() gives each packed sequence the bits that it has alone (${way})`,
    ignore,
    async fn() {
      for (const gate of GATES) {
        const part = { i: masked, options: { ...options, gate } };
        const inputs = inputsOf(caseOf({ ...part, length: 63 }));
        const packed = await compute(caseOf({ ...part, ...PACKED }), inputs);
        const width = packed.out.length / 63;
        for (const [first, end] of [[1, 30], [31, 63]]) {
          const alone = await compute(caseOf(part), spanOf(inputs, first, end));
          assertEquals(alone.out, packed.out.slice(first * width, end * width));
        }
      }
    },
  });
}

/** Tokens first <= t < end of a tensor of one sequence. */
function span({ data, shape }: HostTensor, first: number, end: number): HostTensor {
  const width = data.length / shape[1];
  return {
    data: data.slice(first * width, end * width),
    shape: [1, end - first, ...shape.slice(2)],
  } as HostTensor;
}

function spanOf(inputs: Inputs, first: number, end: number): Inputs {
  const spans = TENSORS.map((name) => [name, span(inputs[name], first, end)]);
  return Object.fromEntries(spans);
}

Deno.test({
  name: "mlstm() goes on from a state at any token as if it had not stopped",
  ignore,
  async fn() {
    const gpu = theGpu();
    for (const [gate, i] of [["exp", normal], ["exp", large], ["sigmoid", normal]] as const) {
      const c = caseOf({ length: 33, heads: [2, 1, 2], i, read: positive, options: { gate } });
      const inputs = inputsOf(c);
      const whole = await compute(c, inputs);
      for (let cut = 0; cut <= 33; cut += 3) {
        const { first, rest } = gpu.scope(() => {
          const first = call(gpu, c, spanOf(inputs, 0, cut));
          const tail = spanOf(inputs, cut, 33);
          const [q, k, v, i, f] = TENSORS.map((name) => upload(gpu, tail[name]));
          assert(first.finalState);
          const options = { initialState: first.finalState, finalState: true, gate, ...CHUNK };
          return { first, rest: mlstm(q, k, v, i, f, options) };
        });
        const [before, behind] = [await readAll(first), await readAll(rest)];
        assertAgrees({ ...behind, out: Float32Array.of(...before.out, ...behind.out) }, whole, c);
      }
    }
  },
});

for (const stateLayout of ["kv", "vk"] as const) {
  Deno.test({
    name: `mlstmStep() goes on in place where mlstm() stopped (${stateLayout})`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      for (const gate of GATES) {
        const options = { stateLayout, scale: 0.3, gate, eps: 1e-3 };
        const c = caseOf({ length: 12, heads: [4, 1, 2], i: masked, options });
        const inputs = inputsOf(c);
        const { out, finalState } = call(gpu, c, spanOf(inputs, 0, 7));
        assert(finalState);
        const outs = [...await out.read()];
        for (const [first, end] of [[7, 8], [8, 9], [9, 12]]) {
          const token = spanOf(inputs, first, end);
          const [q, k, v, i, f] = TENSORS.map((name) => upload(gpu, token[name]));
          outs.push(...await mlstmStep(finalState, q, k, v, i, f, options).read());
        }
        const { c: memory, n, m } = finalState;
        const states = { c: await memory.read(), n: await n.read(), m: await m.read() };

        assertAgrees({ out: Float32Array.from(outs), ...states }, expectedOf(c, inputs), c);
      }
    },
  });
}

Deno.test({
  name: "mlstmStep() weighs by exp(i - m), and leaves m",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const one = (value: number, rank: number) =>
      gpu.tensor(Float32Array.of(value), Array<number>(rank).fill(1));
    const state = { c: one(5, 4), n: one(1, 3), m: one(-Infinity, 2) };
    const step = (i: number, f: number) =>
      mlstmStep(state, one(1, 4), one(1, 4), one(3, 4), one(i, 3), one(f, 3), { eps: 0 }).read();
    const read =
      async () => [...await state.c.read(), ...await state.n.read(), ...await state.m.read()];

    assertEquals([...await step(100, 0)], [3]); // what the state held was worth nothing
    assertEquals(await read(), [3, 1, 100]);
    assertEquals([...await step(100, Infinity)], [3]);
    assertEquals(await read(), [6, 2, 100]);
    assertEquals([...await step(-Infinity, -Infinity)], [0]);
    assertEquals(await read(), [0, 0, -Infinity]);
  },
});

Deno.test({
  name: "mlstm() neither reads m with the gate sigmoid nor leaves any",
  ignore,
  async fn() {
    const c = caseOf({ initial: true, options: { gate: "sigmoid" } });
    const inputs = inputsOf(c);
    assert(inputs.state);
    const m = { data: new Float32Array(2).fill(NaN), shape: [1, 2] };
    const { out } = await compute(c, inputs);

    const other = await compute(c, { ...inputs, state: { ...inputs.state, m } });

    assertEquals(other.out, out);
    assertEquals([...other.m], [0, 0]);
  },
});

Deno.test({
  name: "mlstm() returns tensors of the shapes and dtypes that it names, and frees the others",
  ignore,
  async fn() {
    const gpu = theGpu();
    await gpu.submit();
    const before = gpu.memory();
    const shapes = (part: Partial<Case>) =>
      gpu.scope(() => {
        const c = caseOf({ batch: 2, length: 3, heads: [4, 1, 2], ...part });
        const inputs = inputsOf(c);
        const { tensors } = gpu.memory();
        const { out, finalState, ...rest } = call(gpu, c, inputs);
        assert(finalState);
        assertEquals(rest, {});
        assertEquals(gpu.memory().tensors, tensors + 9 + 3 * Number(c.initial));
        return [out, finalState.c, finalState.n, finalState.m]
          .map(({ shape, dtype }) => `${dtype} ${shape}`).join("; ");
      });

    assertEquals(shapes({}), "f32 2,3,4,12; f32 2,2,8,12; f32 2,2,8; f32 2,2");
    const vk = { dtype: "f16", options: { stateLayout: "vk" } } as const;
    assertEquals(shapes(vk), "f16 2,3,4,12; f32 2,2,12,8; f32 2,2,8; f32 2,2");
    assertEquals(shapes({ initial: true }), "f32 2,3,4,12; f32 2,2,8,12; f32 2,2,8; f32 2,2");
    gpu.scope(() => {
      const { q, k, v, i, f } = inputsOf(caseOf({}));
      const [a, b, c, d, e] = [q, k, v, i, f].map((tensor) => upload(gpu, tensor));
      assertEquals(Object.keys(mlstm(a, b, c, d, e)), ["out"]);
    });
    await gpu.submit();
    const { bytes, tensors } = gpu.memory();
    assertEquals([bytes, tensors], [before.bytes, before.tensors]);
  },
});

Deno.test({
  name: "mlstm() records into an encoder of the caller's, whatever is submitted meanwhile",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    for (const initial of [true, false]) {
      const c = caseOf({ ...PACKED, initial, options: CHUNK });
      const inputs = inputsOf(c);
      const expected = await compute(c, inputs, gpu);
      const encoder = gpu.device.createCommandEncoder();

      const { out, finalState } = gpu.record(encoder, () => call(gpu, c, inputs));
      await compute(c, inputs, gpu);
      gpu.device.queue.submit([encoder.finish()]);

      assertEquals(await out.read(), expected.out);
      assertEquals(await finalState?.m.read(), expected.m);
    }
  },
});
