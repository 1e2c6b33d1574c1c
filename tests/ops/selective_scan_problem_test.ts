import { assert, assertEquals, assertThrows } from "@std/assert";
import { requestGpu, selectiveScan, selectiveScanStep, type Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu();

/** The device of these tests. */
function gpu() {
  assert(shared !== null);
  return shared;
}

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return gpu().tensor(new data(size), shape);
}

/** Arguments that are accepted: 2 batch entries of 6 tokens, 3 channels of 5 states. */
const accepted = () => ({
  ...{ u: zeros([2, 6, 3]), delta: zeros([2, 6, 3]), a: zeros([3, 5]) },
  ...{ b: zeros([2, 6, 5]), c: zeros([2, 6, 5]) },
});

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  make: () => object,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
  operator: typeof selectiveScan | typeof selectiveScanStep = selectiveScan,
): void {
  Deno.test({
    name: `${operator.name}() throws when ${when}`,
    ignore,
    fn() {
      const unchecked = operator as (...values: unknown[]) => unknown;
      gpu().scope(() => {
        const given = { ...accepted(), options: {}, ...make() } as Record<string, unknown>;
        const { state, u, delta, a, b, c, options } = given;
        const states = operator === selectiveScan ? [] : [state];
        const before = gpu().memory();
        const error = assertThrows(() => unchecked(...states, u, delta, a, b, c, options), kind);

        assertEquals(error.message, rule);
        assertEquals(error.constructor, kind);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const withOptions = (make: () => object) => () => ({ options: make() });
const SCAN = "Cannot compute a selective scan as";

testRefusal("u is an array", () => ({ u: new Float32Array(36) }), [
  TypeError,
  `${SCAN} u must be a Tensor: u is Float32Array`,
]);
testRefusal("u has two axes", () => ({ u: zeros([6, 3]) }), [
  TypeError,
  `${SCAN} u must have 3 axes [B, T, C]: u is [6,3]`,
]);
testRefusal("a has one axis", () => ({ a: zeros([3]) }), [
  TypeError,
  `${SCAN} a must have 2 axes [C, N]: a is [3]`,
]);
testRefusal("delta has a row for each token only", () => ({ delta: zeros([2, 6, 1]) }), [
  TypeError,
  `${SCAN} delta must be [2,6,3]: delta is [2,6,1]`,
]);
testRefusal("a has other channels than u", () => ({ a: zeros([4, 5]) }), [
  TypeError,
  `${SCAN} a must be [3,5]: a is [4,5]`,
]);
testRefusal("b has other states than a", () => ({ b: zeros([2, 6, 4]) }), [
  TypeError,
  `${SCAN} b must be [2,6,5]: b is [2,6,4]`,
]);
testRefusal("c has another length than u", () => ({ c: zeros([2, 5, 5]) }), [
  TypeError,
  `${SCAN} c must be [2,6,5]: c is [2,5,5]`,
]);
testRefusal("there is no channel", () => ({ u: zeros([2, 6, 0]), a: zeros([0, 5]) }), [
  RangeError,
  `${SCAN} there must be at least one channel, of 1 to 64 states: current numbers are 0 and 5`,
]);
testRefusal("a channel has no state", () => ({ a: zeros([3, 0]) }), [
  RangeError,
  `${SCAN} there must be at least one channel, of 1 to 64 states: current numbers are 3 and 0`,
]);
testRefusal("a channel has more than 64 states", () => ({ a: zeros([3, 65]) }), [
  RangeError,
  `${SCAN} there must be at least one channel, of 1 to 64 states: current numbers are 3 and 65`,
]);
testRefusal("delta holds integers", () => ({ delta: zeros([2, 6, 3], "i32") }), [
  TypeError,
  `${SCAN} delta must be f32 or f16: delta is i32`,
]);
testRefusal("d has a batch axis", withOptions(() => ({ d: zeros([1, 3]) })), [
  TypeError,
  `${SCAN} d must be [3]: d is [1,3]`,
]);
testRefusal("z has other channels than u", withOptions(() => ({ z: zeros([2, 6, 4]) })), [
  TypeError,
  `${SCAN} z must be [2,6,3]: z is [2,6,4]`,
]);
testRefusal("deltaBias holds integers", withOptions(() => ({ deltaBias: zeros([3], "i32") })), [
  TypeError,
  `${SCAN} deltaBias must be f32 or f16: deltaBias is i32`,
]);
testRefusal("deltaSoftplus is a number", withOptions(() => ({ deltaSoftplus: 1 })), [
  TypeError,
  `${SCAN} deltaSoftplus must be true or false: deltaSoftplus is 1`,
]);
testRefusal("an option is unknown", withOptions(() => ({ softplus: true })), [
  TypeError,
  `${SCAN} options must be known: "softplus" is not, the nearest is "deltaSoftplus"`,
]);
testRefusal("initialState is f16", withOptions(() => ({ initialState: zeros([2, 3, 5], "f16") })), [
  TypeError,
  `${SCAN} initialState must be f32: initialState is f16`,
]);
testRefusal(
  "initialState lacks a sequence",
  withOptions(() => ({ initialState: zeros([1, 3, 5]) })),
  [TypeError, `${SCAN} initialState must be [2,3,5]: initialState is [1,3,5]`],
);
testRefusal("mode is unknown", withOptions(() => ({ mode: "parallel" })), [
  RangeError,
  `${SCAN} mode must be one of auto, chunk, loop: mode is parallel`,
]);
testRefusal("chunkSize is no power of two", withOptions(() => ({ chunkSize: 48 })), [
  RangeError,
  `${SCAN} chunkSize must be one of 16, 32, 64, 128, 256: chunkSize is 48`,
]);
testRefusal("schedule is an object", withOptions(() => ({ schedule: {} })), [
  TypeError,
  `${SCAN} schedule must be a name: schedule is Object`,
]);
testRefusal(
  "cuSeqlens comes with a batch of 2",
  withOptions(() => ({ cuSeqlens: zeros([3], "i32") })),
  [
    TypeError,
    `${SCAN} cuSeqlens needs a batch of 1: current batch is 2`,
  ],
);
testRefusal("u was disposed", () => {
  const u = zeros([2, 6, 3]);
  u.dispose();
  return { u };
}, [TypeError, `${SCAN} u must be live: u [2,6,3] was disposed`]);
testRefusal("there is no state", () => ({}), [
  TypeError,
  `${SCAN} a step needs a state: state is undefined`,
], selectiveScanStep);
testRefusal("the state has other channels than u", () => ({ state: zeros([2, 4, 5]) }), [
  TypeError,
  `${SCAN} initialState must be [2,3,5]: initialState is [2,4,5]`,
], selectiveScanStep);
testRefusal("it is given an initialState", () => ({
  ...{ state: zeros([2, 3, 5]), options: { initialState: zeros([2, 3, 5]) } },
}), [
  TypeError,
  `${SCAN} options must be known: "initialState" is not, the nearest is "deltaBias"`,
], selectiveScanStep);

Deno.test({
  name: "selectiveScan() throws when a schedule does not fit, and names those that do",
  ignore,
  fn() {
    gpu().scope(() => {
      const { u, delta, a, b, c } = accepted() as Record<string, Tensor<"f32">>;
      const error = assertThrows(
        () => selectiveScan(u, delta, a, b, c, { schedule: "fast" }),
        RangeError,
      );

      assert(
        error.message.startsWith(
          'Cannot plan a selective scan as schedule must fit the problem and the device: "fast" is not among ',
        ) && error.message.endsWith(", naive"),
        error.message,
      );
    });
  },
});
