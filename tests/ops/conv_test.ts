import { assert, assertEquals, assertThrows } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { causalConv1d, causalConv1dStep, type Gpu, requestGpu, type Tensor } from "../../mod.ts";
import { planConv } from "../../ops/conv/plan.ts";
import type { ConvProblem } from "../../ops/conv/problem.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";
import { planLimits } from "./plan_device.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device of these tests; every new buffer is full of NaN. */
function theGpu(): Gpu {
  assert(shared !== null);
  return shared;
}

/** A problem; two batch entries of 150 tokens with 8 channels and 4 taps, all f32, by default. */
interface Case {
  batch: number;
  length: number;
  channels: number;
  width: number;
  dtype: "f32" | "f16";
  /** Storage of weight and bias. */
  weightType: "f32" | "f16";
  bias: boolean;
  activation: "silu" | "none";
  state: boolean;
  final: boolean;
  cuSeqlens: readonly number[] | null;
}

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 2, length: 150, channels: 8, width: 4, dtype: "f32", weightType: "f32" },
    ...{ bias: true, activation: "none", state: true, final: true, cuSeqlens: null },
    ...part,
  };
}

type Inputs = Record<"x" | "weight" | "bias" | "state", HostTensor>;

function inputsOf({ batch, length, channels, width, ...c }: Case): Inputs {
  const random = new Random(3);
  const normal = () => random.normal();
  const sequences = c.cuSeqlens ? c.cuSeqlens.length - 1 : batch;
  return {
    x: hostTensor(c.dtype, [batch, length, channels], normal),
    weight: hostTensor(c.weightType, [channels, width], normal),
    bias: hostTensor(c.weightType, [channels], normal),
    state: hostTensor("f32", [sequences, channels, width - 1], normal),
  };
}

type Output = Float32Array | Float16Array;

/** Uploads, computes, reads and frees. */
async function compute(
  c: Case,
  inputs: Inputs,
  gpu = theGpu(),
): Promise<{ out: Output; finalState?: Output }> {
  const before = gpu.memory().tensors;
  const upload = ({ data, shape }: HostTensor) => gpu.tensor(data, shape) as Tensor<"f32">;
  const [x, weight, bias, state] = [inputs.x, inputs.weight, inputs.bias, inputs.state].map(upload);
  const cuSeqlens = gpu.tensor(Int32Array.from(c.cuSeqlens ?? []), [c.cuSeqlens?.length ?? 0]);
  const { out, finalState } = causalConv1d(x, weight, {
    ...{ activation: c.activation, finalState: c.final },
    ...{ ...(c.bias && { bias }), ...(c.state && { state }), ...(c.cuSeqlens && { cuSeqlens }) },
  });
  const outputs = {
    out: await out.read(),
    ...(finalState && { finalState: await finalState.read() }),
  };
  for (const tensor of [x, weight, bias, state, cuSeqlens, out, finalState]) tensor?.dispose();
  assertEquals(gpu.memory().tensors, before);
  return outputs;
}

function expectedOf(c: Case, { x, weight, bias, state }: Inputs) {
  const { activation, final: finalState, cuSeqlens } = c;
  return reference.causalConv1d(x, weight, {
    ...{ activation, finalState, ...(c.bias && { bias }), ...(c.state && { state }) },
    ...(cuSeqlens && { cuSeqlens: { data: cuSeqlens, shape: [cuSeqlens.length] } }),
  });
}

/** Tests that a case agrees with float64. */
function testCase(name: string, part: Partial<Case>): void {
  Deno.test({
    name: `causalConv1d() matches the reference for ${name}`,
    ignore,
    async fn() {
      const c = caseOf(part);
      const inputs = inputsOf(c);

      const { out, finalState } = await compute(c, inputs);

      const expected = expectedOf(c, inputs);
      const ratio = c.dtype === "f16" ? 1e-3 : 1e-6;
      assertClose("out", out, expected.out.data, { ratio });
      assertEquals(finalState, expected.finalState && Float32Array.from(expected.finalState.data));
    },
  });
}

const PACKED: Partial<Case> = {
  ...{ batch: 1, length: 150, cuSeqlens: [0, 0, 1, 3, 3, 70, 71, 150, 150] },
};

testCase("states in and out", {});
testCase("no initial state", { state: false });
testCase("no states", { state: false, final: false });
testCase("an initial state alone", { final: false });
testCase("packed sequences", PACKED);
testCase("packed sequences without states", { ...PACKED, state: false });
testCase("packed sequences shorter than a filter", { ...PACKED, width: 8, channels: 3 });
testCase("silu", { activation: "silu" });
testCase("silu without bias", { activation: "silu", bias: false });
for (const width of [1, 2, 3, 5, 6, 7, 8]) testCase(`filters of ${width} taps`, { width });
testCase("ragged channels", { channels: 5 });
testCase("one channel", { channels: 1, batch: 3 });
testCase("more channels than a workgroup has", { channels: 270, length: 20 });
testCase("f16", { dtype: "f16", weightType: "f16" });
testCase("f16 of ragged channels", { dtype: "f16", weightType: "f16", channels: 3, ...PACKED });
testCase("f16 with filters in f32", { dtype: "f16" });
testCase("f32 with filters in f16", { weightType: "f16", channels: 6 });
testCase("one token", { length: 1 });
testCase("fewer tokens than taps, without a state", { length: 2, width: 6, state: false });
testCase("no tokens", { length: 0 });
testCase("no batch entries", { batch: 0 });
testCase("as many tokens as a run has", { length: 64 });

Deno.test({
  name: "causalConv1d() walks 70,000 tokens, beyond the loops of llvmpipe",
  ignore,
  async fn() {
    const c = caseOf({ batch: 1, length: 70_000, channels: 4 });
    const inputs = inputsOf(c);

    const { out } = await compute(c, inputs);

    assertClose("out", out, expectedOf(c, inputs).out.data, { ratio: 1e-6 });
  },
});

Deno.test({
  name: "causalConv1d() gives the same bits where loops, bindings and grids are short",
  ignore,
  async fn() {
    const limits = {
      maxLoopIterations: 20,
      maxStorageBufferBindingSize: 16384,
      maxComputeWorkgroupsPerDimension: 2,
    };
    using small = await requestGpu({ poison: true, limits });
    const parts: Partial<Case>[] = [
      { length: 700, channels: 64 },
      { length: 700, channels: 64, dtype: "f16", state: false, final: false },
      { length: 300, channels: 3 },
      { length: 300, channels: 3, dtype: "f16", weightType: "f16" },
      { batch: 300, length: 3, channels: 20 },
      { ...PACKED, channels: 64 },
    ];
    for (const part of parts) {
      const c = caseOf(part);
      const inputs = inputsOf(c);

      assertEquals(await compute(c, inputs, small), await compute(c, inputs));
    }
  },
});

Deno.test({
  name: "causalConv1d() gives the same bits whatever comes later, and in other sequences",
  ignore,
  async fn() {
    const c = caseOf({ batch: 1, cuSeqlens: [0, 40, 150], final: false });
    const inputs = inputsOf(c);
    const data = inputs.x.data.slice();
    data.fill(NaN, 0, 40 * 8).fill(NaN, 100 * 8);

    const { out } = await compute(c, { ...inputs, x: { ...inputs.x, data } });

    const expected = await compute(c, inputs);
    assertEquals(out.slice(40 * 8, 100 * 8), expected.out.slice(40 * 8, 100 * 8));
  },
});

Deno.test({
  name: "causalConv1d() goes on from a final state as if it had not stopped",
  ignore,
  async fn() {
    const gpu = theGpu();
    const { x, weight } = inputsOf(caseOf({ batch: 1 }));
    const filters = gpu.tensor(weight.data, weight.shape);
    const upload = (first: number, end: number) =>
      gpu.tensor(x.data.subarray(first * 8, end * 8), [1, end - first, 8]) as Tensor<"f32">;
    const parts = [upload(0, 150), upload(0, 2), upload(2, 101), upload(101, 150)];

    const whole = causalConv1d(parts[0], filters, { finalState: true });
    const first = causalConv1d(parts[1], filters, { finalState: true });
    const second = causalConv1d(parts[2], filters, {
      ...{ finalState: true, state: first.finalState as Tensor<"f32"> },
    });
    const third = causalConv1d(parts[3], filters, {
      ...{ finalState: true, state: second.finalState as Tensor<"f32"> },
    });

    const pieces = [];
    for (const { out } of [first, second, third]) pieces.push(...await out.read());
    assertEquals(pieces, [...await whole.out.read()]);
    assertEquals(await third.finalState?.read(), await whole.finalState?.read());
    for (const { out, finalState } of [whole, first, second, third]) {
      out.dispose();
      finalState?.dispose();
    }
    for (const tensor of [filters, ...parts]) tensor.dispose();
    assertEquals(gpu.memory().tensors, 0);
  },
});

for (const [width, channels, dtype] of [[4, 8, "f32"], [1, 8, "f32"], [8, 5, "f16"]] as const) {
  Deno.test({
    name: `causalConv1dStep() shifts states in place, W = ${width}, C = ${channels}, ${dtype}`,
    ignore,
    async fn() {
      const gpu = theGpu();
      const c = caseOf({ length: 6, width, channels, dtype, activation: "silu" });
      const inputs = inputsOf(c);
      const upload = ({ data, shape }: HostTensor) => gpu.tensor(data, shape) as Tensor<"f32">;
      const [weight, bias, state] = [inputs.weight, inputs.bias, inputs.state].map(upload);
      const expected = expectedOf(c, inputs);
      const tokens = (from: ArrayLike<number>, first: number, end: number): number[] =>
        [0, 1].flatMap((b) =>
          Array.from(from).slice((6 * b + first) * channels, (6 * b + end) * channels)
        );

      // token by token, then two at once
      for (const [first, end] of [[0, 1], [1, 2], [2, 3], [3, 4], [4, 6]]) {
        const data = tokens(inputs.x.data, first, end);
        const stored = dtype === "f32" ? Float32Array.from(data) : Float16Array.from(data);
        using x = gpu.tensor(stored, [2, end - first, channels]) as Tensor<"f32">;
        using out = causalConv1dStep(state, x, weight, { bias, activation: "silu" });
        const ratio = dtype === "f32" ? 1e-6 : 1e-3;
        assertClose("out", await out.read(), tokens(expected.out.data, first, end), { ratio });
      }
      assertEquals(await state.read(), Float32Array.from(expected.finalState?.data ?? []));

      for (const tensor of [weight, bias, state]) tensor.dispose();
      assertEquals(gpu.memory().tensors, 0);
    },
  });
}

Deno.test({
  name: "causalConv1d() keeps silu finite for large sums",
  ignore,
  async fn() {
    const gpu = theGpu();
    const x = gpu.tensor(Float32Array.of(-1e30, -200, 0, 200, 1e30), [1, 5, 1]);
    const weight = gpu.tensor(Float32Array.of(1), [1, 1]);

    const { out } = causalConv1d(x, weight, { activation: "silu" });

    const y = [...await out.read()];
    assert(Math.abs(y[0]) < 1e-7 && Math.abs(y[1]) < 1e-30, String(y));
    assertEquals(y.slice(2), [0, 200, Math.fround(1e30)]);
    for (const tensor of [x, weight, out]) tensor.dispose();
  },
});

const PROBLEM: ConvProblem = {
  ...{ channels: 8, width: 4, elem: "f32", weightElem: "f32", biasElem: null, activation: "none" },
  ...{ initial: false, final: false, inPlace: false, bounds: [0, 100, 100, 130] },
};

const LIMITS = planLimits({ minStorageBufferOffsetAlignment: 256 });

Deno.test("planConv() cuts sequences into runs, the last of which leave states", () => {
  assertEquals(planConv(PROBLEM, LIMITS), {
    runs: [
      { first: 0, end: 64, state: 0, origin: 0, last: false },
      { first: 64, end: 100, state: 0, origin: 0, last: true },
      { first: 100, end: 100, state: 1, origin: 100, last: true },
      { first: 100, end: 130, state: 2, origin: 100, last: true },
    ],
    groups: [[0, 4]],
  });
});

Deno.test("planConv() puts into a group what one binding holds, the tokens before a run too", () => {
  const small = { ...LIMITS, maxStorageBufferBindingSize: (256 + 67) * 32 };

  assertEquals(planConv(PROBLEM, small).groups, [[0, 1], [1, 3], [3, 4]]);
  assertEquals(planConv({ ...PROBLEM, bounds: [0, 140] }, small).groups, [[0, 1], [1, 2], [2, 3]]);
});

Deno.test("planConv() throws where a binding does not hold what a token needs", () => {
  const small = { ...LIMITS, maxStorageBufferBindingSize: 259 * 32 };

  assertEquals(
    assertThrows(() => planConv(PROBLEM, small), RangeError).message,
    "Cannot plan a causal convolution as 4 tokens, filters and a state must each fit one binding: there are 8 channels, the device allows 8288 bytes",
  );
});

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor<"f32"> {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return theGpu().tensor(new data(size), shape) as Tensor<"f32">;
}

type Given = Partial<Record<"state" | "x" | "weight" | "options", unknown>>;

/** Tests that a call, or a step, throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  operator: "causalConv1d" | "causalConv1dStep",
  when: string,
  make: () => Given,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `${operator}() throws when ${when}`,
    ignore,
    fn() {
      theGpu().scope(() => {
        const accepted = { state: zeros([2, 3, 3]), x: zeros([2, 6, 3]), weight: zeros([3, 4]) };
        const { state, x, weight, options = {} } = { ...accepted, ...make() } as Record<
          string,
          Tensor<"f32">
        >;
        const before = theGpu().memory();
        const error = assertThrows(
          () =>
            operator === "causalConv1d"
              ? causalConv1d(x, weight, options as object)
              : causalConv1dStep(state, x, weight, options as object),
          kind,
        );

        assertEquals(error.message, `Cannot compute a causal convolution as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(theGpu().memory(), before);
      });
      assertEquals(theGpu().memory().tensors, 0);
    },
  });
}

const withOptions = (make: () => object) => () => ({ options: make() });

testRefusal("causalConv1d", "an argument is no tensor", () => ({ weight: 3 }), [
  TypeError,
  "weight must be a Tensor: weight is 3",
]);
testRefusal("causalConv1d", "x has heads", () => ({ x: zeros([2, 6, 1, 3]) }), [
  TypeError,
  "x must have 3 axes [B, T, C]: x is [2,6,1,3]",
]);
testRefusal("causalConv1d", "x has no channel", () => ({ x: zeros([2, 6, 0]) }), [
  TypeError,
  "x must have a channel: x is [2,6,0]",
]);
testRefusal("causalConv1d", "x holds integers", () => ({ x: zeros([2, 6, 3], "i32") }), [
  TypeError,
  "x must be f32 or f16: x is i32",
]);
testRefusal("causalConv1d", "weight has three axes", () => ({ weight: zeros([3, 1, 4]) }), [
  TypeError,
  "weight must have 2 axes [C, W]: weight is [3,1,4]",
]);
testRefusal("causalConv1d", "weight has other channels", () => ({ weight: zeros([4, 3]) }), [
  TypeError,
  "weight must have a filter for each of the 3 channels of x: weight is [4,3]",
]);
testRefusal("causalConv1d", "weight holds integers", () => ({ weight: zeros([3, 4], "i32") }), [
  TypeError,
  "weight must be f32 or f16: weight is i32",
]);
for (const width of [0, 9]) {
  testRefusal("causalConv1d", `filters have ${width} taps`, () => ({ weight: zeros([3, width]) }), [
    RangeError,
    `filters must have 1 to 8 taps: weight is [3,${width}]`,
  ]);
}
testRefusal("causalConv1d", "an option is unknown", withOptions(() => ({ initialState: 1 })), [
  TypeError,
  'options must be known: "initialState" is not, the nearest is "finalState"',
]);
testRefusal(
  "causalConv1d",
  "an activation is unknown",
  withOptions(() => ({ activation: "relu" })),
  [
    RangeError,
    "activation must be one of silu, none: activation is relu",
  ],
);
testRefusal("causalConv1d", "finalState is no boolean", withOptions(() => ({ finalState: 1 })), [
  TypeError,
  "finalState must be true or false: finalState is 1",
]);
testRefusal("causalConv1d", "the bias has a shape", withOptions(() => ({ bias: zeros([1, 3]) })), [
  TypeError,
  "bias must be [3]: bias is [1,3]",
]);
testRefusal(
  "causalConv1d",
  "the bias holds integers",
  withOptions(() => ({ bias: zeros([3], "i32") })),
  [TypeError, "bias must be f32 or f16: bias is i32"],
);
testRefusal(
  "causalConv1d",
  "the state has another shape",
  withOptions(() => ({ state: zeros([2, 3, 4]) })),
  [TypeError, "state must be [2,3,3]: state is [2,3,4]"],
);
testRefusal(
  "causalConv1d",
  "the state is f16",
  withOptions(() => ({ state: zeros([2, 3, 3], "f16") })),
  [TypeError, "state must be f32: state is f16"],
);
testRefusal(
  "causalConv1d",
  "cuSeqlens comes with a batch",
  withOptions(() => ({ cuSeqlens: theGpu().tensor(Int32Array.of(0, 12), [2]) })),
  [TypeError, "cuSeqlens needs a batch of 1: current batch is 2"],
);
testRefusal(
  "causalConv1d",
  "cuSeqlens does not end at T",
  () => ({
    x: zeros([1, 6, 3]),
    options: { cuSeqlens: theGpu().tensor(Int32Array.of(0, 5), [2]) },
  }),
  [RangeError, "cuSeqlens must rise from 0 to T = 6: cuSeqlens is [0,5]"],
);
testRefusal("causalConv1dStep", "there is no state", () => ({ state: undefined }), [
  TypeError,
  "state must be a Tensor: state is undefined",
]);
testRefusal(
  "causalConv1dStep",
  "the state has other channels",
  () => ({ state: zeros([2, 4, 3]) }),
  [
    TypeError,
    "state must be [2,3,3]: state is [2,4,3]",
  ],
);
testRefusal("causalConv1dStep", "there are many tokens", () => ({ x: zeros([2, 65, 3]) }), [
  TypeError,
  "a step takes at most 64 tokens: x is [2,65,3]",
]);
testRefusal(
  "causalConv1dStep",
  "an option is of sequences",
  withOptions(() => ({ finalState: true })),
  [
    TypeError,
    'options must be known: "finalState" is not, the nearest is "bias"',
  ],
);
