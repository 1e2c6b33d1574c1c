import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type Gpu,
  mlstm,
  type MlstmOptions,
  type MlstmState,
  mlstmStep,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu();

/** The device that these tests share. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return theGpu().tensor(new data(size), shape) as Tensor<"f32">;
}

type Rows = Tensor<"f32">;
type Arguments = [q: Rows, k: Rows, v: Rows, i: Rows, f: Rows, options: MlstmOptions];
type Refusal = readonly [typeof TypeError | typeof RangeError, string];

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  change: (given: Arguments) => readonly unknown[],
  [kind, rule]: Refusal,
): void {
  Deno.test({
    name: `mlstm() throws when ${when}`,
    ignore,
    fn() {
      const gpu = theGpu();
      gpu.scope(() => {
        const rows = [[2, 6, 2, 8], [2, 6, 2, 8], [2, 6, 4, 3], [2, 6, 4], [2, 6, 4]];
        const [q, k, v, i, f] = rows.map((shape) => zeros(shape));
        const changed = change([q, k, v, i, f, {}]);
        const before = gpu.memory();
        const called = mlstm as (...values: unknown[]) => unknown;
        const error = assertThrows(() => called(...changed), kind);

        assertEquals(error.message, `Cannot compute an mLSTM as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(gpu.memory(), before);
      });
    },
  });
}

/** A refusal of options. */
function testOption(when: string, make: () => object, refusal: Refusal): void {
  testRefusal(when, ([q, k, v, i, f]) => [q, k, v, i, f, make()], refusal);
}

/** A state that is accepted, with changes. */
function stateOf(changes: Partial<Record<keyof MlstmState, unknown>> = {}): object {
  const state = { c: zeros([2, 4, 8, 3]), n: zeros([2, 4, 8]), m: zeros([2, 4]) };
  return { initialState: { ...state, ...changes } };
}

testRefusal("k is no tensor", ([q, , ...others]) => [q, 3, ...others], [
  TypeError,
  "k must be a Tensor: k is 3",
]);
testRefusal("i is missing", ([q, k, v]) => [q, k, v], [
  TypeError,
  "i must be a Tensor: i is undefined",
]);
testRefusal("f is missing", ([q, k, v, i]) => [q, k, v, i], [
  TypeError,
  "f must be a Tensor: f is undefined",
]);
testRefusal("q has too few axes", ([, ...others]) => [zeros([6, 2, 8]), ...others], [
  TypeError,
  "q must have 4 axes [B, T, heads, dim]: q is [6,2,8]",
]);
testRefusal(
  "q and k differ in key dim",
  ([q, , ...others]) => [q, zeros([2, 6, 2, 4]), ...others],
  [
    TypeError,
    "q and k must share a key dim: current values are q=8, k=4",
  ],
);
testRefusal(
  "k has another dtype",
  ([q, , ...others]) => [q, zeros([2, 6, 2, 8], "f16"), ...others],
  [
    TypeError,
    "q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32",
  ],
);
testRefusal("heads are no multiples", ([, ...others]) => [zeros([2, 6, 3, 8]), ...others], [
  TypeError,
  "the heads of v must be a multiple of those of k, and those of q and v one of the other: current heads are q=3, k=2, v=4",
]);
testRefusal("i has the heads of k", ([q, k, v, , f]) => [q, k, v, zeros([2, 6, 2]), f], [
  TypeError,
  "i must be [2,6,4]: i is [2,6,2]",
]);
testRefusal("f has another length", ([q, k, v, i]) => [q, k, v, i, zeros([2, 5, 4])], [
  TypeError,
  "f must be [2,6,4]: f is [2,5,4]",
]);
testRefusal("f is of integers", ([q, k, v, i]) => [q, k, v, i, zeros([2, 6, 4], "i32")], [
  TypeError,
  "f must be f32 or f16: f is i32",
]);
testOption("an option is unknown", () => ({ gated: "exp" }), [
  TypeError,
  'options must be known: "gated" is not, the nearest is "gate"',
]);
testOption("normalize is given", () => ({ normalize: true }), [
  TypeError,
  'options must be known: "normalize" is not, the nearest is "scale"',
]);
testOption("gate is unknown", () => ({ gate: "tanh" }), [
  RangeError,
  "gate must be one of exp, sigmoid: gate is tanh",
]);
testOption("eps is negative", () => ({ eps: -1 }), [
  RangeError,
  "eps must be a finite f32 >= 0: eps is -1",
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
  "initialState must be a record { c, n, m }: initialState is Tensor",
]);
testOption("the state is null", () => ({ initialState: null }), [
  TypeError,
  "initialState must be a record { c, n, m }: initialState is null",
]);
testOption("the state lacks m", () => stateOf({ m: undefined }), [
  TypeError,
  "initialState.m must be a Tensor: initialState.m is undefined",
]);
testOption("c is f16", () => stateOf({ c: zeros([2, 4, 8, 3], "f16") }), [
  TypeError,
  "initialState.c must be f32: initialState.c is f16",
]);
testOption("c has another layout", () => ({ ...stateOf(), stateLayout: "vk" }), [
  TypeError,
  "initialState.c must be [2,4,3,8]: initialState.c is [2,4,8,3]",
]);
testOption("n has the key heads", () => stateOf({ n: zeros([2, 2, 8]) }), [
  TypeError,
  "initialState.n must be [2,4,8]: initialState.n is [2,2,8]",
]);
testOption("m has channels", () => stateOf({ m: zeros([2, 4, 1]) }), [
  TypeError,
  "initialState.m must be [2,4]: initialState.m is [2,4,1]",
]);

Deno.test({
  name: "mlstm() throws when a tensor lives elsewhere, was disposed, or cannot be copied",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    theGpu().scope(() => {
      const [x, v, g] = [zeros([1, 2, 1, 8]), zeros([1, 2, 1, 3]), zeros([1, 2, 1])];
      const [c, n, m] = [zeros([1, 1, 8, 3]), zeros([1, 1, 8]), zeros([1, 1])];
      const refuse = (message: string, i: Rows, initialState: MlstmState) => {
        const error = assertThrows(() => mlstm(x, x, v, i, g, { initialState }), TypeError);
        assertEquals(error.message, `Cannot compute an mLSTM as ${message}`);
      };
      refuse(
        "tensors must share a device: i lives on another device than q",
        gpu.tensor(new Float32Array(2), [1, 2, 1]),
        { c, n, m },
      );
      refuse(
        "tensors must share a device: initialState.m lives on another device than q",
        g,
        { c, n, m: gpu.tensor(new Float32Array(1), [1, 1]) },
      );
      const buffer = theGpu().device.createBuffer({ size: 96, usage: GPUBufferUsage.STORAGE });
      const bare = (shape: number[]) => theGpu().wrap(buffer, shape, "f32");
      refuse("the buffer of initialState.c must have COPY_SRC usage: it has not", g, {
        ...{ c: bare([1, 1, 8, 3]), n, m },
      });
      refuse("the buffer of initialState.n must have COPY_SRC usage: it has not", g, {
        ...{ c, n: bare([1, 1, 8]), m },
      });
      buffer.destroy();
      n.dispose();
      refuse("initialState.n must be live: initialState.n [1,1,8] was disposed", g, { c, n, m });
    });
  },
});

Deno.test({
  name: "mlstmStep() throws without a state, and for options of sequences",
  ignore,
  fn() {
    theGpu().scope(() => {
      const [x, g] = [zeros([1, 1, 1, 8]), zeros([1, 1, 1])];
      const state = { c: zeros([1, 1, 8, 8]), n: zeros([1, 1, 8]), m: zeros([1, 1]) };
      const step = mlstmStep as (...values: unknown[]) => unknown;

      assertEquals(
        [
          assertThrows(() => step(undefined, x, x, x, g, g), TypeError),
          assertThrows(() => step(state.c, x, x, x, g, g), TypeError),
          assertThrows(() => step(state, x, x, x, g, g, { reverse: true }), TypeError),
        ].map(({ message }) => message),
        [
          "Cannot compute an mLSTM as a step needs a state: state is undefined",
          "Cannot compute an mLSTM as state must be a record { c, n, m }: state is Tensor",
          'Cannot compute an mLSTM as options must be known: "reverse" is not, the nearest is "eps"',
        ],
      );
    });
  },
});

Deno.test({
  name: "mlstmStep() changes no state where it is refused",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const one = (rank: number) => gpu.tensor(Float32Array.of(1), Array<number>(rank).fill(1));
    const state = { c: one(4), n: one(3), m: one(2) };
    const [x, g] = [one(4), one(3)];

    assertThrows(
      () => mlstmStep(state, x, x, x, g, g, { schedule: "fast" }),
      RangeError,
      'Cannot plan a recurrence as schedule must fit the problem and the device: "fast" is not among ',
    );
    const { c, n, m } = state;
    assertEquals([...await c.read(), ...await n.read(), ...await m.read()], [1, 1, 1]);
  },
});
