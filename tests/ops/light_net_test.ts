import { assert, assertEquals, assertThrows } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  lightNet,
  type LightNetOptions,
  type LightNetResult,
  type LightNetState,
  lightNetStep,
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

/** A problem; one sequence of 37 tokens with two heads of 8 key and 12 value channels by default. */
interface Case {
  readonly batch: number;
  readonly length: number;
  /** HQ, HK and HV. */
  readonly heads: readonly [number, number, number];
  readonly dims: readonly [keyDim: number, valueDim: number];
  readonly dtype: "f32" | "f16";
  /** The keys of token t. */
  readonly key: (random: Random, t: number) => number;
  /** Whether sequences start from states. */
  readonly initial: boolean;
  readonly cuSeqlens?: readonly number[];
  readonly options: LightNetOptions;
}

type Inputs = Readonly<Record<"q" | "k" | "v", HostTensor>> & {
  readonly state?: { readonly s: HostTensor; readonly z: HostTensor };
};

const LOOP: LightNetOptions = { mode: "loop" };
const CHUNK: LightNetOptions = { mode: "chunk", chunkSize: 16 };
const WAYS: Readonly<Record<string, LightNetOptions>> = {
  ...{ loop: LOOP, chunk: CHUNK, naive: { schedule: "naive" } },
  workgroup: { schedule: "workgroup", mode: "chunk", chunkSize: 16 },
};

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 1, length: 37, heads: [2, 2, 2], dims: [8, 12], dtype: "f32", initial: false },
    ...{ key: (random) => random.normal(), options: {} },
    ...part,
  };
}

function inputsOf(c: Case): Inputs {
  const random = new Random(9);
  const [qHeads, kHeads, heads] = c.heads;
  const [keyDim, valueDim] = c.dims;
  const normal = () => random.normal();
  const rows = [c.batch, c.length];
  const sequences = c.cuSeqlens ? c.cuSeqlens.length - 1 : c.batch;
  let element = 0;
  const key = () => c.key(random, Math.floor(element++ / (kHeads * keyDim)) % c.length);
  const axes = c.options.stateLayout === "vk" ? [valueDim, keyDim] : [keyDim, valueDim];
  return {
    q: hostTensor(c.dtype, [...rows, qHeads, keyDim], normal),
    k: hostTensor(c.dtype, [...rows, kHeads, keyDim], key),
    v: hostTensor(c.dtype, [...rows, heads, valueDim], normal),
    ...(c.initial && {
      state: {
        s: hostTensor("f32", [sequences, heads, ...axes], normal),
        z: hostTensor("f32", [sequences, kHeads, keyDim], normal),
      },
    }),
  };
}

function upload(gpu: Gpu, { data, shape }: HostTensor): Tensor<"f32"> {
  return gpu.tensor(data, shape) as Tensor<"f32">;
}

/** Uploads and calls, with the final state. */
function call(gpu: Gpu, c: Case, { q, k, v, state }: Inputs): LightNetResult<"f32"> {
  const { cuSeqlens } = c;
  return lightNet(upload(gpu, q), upload(gpu, k), upload(gpu, v), {
    ...{ ...c.options, finalState: true },
    ...(cuSeqlens && { cuSeqlens: gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]) }),
    ...(state && { initialState: { s: upload(gpu, state.s), z: upload(gpu, state.z) } }),
  });
}

type Outputs = Readonly<Record<"out" | "s" | "z", Float32Array>>;

/** Uploads, computes, reads and frees. */
async function compute(c: Case, inputs: Inputs, gpu: Gpu = theGpu()): Promise<Outputs> {
  const { out, finalState } = gpu.scope(() => call(gpu, c, inputs));
  assert(finalState);
  const { s, z } = finalState;
  const read = { out: await out.read(), s: await s.read(), z: await z.read() };
  [out, s, z].forEach((tensor) => tensor.dispose());
  return read;
}

/** Computes in float64. */
function expectedOf(c: Case, { q, k, v, state }: Inputs): Record<string, ArrayLike<number>> {
  const { cuSeqlens } = c;
  const { scale, stateLayout, reverse } = c.options;
  const { out, finalState } = reference.lightNet(q, k, v, {
    ...{ finalState: true, ...(scale && { scale }), ...(reverse && { reverse }) },
    ...(stateLayout && { stateLayout }),
    ...(cuSeqlens && { cuSeqlens: { data: cuSeqlens, shape: [cuSeqlens.length] } }),
    ...(state && { initialState: state }),
  });
  assert(finalState);
  return { out: out.data, s: finalState.s.data, z: finalState.z.data };
}

async function assertMatches(c: Case, gpu: Gpu = theGpu(), ratio = 1e-5): Promise<void> {
  const inputs = inputsOf(c);
  const actual = await compute(c, inputs, gpu);
  for (const [name, data] of Object.entries(expectedOf(c, inputs))) {
    const rounded = c.dtype === "f16" && name !== "z"; // keys and outputs are
    assertClose(name, actual[name as "out"], data, { ratio: rounded ? 1e-3 : ratio });
  }
}

/** Tests that a case agrees with float64, in all ways. */
function testCase(name: string, part: Partial<Case>): void {
  for (const [way, options] of Object.entries(WAYS)) {
    Deno.test({
      name: `lightNet() matches the reference for ${name} (${way})`,
      ignore,
      fn: () => assertMatches(caseOf({ ...part, options: { ...options, ...part.options } })),
    });
  }
}

const PACKED: Partial<Case> = { length: 63, cuSeqlens: [0, 0, 1, 30, 30, 31, 63, 63] };
const masked = (random: Random) => random.next() < 1 / 3 ? -Infinity : random.normal();

testCase("one sequence", {});
testCase("states in and out", { batch: 2, initial: true, options: { scale: 0.3 } });
testCase("packed sequences", PACKED);
testCase("packed sequences from their ends", {
  ...{ ...PACKED, initial: true, options: { reverse: true } },
});
testCase("several state heads for a key head", { heads: [2, 2, 6], initial: true });
testCase("several query heads for a state head", { heads: [6, 1, 2] });
testCase("ragged channels", { heads: [2, 1, 2], dims: [7, 5], initial: true });
testCase("one channel", { heads: [1, 1, 1], dims: [1, 1] });
testCase("states with V before K", { initial: true, options: { stateLayout: "vk" } });
testCase("f16", { dtype: "f16", initial: true });
testCase("f16 of ragged channels", { dtype: "f16", heads: [2, 1, 2], dims: [7, 5] });
testCase("one token", { length: 1, initial: true });
testCase("one token behind nothing", { length: 1 });
testCase("no tokens", { length: 0, initial: true });
testCase("no batch entries", { batch: 0 });
testCase("keys of thousands", { key: (random) => 1e4 * random.normal() });
testCase("keys of 1e4 or -1e4", { key: (random) => random.pick([1e4, -1e4]) });
testCase("keys of thousands behind a state", {
  key: (random) => 1e4 * random.normal(),
  initial: true,
});
testCase("some keys of -Infinity", { key: masked });
testCase("some keys of -Infinity behind states", { ...PACKED, key: masked, initial: true });
testCase("keys of -Infinity at first", {
  key: (random, t) => t < 20 ? -Infinity : random.normal(),
});
testCase("keys of -Infinity alone", { key: () => -Infinity });
testCase("keys of -Infinity alone behind a state", { key: () => -Infinity, initial: true });

for (const [way, options] of Object.entries({ loop: LOOP, chunk: CHUNK })) {
  for (const draw of ["normal", "equal", "rising", "falling", "masked"] as const) {
    const key = {
      ...{ normal: (random: Random) => random.normal(), equal: () => 0.3, masked },
      rising: (_: Random, t: number) => t / 10,
      falling: (_: Random, t: number) => -t / 1e3,
    }[draw];
    Deno.test({
      name: `lightNet() loses nothing over 8192 tokens of ${draw} keys (${way})`,
      ignore,
      fn: () => assertMatches(caseOf({ length: 8192, key, options }), theGpu(), 4e-5),
    });
  }

  Deno.test({
    name: `lightNet() agrees where loops, bindings and grids are short (${way})`,
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
        await assertMatches(caseOf({ ...grouped, options }), small);
        await assertMatches(caseOf({ ...grouped, options: { ...options, reverse: true } }), small);
      }
    },
  });

  Deno.test({
    name: `lightNet() gives the same bits whatever comes later, and again (${way})`,
    ignore,
    async fn() {
      const c = caseOf({ length: 60, options, key: masked });
      const inputs = inputsOf(c);
      const changed = { ...inputs };
      for (const name of ["q", "k", "v"] as const) {
        const { data, shape } = inputs[name];
        changed[name] = { data: data.slice().fill(9, 41 * data.length / 60), shape };
      }
      const { out } = await compute(c, inputs);

      assertEquals(await compute(c, inputs), await compute(c, inputs));
      const kept = 41 * out.length / 60;
      assertEquals((await compute(c, changed)).out.slice(0, kept), out.slice(0, kept));
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

function spanOf({ q, k, v }: Inputs, first: number, end: number): Inputs {
  return { q: span(q, first, end), k: span(k, first, end), v: span(v, first, end) };
}

Deno.test({
  name: "lightNet() goes on from a state at any token as if it had not stopped",
  ignore,
  async fn() {
    const gpu = theGpu();
    for (const key of [(random: Random) => 5 * random.normal(), masked]) {
      const c = caseOf({ length: 33, heads: [2, 1, 2], key });
      const inputs = inputsOf(c);
      const whole = await compute(c, inputs);
      for (let cut = 0; cut <= 33; cut += 3) {
        const { first, rest } = gpu.scope(() => {
          const first = call(gpu, c, spanOf(inputs, 0, cut));
          assert(first.finalState);
          const { q, k, v } = spanOf(inputs, cut, 33);
          const rest = lightNet(upload(gpu, q), upload(gpu, k), upload(gpu, v), {
            ...{ initialState: first.finalState, finalState: true, ...CHUNK },
          });
          return { first, rest };
        });
        assert(rest.finalState);
        const out = [...await first.out.read(), ...await rest.out.read()];
        assertClose(`out cut at ${cut}`, out, whole.out, { ratio: 1e-5 });
        const { s, z } = rest.finalState;
        assertClose(`s cut at ${cut}`, await s.read(), whole.s, { ratio: 1e-5 });
        assertClose(`z cut at ${cut}`, await z.read(), whole.z, { ratio: 1e-5 });
        for (const { out, finalState } of [first, rest]) {
          [out, finalState?.s, finalState?.z].forEach((tensor) => tensor?.dispose());
        }
      }
    }
  },
});

for (const stateLayout of ["kv", "vk"] as const) {
  Deno.test({
    name: `lightNetStep() goes on in place where lightNet() stopped (${stateLayout})`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ poison: true });
      const part = { length: 12, heads: [4, 1, 2], key: masked } as const;
      const c = caseOf({ ...part, options: { stateLayout, scale: 0.3 } });
      const inputs = inputsOf(c);
      const { out, finalState } = call(gpu, c, spanOf(inputs, 0, 7));
      assert(finalState);
      const outs = [...await out.read()];
      for (const [first, end] of [[7, 8], [8, 9], [9, 12]]) {
        const { q, k, v } = spanOf(inputs, first, end);
        const token = [q, k, v].map((x) => upload(gpu, x));
        const step = lightNetStep(finalState, token[0], token[1], token[2], c.options);
        outs.push(...await step.read());
      }
      const wanted = expectedOf(c, inputs);

      assertClose("out", outs, wanted.out, { ratio: 1e-5 });
      assertClose("s", await finalState.s.read(), wanted.s, { ratio: 1e-5 });
      assertClose("z", await finalState.z.read(), wanted.z, { ratio: 1e-5 });
    },
  });
}

Deno.test({
  name: "lightNetStep() begins from a state of no token, and clears what s holds there",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const one = (value: number, rank = 4) => upload(gpu, channel(value, rank));
    const state = { s: one(5), z: one(-Infinity, 3) };

    const kept = await lightNetStep(state, one(2), one(-Infinity), one(3)).read();
    const cleared = await lightNetStep(state, one(2), one(-7), one(3)).read();

    assertEquals([...kept, ...cleared], [10, 6]);
    assertEquals([...await state.s.read(), ...await state.z.read()], [3, -7]);
  },
});

/** One number. */
function channel(value: number, rank: number): HostTensor {
  return { data: Float32Array.of(value), shape: Array(rank).fill(1) };
}

Deno.test({
  name: "lightNet() returns tensors of the shapes and dtypes that it names, and frees the others",
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
        assertEquals(gpu.memory().tensors, tensors + 6 + 2 * Number(c.initial));
        return [out, finalState.s, finalState.z]
          .map(({ shape, dtype }) => `${dtype} ${shape}`).join("; ");
      });

    assertEquals(shapes({}), "f32 2,3,4,12; f32 2,2,8,12; f32 2,1,8");
    const vk = { stateLayout: "vk" } as const;
    assertEquals(shapes({ dtype: "f16", options: vk }), "f16 2,3,4,12; f32 2,2,12,8; f32 2,1,8");
    assertEquals(shapes({ initial: true }), "f32 2,3,4,12; f32 2,2,8,12; f32 2,1,8");
    gpu.scope(() => {
      const [x, y] = [[1, 2, 1, 8], [1, 2, 1, 12]].map((shape) =>
        gpu.tensor(new Float32Array(shape[3] * 2), shape)
      );
      assertEquals(Object.keys(lightNet(x, x, y)), ["out"]);
    });
    await gpu.submit();
    const { bytes, tensors } = gpu.memory();
    assertEquals([bytes, tensors], [before.bytes, before.tensors]);
  },
});

Deno.test({
  name: "lightNet() records into an encoder of the caller's, whatever is submitted meanwhile",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const c = caseOf({ ...PACKED, initial: true, options: CHUNK });
    const inputs = inputsOf(c);
    const expected = await compute(c, inputs, gpu);
    const encoder = gpu.device.createCommandEncoder();

    const { out, finalState } = gpu.record(encoder, () => call(gpu, c, inputs));
    await compute(c, inputs, gpu);
    gpu.device.queue.submit([encoder.finish()]);

    assertEquals(await out.read(), expected.out);
    assertEquals(await finalState?.z.read(), expected.z);
  },
});

Deno.test({
  name: "lightNetStep() changes no state where it is refused",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const one = (rank = 4) => upload(gpu, channel(1, rank));
    const state = { s: one(), z: one(3) };

    assertThrows(
      () => lightNetStep(state, one(), one(), one(), { schedule: "fast" }),
      RangeError,
      'Cannot plan a recurrence as schedule must fit the problem and the device: "fast" is not among ',
    );
    assertEquals([...await state.s.read(), ...await state.z.read()], [1, 1]);
  },
});

type Arguments = [Tensor<"f32">, Tensor<"f32">, Tensor<"f32">, LightNetOptions];

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  change: (given: Arguments) => readonly unknown[],
  [kind, rule]: readonly [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `lightNet() throws when ${when}`,
    ignore,
    fn() {
      const gpu = theGpu();
      gpu.scope(() => {
        const given: Arguments = [
          zeros([2, 6, 2, 8]),
          zeros([2, 6, 2, 8]),
          zeros([2, 6, 4, 3]),
          {},
        ];
        const changed = change(given);
        const before = gpu.memory();
        const called = lightNet as (...values: unknown[]) => unknown;
        const error = assertThrows(() => called(...changed), kind);

        assertEquals(error.message, `Cannot compute LightNet as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(gpu.memory(), before);
      });
    },
  });
}

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return theGpu().tensor(new data(size), shape) as Tensor<"f32">;
}

/** A refusal of options. */
function testOption(
  when: string,
  make: () => object,
  refusal: readonly [typeof TypeError | typeof RangeError, string],
): void {
  testRefusal(when, ([q, k, v]) => [q, k, v, make()], refusal);
}

/** A state that is accepted, with changes. */
function stateOf(changes: Partial<Record<keyof LightNetState, unknown>> = {}): object {
  return { initialState: { s: zeros([2, 4, 8, 3]), z: zeros([2, 2, 8]), ...changes } };
}

testRefusal("k is no tensor", ([q, , v]) => [q, 3, v], [
  TypeError,
  "k must be a Tensor: k is 3",
]);
testRefusal("q has too few axes", ([, k, v]) => [zeros([6, 2, 8]), k, v], [
  TypeError,
  "q must have 4 axes [B, T, heads, dim]: q is [6,2,8]",
]);
testRefusal("q and k differ in key dim", ([q, , v]) => [q, zeros([2, 6, 2, 4]), v], [
  TypeError,
  "q and k must share a key dim: current values are q=8, k=4",
]);
testRefusal("k has another dtype", ([q, , v]) => [q, zeros([2, 6, 2, 8], "f16"), v], [
  TypeError,
  "q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32",
]);
testRefusal("heads are no multiples", ([q, , v]) => [q, zeros([2, 6, 3, 8]), v], [
  TypeError,
  "the heads of v must be a multiple of those of k, and those of q and v one of the other: current heads are q=2, k=3, v=4",
]);
testOption("an option is unknown", () => ({ normalise: true }), [
  TypeError,
  'options must be known: "normalise" is not, the nearest is "scale"',
]);
testOption("gates are given", () => ({ g: zeros([4]) }), [
  TypeError,
  'options must be known: "g" is not, the nearest is "mode"',
]);
testOption("scale is infinite", () => ({ scale: Infinity }), [
  RangeError,
  "scale must be a finite f32: scale is Infinity",
]);
testOption("finalState is no boolean", () => ({ finalState: 1 }), [
  TypeError,
  "finalState must be true or false: finalState is 1",
]);
testOption("mode is unknown", () => ({ mode: "fast" }), [
  RangeError,
  "mode must be one of auto, chunk, loop: mode is fast",
]);
testOption("chunkSize is none of the sizes", () => ({ chunkSize: 48 }), [
  RangeError,
  "chunkSize must be one of 16, 32, 64: chunkSize is 48",
]);
testOption("stateLayout is unknown", () => ({ stateLayout: "vv" }), [
  RangeError,
  "stateLayout must be one of kv, vk: stateLayout is vv",
]);
testOption("cuSeqlens comes with a batch", () => ({ cuSeqlens: zeros([2], "i32") }), [
  TypeError,
  "cuSeqlens needs a batch of 1: current batch is 2",
]);
testOption("the state is one tensor", () => ({ initialState: zeros([2, 4, 8, 3]) }), [
  TypeError,
  "initialState must be a record { s, z }: initialState is Tensor",
]);
testOption("the state is null", () => ({ initialState: null }), [
  TypeError,
  "initialState must be a record { s, z }: initialState is null",
]);
testOption("the state lacks z", () => stateOf({ z: undefined }), [
  TypeError,
  "initialState.z must be a Tensor: initialState.z is undefined",
]);
testOption("s is f16", () => stateOf({ s: zeros([2, 4, 8, 3], "f16") }), [
  TypeError,
  "initialState.s must be f32: initialState.s is f16",
]);
testOption("s has another layout", () => ({ ...stateOf(), stateLayout: "vk" }), [
  TypeError,
  "initialState.s must be [2,4,3,8]: initialState.s is [2,4,8,3]",
]);
testOption("z has the state heads", () => stateOf({ z: zeros([2, 4, 8]) }), [
  TypeError,
  "initialState.z must be [2,2,8]: initialState.z is [2,4,8]",
]);

Deno.test({
  name: "lightNet() throws when a tensor lives elsewhere, was disposed, or cannot be copied",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    theGpu().scope(() => {
      const [x, v] = [zeros([1, 2, 1, 8]), zeros([1, 2, 1, 3])];
      const [s, z] = [zeros([1, 1, 8, 3]), zeros([1, 1, 8])];
      const refuse = (message: string, initialState: LightNetState) => {
        const error = assertThrows(() => lightNet(x, x, v, { initialState }), TypeError);
        assertEquals(error.message, message);
      };
      refuse(
        "Cannot compute LightNet as tensors must share a device: initialState.z lives on another device than q",
        { s, z: gpu.tensor(new Float32Array(8), [1, 1, 8]) },
      );
      const buffer = theGpu().device.createBuffer({ size: 96, usage: GPUBufferUsage.STORAGE });
      refuse(
        "Cannot compute LightNet as the buffer of initialState.s must have COPY_SRC usage: it has not",
        { s: theGpu().wrap(buffer, [1, 1, 8, 3], "f32"), z },
      );
      buffer.destroy();
      z.dispose();
      refuse(
        "Cannot compute LightNet as initialState.z must be live: initialState.z [1,1,8] was disposed",
        { s, z },
      );
    });
  },
});

Deno.test({
  name: "lightNetStep() throws without a state, and for options of sequences",
  ignore,
  fn() {
    theGpu().scope(() => {
      const x = zeros([1, 1, 1, 8]);
      const state = { s: zeros([1, 1, 8, 8]), z: zeros([1, 1, 8]) };
      const step = lightNetStep as (...values: unknown[]) => unknown;

      assertEquals(
        [
          assertThrows(() => step(undefined, x, x, x), TypeError),
          assertThrows(() => step(state.s, x, x, x), TypeError),
          assertThrows(() => step(state, x, x, x, { reverse: true }), TypeError),
        ].map(({ message }) => message),
        [
          "Cannot compute LightNet as a step needs a state: state is undefined",
          "Cannot compute LightNet as state must be a record { s, z }: state is Tensor",
          'Cannot compute LightNet as options must be known: "reverse" is not, the nearest is "scale"',
        ],
      );
    });
  },
});
