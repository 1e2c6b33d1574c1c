import { assert, assertEquals, assertThrows } from "@std/assert";
import { hgrn, logCumsumExp, requestGpu, scan, softmaxScan, type Tensor } from "../../mod.ts";
import { scanProblem, softmaxScanProblem } from "../../ops/scan/problem.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu();

/** The device of these tests. */
function gpu() {
  assert(shared !== null);
  return shared;
}

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return gpu().tensor(new data(size), shape) as Tensor<"f32">;
}

/** Sequence bounds that plans can read. */
function bounds(...values: number[]): Tensor<"i32"> {
  return gpu().tensor(Int32Array.from(values), [values.length]);
}

/** The operators, what they do in messages, and arguments that they accept. */
const OPERATORS = {
  scan: [scan, "compute a scan", () => ({ a: zeros([2, 6, 3]), b: zeros([2, 6, 3]) })],
  hgrn: [hgrn, "compute HGRN", () => ({ x: zeros([2, 6, 3]), g: zeros([2, 6, 3]) })],
  logCumsumExp: [
    logCumsumExp,
    "compute running log-sum-exps",
    () => ({ x: zeros([2, 6, 3]) }),
  ],
  softmaxScan: [
    softmaxScan,
    "compute a softmax scan",
    () => ({ s: zeros([2, 6, 3]), v: zeros([2, 6, 3, 4]) }),
  ],
} as const;

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  operator: keyof typeof OPERATORS,
  when: string,
  make: () => object,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `${operator}() throws when ${when}`,
    ignore,
    fn() {
      const [called, action, accepted] = OPERATORS[operator];
      const unchecked = called as (...values: unknown[]) => unknown;
      gpu().scope(() => {
        const { options = {}, ...tensors } = { ...accepted(), ...make() } as Record<
          string,
          unknown
        >;
        const before = gpu().memory();
        const error = assertThrows(() => unchecked(...Object.values(tensors), options), kind);

        assertEquals(error.message, `Cannot ${action} as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const withOptions = (make: () => object) => () => ({ options: make() });

Deno.test({
  name: "scanProblem() takes all axes behind the time as channels",
  ignore,
  fn() {
    gpu().scope(() => {
      const [a, b] = [zeros([1, 6, 2, 5], "f16"), zeros([1, 6, 2, 5])];
      const options = {
        cuSeqlens: bounds(0, 4, 6),
        finalState: true,
        initialState: zeros([2, 2, 5]),
      };

      assertEquals(scanProblem(a, b, options).problem, {
        ...{ kind: "scan", batch: 1, length: 6, heads: 1, width: 10 },
        ...{ elem: "f32", weightElem: "f16", initial: true, final: true, reverse: false },
        ...{ bounds: [0, 4, 6], mode: "auto", chunkSize: null, gateRows: null },
      });
      assertEquals(scanProblem(zeros([2, 6]), zeros([2, 6]), {}).problem.width, 1);
    });
  },
});

Deno.test({
  name: "softmaxScanProblem() keeps heads and values apart",
  ignore,
  fn() {
    gpu().scope(() => {
      const options = { mode: "chunk", chunkSize: 256, reverse: true } as const;

      const { problem } = softmaxScanProblem(zeros([2, 6, 3]), zeros([2, 6, 3, 4], "f16"), options);

      assertEquals(problem, {
        ...{ kind: "softmaxScan", batch: 2, length: 6, heads: 3, width: 4 },
        ...{ elem: "f16", weightElem: "f32", initial: false, final: false, reverse: true },
        ...{ bounds: [0, 6, 12], mode: "chunk", chunkSize: 256, gateRows: null },
      });
    });
  },
});

testRefusal("scan", "an argument is no tensor", () => ({ a: 3 }), [
  TypeError,
  "a must be a Tensor: a is 3",
]);
testRefusal("scan", "cuSeqlens is null", () => ({ options: { cuSeqlens: null as never } }), [
  TypeError,
  "cuSeqlens must be a Tensor: cuSeqlens is null",
]);
testRefusal("softmaxScan", "v is missing", () => ({ v: undefined }), [
  TypeError,
  "v must be a Tensor: v is undefined",
]);
testRefusal("scan", "a has no time", () => ({ a: zeros([6]) }), [
  TypeError,
  "a must have the axes [B, T, ...] with at least one channel: a is [6]",
]);
testRefusal("logCumsumExp", "x has no channel", () => ({ x: zeros([1, 6, 0]) }), [
  TypeError,
  "x must have the axes [B, T, ...] with at least one channel: x is [1,6,0]",
]);
testRefusal("scan", "a and b differ in shape", () => ({ b: zeros([2, 6, 1, 3]) }), [
  TypeError,
  "b must be [2,6,3]: b is [2,6,1,3]",
]);
testRefusal("scan", "a holds integers", () => ({ a: zeros([2, 6, 3], "i32") }), [
  TypeError,
  "a must be f32 or f16: a is i32",
]);
testRefusal("softmaxScan", "s and v differ in heads", () => ({ s: zeros([2, 6, 1]) }), [
  TypeError,
  "s must be [2,6,3]: s is [2,6,1]",
]);
testRefusal("softmaxScan", "v has too few axes", () => ({ v: zeros([2, 6, 3]) }), [
  TypeError,
  "v must have 4 axes [B, T, H, V]: v is [2,6,3]",
]);
testRefusal("logCumsumExp", "an option is unknown", withOptions(() => ({ chunksize: 16 })), [
  TypeError,
  'options must be known: "chunksize" is not, the nearest is "chunkSize"',
]);
testRefusal("scan", "finalState is no boolean", withOptions(() => ({ finalState: 1 })), [
  TypeError,
  "finalState must be true or false: finalState is 1",
]);
testRefusal("scan", "reverse is no boolean", withOptions(() => ({ reverse: "no" })), [
  TypeError,
  "reverse must be true or false: reverse is no",
]);
testRefusal("scan", "mode is unknown", withOptions(() => ({ mode: "fast" })), [
  RangeError,
  "mode must be one of auto, chunk, loop: mode is fast",
]);
testRefusal("scan", "chunkSize is none of the sizes", withOptions(() => ({ chunkSize: 48 })), [
  RangeError,
  "chunkSize must be one of 16, 32, 64, 128, 256: chunkSize is 48",
]);
testRefusal(
  "scan",
  "the state has another shape",
  withOptions(() => ({ initialState: zeros([1, 3]) })),
  [TypeError, "initialState must be [2,3]: initialState is [1,3]"],
);
testRefusal(
  "logCumsumExp",
  "the state is f16",
  withOptions(() => ({ initialState: zeros([2, 3], "f16") })),
  [TypeError, "initialState must be f32: initialState is f16"],
);
testRefusal(
  "softmaxScan",
  "the state is one tensor",
  withOptions(() => ({ initialState: zeros([2, 3]) })),
  [TypeError, "initialState must be a record { m, u, w }: initialState is Tensor"],
);
testRefusal(
  "softmaxScan",
  "the state lacks a part",
  withOptions(() => ({ initialState: { m: zeros([2, 3]), u: zeros([2, 3]) } })),
  [TypeError, "initialState.w must be a Tensor: initialState.w is undefined"],
);
testRefusal(
  "softmaxScan",
  "a part of the state has another shape",
  withOptions(() => ({
    initialState: { m: zeros([2, 3]), u: zeros([2, 3, 4]), w: zeros([2, 3, 4]) },
  })),
  [TypeError, "initialState.u must be [2,3]: initialState.u is [2,3,4]"],
);
testRefusal(
  "scan",
  "cuSeqlens comes with a batch",
  withOptions(() => ({ cuSeqlens: bounds(0, 12) })),
  [
    TypeError,
    "cuSeqlens needs a batch of 1: current batch is 2",
  ],
);
testRefusal(
  "softmaxScan",
  "cuSeqlens does not end at T",
  () => ({
    ...{ s: zeros([1, 6, 3]), v: zeros([1, 6, 3, 4]) },
    options: { cuSeqlens: bounds(0, 5) },
  }),
  [RangeError, "cuSeqlens must rise from 0 to T = 6: cuSeqlens is [0,5]"],
);
