import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { neighborhoodAttention, requestGpu, type Tensor } from "../../mod.ts";
import { neighborhoodProblem } from "../../ops/neighborhood/problem.ts";
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

/** What a call is given, well-formed or not. */
interface Call {
  q?: unknown;
  k?: unknown;
  v?: unknown;
  options?: unknown;
}

function call({ q, k, v, options }: Call): void {
  const unchecked = neighborhoodAttention as (...values: unknown[]) => unknown;
  unchecked(q, k, v, options);
}

/**
 * Tests that a call throws exactly this, and that nothing is allocated or recorded: B 2, 16 x 18
 * tokens, Hq 4, Hkv 2, D 8, Dv 12, window 3, unless the call says otherwise.
 */
function testRefusal(
  when: string,
  make: () => Call,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `neighborhoodAttention() throws when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const given = {
          q: zeros([2, 16, 18, 4, 8]),
          k: zeros([2, 16, 18, 2, 8]),
          v: zeros([2, 16, 18, 2, 12]),
          options: { windowSize: 3 },
          ...make(),
        };
        const before = gpu().memory();
        const error = assertThrows(() => call(given), kind);

        assertEquals(error.message, `Cannot compute neighborhood attention as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

/** A call with other options; the window is 3 unless they say otherwise. */
const withOptions = (options: object) => (): Call => ({ options: { windowSize: 3, ...options } });
const typeError = (rule: string): [typeof TypeError, string] => [TypeError, rule];
const rangeError = (rule: string): [typeof RangeError, string] => [RangeError, rule];

Deno.test({
  name: "neighborhoodProblem() accepts what the refusals below vary",
  ignore,
  fn() {
    gpu().scope(() => {
      const [q, k] = [zeros([2, 16, 18, 4, 8]), zeros([2, 16, 18, 2, 8])];

      const { problem } = neighborhoodProblem(q, k, zeros([2, 16, 18, 2, 12]), { windowSize: 3 });

      const axis = { windowSize: 3, stride: 1, dilation: 1, causal: false };
      assertEquals(problem, {
        axes: [{ length: 16, ...axis }, { length: 18, ...axis }],
        attention: {
          batch: 2,
          qLen: 288,
          kvLen: 288,
          heads: 4,
          kvHeads: 2,
          headDim: 8,
          valueDim: 12,
          elem: "f32",
          scale: 8 ** -0.5,
          band: null,
          keys: { kind: "row" },
          additional: null,
          softcap: null,
          bias: null,
          sinks: null,
          gates: null,
          weight: WEIGHTS.softmax,
          hooks: NO_HOOKS,
          lse: false,
          copyable: true,
          schedule: null,
        },
        schedule: null,
      });
    });
  },
});

Deno.test({
  name: "neighborhoodProblem() takes one value or one per axis, up to the bounds",
  ignore,
  fn() {
    gpu().scope(() => {
      const axes = (shape: number[], options: Parameters<typeof neighborhoodProblem>[3]) => {
        const x = zeros(shape);
        return neighborhoodProblem(x, x, x, options).problem.axes
          .map(({ windowSize, stride, dilation, causal }) =>
            [windowSize, stride, dilation, causal].join(" ")
          );
      };
      const everything = { stride: [5, 1], dilation: [3, 9], causal: [true, false] };

      assertEquals(axes([1, 7, 1, 4], { windowSize: 2 }), ["2 1 1 false"]);
      assertEquals(axes([1, 16, 18, 1, 4], { windowSize: [5, 2], ...everything }), [
        "5 5 3 true",
        "2 1 9 false",
      ]);
      assertEquals(
        axes([1, 8, 8, 8, 1, 4], { windowSize: 4, stride: 4, dilation: 2, causal: true }),
        ["4 4 2 true", "4 4 2 true", "4 4 2 true"],
      );
      assertEquals(axes([1, 2, 2, 2, 1, 4], { windowSize: [2, 2, 2] }), [
        "2 1 1 false",
        "2 1 1 false",
        "2 1 1 false",
      ]);
    });
  },
});

Deno.test({
  name: "neighborhoodProblem() counts additional keys, and none as absent",
  ignore,
  fn() {
    gpu().scope(() => {
      const additional = (count: number) => {
        const x = zeros([2, 5, 1, 4]);
        const extra = zeros([2, count, 1, 4]);
        const pair = { additionalKeys: extra, additionalValues: extra };
        return neighborhoodProblem(x, x, x, { windowSize: 3, ...pair }).problem.attention
          .additional;
      };

      assertEquals(additional(7), { count: 7 });
      assertEquals(additional(0), null);
    });
  },
});

// options
testRefusal(
  "options are missing",
  () => ({ options: undefined }),
  typeError("options must be an object: options is undefined"),
);
testRefusal(
  "options is null",
  () => ({ options: null }),
  typeError("options must be an object: options is null"),
);
testRefusal(
  "options is a number",
  () => ({ options: 3 }),
  typeError("options must be an object: options is 3"),
);
testRefusal(
  "an option is unknown",
  withOptions({ window: 3 }),
  typeError('options must be known: "window" is not, the nearest is "windowSize"'),
);
testRefusal(
  "an option is misspelt",
  withOptions({ dilatation: 2 }),
  typeError('options must be known: "dilatation" is not, the nearest is "dilation"'),
);

// window
testRefusal(
  "windowSize is missing",
  () => ({ options: {} }),
  rangeError("windowSize must be an integer >= 2: axis 0 has undefined"),
);
testRefusal(
  "windowSize is null",
  withOptions({ windowSize: null }),
  rangeError("windowSize must be an integer >= 2: axis 0 has null"),
);
testRefusal(
  "windowSize is 1",
  withOptions({ windowSize: 1 }),
  rangeError("windowSize must be an integer >= 2: axis 0 has 1"),
);
testRefusal(
  "windowSize is 1 on the last axis",
  withOptions({ windowSize: [3, 1] }),
  rangeError("windowSize must be an integer >= 2: axis 1 has 1"),
);
testRefusal(
  "windowSize is no integer",
  withOptions({ windowSize: 2.5 }),
  rangeError("windowSize must be an integer >= 2: axis 0 has 2.5"),
);
testRefusal(
  "windowSize is NaN",
  withOptions({ windowSize: [3, NaN] }),
  rangeError("windowSize must be an integer >= 2: axis 1 has NaN"),
);
testRefusal(
  "windowSize is infinite",
  withOptions({ windowSize: Infinity }),
  rangeError("windowSize must be an integer >= 2: axis 0 has Infinity"),
);
testRefusal(
  "windowSize holds a boolean",
  withOptions({ windowSize: [true, 3] }),
  rangeError("windowSize must be an integer >= 2: axis 0 has true"),
);
testRefusal(
  "windowSize is a typed array",
  withOptions({ windowSize: Int32Array.of(3, 3) }),
  rangeError("windowSize must be an integer >= 2: axis 0 has Int32Array"),
);
testRefusal(
  "windowSize holds nothing",
  withOptions({ windowSize: new Array(2) }),
  rangeError("windowSize must be an integer >= 2: axis 0 has undefined"),
);
testRefusal(
  "windowSize has too many values",
  withOptions({ windowSize: [3, 3, 3] }),
  typeError("windowSize must be one value or one for each of 2 token axes: windowSize is [3,3,3]"),
);
testRefusal(
  "windowSize has too few values",
  withOptions({ windowSize: [3] }),
  typeError("windowSize must be one value or one for each of 2 token axes: windowSize is [3]"),
);
testRefusal(
  "windowSize has no values",
  withOptions({ windowSize: [] }),
  typeError("windowSize must be one value or one for each of 2 token axes: windowSize is []"),
);
testRefusal(
  "windowSize exceeds the first axis",
  withOptions({ windowSize: [17, 3] }),
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 0 has 16 tokens, windowSize is 17, dilation is 1",
  ),
);
testRefusal(
  "windowSize exceeds the shorter axis",
  withOptions({ windowSize: 18 }),
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 0 has 16 tokens, windowSize is 18, dilation is 1",
  ),
);
testRefusal(
  "windowSize times dilation exceeds the last axis",
  withOptions({ windowSize: [3, 7], dilation: [1, 3] }),
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 1 has 18 tokens, windowSize is 7, dilation is 3",
  ),
);
testRefusal(
  "the span fits, but not the shortest dilation group",
  // 3 keys, 7 apart, span 15 of 16 tokens; the groups of residues 2 to 6 hold 2
  withOptions({ windowSize: 3, dilation: [7, 1] }),
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 0 has 16 tokens, windowSize is 3, dilation is 7",
  ),
);
testRefusal(
  "an axis has no tokens",
  () => {
    const x = zeros([2, 0, 18, 4, 8]);
    return { q: x, k: x, v: x };
  },
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 0 has 0 tokens, windowSize is 3, dilation is 1",
  ),
);
testRefusal(
  "an axis has one token",
  () => {
    const x = zeros([2, 16, 1, 4, 8]);
    return { q: x, k: x, v: x, options: { windowSize: 2 } };
  },
  rangeError(
    "windowSize times dilation must not exceed the axis: axis 1 has 1 tokens, windowSize is 2, dilation is 1",
  ),
);

// stride, dilation, causality
testRefusal(
  "stride is 0",
  withOptions({ stride: 0 }),
  rangeError("stride must be an integer >= 1: axis 0 has 0"),
);
testRefusal(
  "stride is no integer",
  withOptions({ stride: [1, 1.5] }),
  rangeError("stride must be an integer >= 1: axis 1 has 1.5"),
);
testRefusal(
  "stride exceeds the window",
  withOptions({ stride: 4 }),
  rangeError(
    "stride must not exceed windowSize: axis 0 has 16 tokens, windowSize is 3, stride is 4",
  ),
);
testRefusal(
  "stride exceeds the window of the last axis",
  withOptions({ windowSize: [5, 4], stride: 5 }),
  rangeError(
    "stride must not exceed windowSize: axis 1 has 18 tokens, windowSize is 4, stride is 5",
  ),
);
testRefusal(
  "stride has too many values",
  withOptions({ stride: [1, 1, 1] }),
  typeError("stride must be one value or one for each of 2 token axes: stride is [1,1,1]"),
);
testRefusal(
  "dilation is 0",
  withOptions({ dilation: 0 }),
  rangeError("dilation must be an integer >= 1: axis 0 has 0"),
);
testRefusal(
  "dilation is negative",
  withOptions({ dilation: [1, -2] }),
  rangeError("dilation must be an integer >= 1: axis 1 has -2"),
);
testRefusal(
  "dilation has too few values",
  withOptions({ dilation: [2] }),
  typeError("dilation must be one value or one for each of 2 token axes: dilation is [2]"),
);
testRefusal(
  "causal is 1",
  withOptions({ causal: 1 }),
  typeError("causal must be true or false: axis 0 has 1"),
);
testRefusal(
  "causal is 0 on an axis",
  withOptions({ causal: [true, 0] }),
  typeError("causal must be true or false: axis 1 has 0"),
);
testRefusal(
  "causal is a word",
  withOptions({ causal: "top-left" }),
  typeError("causal must be true or false: axis 0 has top-left"),
);
testRefusal(
  "causal has too many values",
  withOptions({ causal: [true, false, true] }),
  typeError(
    "causal must be one value or one for each of 2 token axes: causal is [true,false,true]",
  ),
);

// tensors
testRefusal(
  "a tensor is missing",
  () => ({ q: undefined }),
  typeError("q must be a Tensor: q is undefined"),
);
testRefusal(
  "a tensor is an array",
  () => ({ v: new Float32Array(4) }),
  typeError("v must be a Tensor: v is Float32Array"),
);
testRefusal(
  "there are no token axes",
  () => {
    const x = zeros([2, 4, 8]);
    return { q: x, k: x, v: x };
  },
  typeError(
    "q, k and v must have the axes [B, X(, Y(, Z)), heads, dim]: q is [2,4,8], k is [2,4,8], v is [2,4,8]",
  ),
);
testRefusal(
  "there are four token axes",
  () => {
    const x = zeros([1, 3, 3, 3, 3, 1, 4]);
    return { q: x, k: x, v: x };
  },
  typeError(
    "q, k and v must have the axes [B, X(, Y(, Z)), heads, dim]: q is [1,3,3,3,3,1,4], k is [1,3,3,3,3,1,4], v is [1,3,3,3,3,1,4]",
  ),
);
testRefusal(
  "the ranks differ",
  () => ({ v: zeros([2, 288, 2, 12]) }),
  typeError(
    "q, k and v must have the axes [B, X(, Y(, Z)), heads, dim]: q is [2,16,18,4,8], k is [2,16,18,2,8], v is [2,288,2,12]",
  ),
);
testRefusal(
  "the batches differ",
  () => ({ k: zeros([1, 16, 18, 2, 8]) }),
  typeError("q and k and v must share a batch: current values are q=2, k=1, v=2"),
);
testRefusal(
  "the first axes differ",
  () => ({ v: zeros([2, 15, 18, 2, 12]) }),
  typeError("q and k and v must share the length of axis 0: current values are q=16, k=16, v=15"),
);
testRefusal(
  "the last axes differ",
  () => ({ k: zeros([2, 16, 17, 2, 8]) }),
  typeError("q and k and v must share the length of axis 1: current values are q=18, k=17, v=18"),
);
testRefusal(
  "the axes are swapped",
  () => ({ q: zeros([2, 18, 16, 4, 8]) }),
  typeError("q and k and v must share the length of axis 0: current values are q=18, k=16, v=16"),
);
testRefusal(
  "k and v differ in heads",
  () => ({ v: zeros([2, 16, 18, 1, 12]) }),
  typeError("k and v must share heads: current values are k=2, v=1"),
);
testRefusal(
  "q and k differ in head dim",
  () => ({ k: zeros([2, 16, 18, 2, 12]) }),
  typeError("q and k must share a head dim: current values are q=8, k=12"),
);
testRefusal(
  "the heads of q are no multiple of those of k",
  () => ({ q: zeros([2, 16, 18, 3, 8]) }),
  typeError("the heads of q must be a multiple of those of k: current heads are q=3, k=2"),
);
testRefusal(
  "there are no heads",
  () => ({ q: zeros([2, 16, 18, 0, 8]) }),
  typeError("the heads of q must be a multiple of those of k: current heads are q=0, k=2"),
);
testRefusal(
  "the head dim is too large",
  () => ({ q: zeros([1, 3, 1, 257]), k: zeros([1, 3, 1, 257]), v: zeros([1, 3, 1, 8]) }),
  rangeError("the head dim must be 1 to 256: current head dim is 257"),
);
testRefusal(
  "the value dim is zero",
  () => ({ v: zeros([2, 16, 18, 2, 0]) }),
  rangeError("the value dim must be 1 to 256: current value dim is 0"),
);
testRefusal(
  "the dtypes differ",
  () => ({ k: zeros([2, 16, 18, 2, 8], "f16") }),
  typeError("q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32"),
);
testRefusal(
  "the dtype is an integer",
  () => ({ q: zeros([2, 16, 18, 4, 8], "i32") }),
  typeError("q must be f32 or f16: q is i32"),
);
testRefusal("an input was disposed", () => {
  const k = zeros([2, 16, 18, 2, 8]);
  k.dispose();
  return { k };
}, typeError("k must be live: k [2,16,18,2,8] was disposed"));

// additional keys
/** A call with additional keys and values. */
const withAdditional = (keys: () => unknown, values: () => unknown) => (): Call => ({
  options: { windowSize: 3, additionalKeys: keys(), additionalValues: values() },
});
const goodKeys = () => zeros([2, 5, 2, 8]);
const goodValues = () => zeros([2, 5, 2, 12]);
testRefusal(
  "additional values are missing",
  () => ({ options: { windowSize: 3, additionalKeys: goodKeys() } }),
  typeError(
    "additionalKeys and additionalValues must be given together: additionalKeys is Tensor, additionalValues is undefined",
  ),
);
testRefusal(
  "additional keys are missing",
  () => ({ options: { windowSize: 3, additionalValues: goodValues() } }),
  typeError(
    "additionalKeys and additionalValues must be given together: additionalKeys is undefined, additionalValues is Tensor",
  ),
);
testRefusal(
  "additional keys are null",
  withAdditional(() => null, goodValues),
  typeError("additionalKeys must be a Tensor: additionalKeys is null"),
);
testRefusal(
  "additional values are an array",
  withAdditional(goodKeys, () => [1]),
  typeError("additionalValues must be a Tensor: additionalValues is Array"),
);
testRefusal(
  "additional keys have another batch",
  withAdditional(() => zeros([1, 5, 2, 8]), goodValues),
  typeError("additionalKeys must be [B, E, Hkv, D] = [2,5,2,8]: additionalKeys is [1,5,2,8]"),
);
testRefusal(
  "additional keys have the heads of q",
  withAdditional(() => zeros([2, 5, 4, 8]), goodValues),
  typeError("additionalKeys must be [B, E, Hkv, D] = [2,5,2,8]: additionalKeys is [2,5,4,8]"),
);
testRefusal(
  "additional keys have another head dim",
  withAdditional(() => zeros([2, 5, 2, 12]), goodValues),
  typeError("additionalKeys must be [B, E, Hkv, D] = [2,5,2,8]: additionalKeys is [2,5,2,12]"),
);
testRefusal(
  "additional keys have token axes",
  withAdditional(() => zeros([2, 5, 1, 2, 8]), goodValues),
  typeError("additionalKeys must be [B, E, Hkv, D] = [2,5,2,8]: additionalKeys is [2,5,1,2,8]"),
);
testRefusal(
  "additional keys have one axis",
  withAdditional(() => zeros([5]), goodValues),
  typeError("additionalKeys must be [B, E, Hkv, D] = [2,E,2,8]: additionalKeys is [5]"),
);
testRefusal(
  "additional values have another count",
  withAdditional(goodKeys, () => zeros([2, 4, 2, 12])),
  typeError(
    "additionalValues must be [B, E, Hkv, Dv] = [2,5,2,12]: additionalValues is [2,4,2,12]",
  ),
);
testRefusal(
  "additional values have another value dim",
  withAdditional(goodKeys, () => zeros([2, 5, 2, 8])),
  typeError("additionalValues must be [B, E, Hkv, Dv] = [2,5,2,12]: additionalValues is [2,5,2,8]"),
);
testRefusal(
  "additional values have another dtype",
  withAdditional(goodKeys, () => zeros([2, 5, 2, 12], "f16")),
  typeError(
    "q, k, v, additionalKeys and additionalValues must share a dtype: current dtypes are q=f32, k=f32, v=f32, additionalKeys=f32, additionalValues=f16",
  ),
);
testRefusal("additional keys were disposed", () => {
  const additionalKeys = goodKeys();
  additionalKeys.dispose();
  return { options: { windowSize: 3, additionalKeys, additionalValues: goodValues() } };
}, typeError("additionalKeys must be live: additionalKeys [2,5,2,8] was disposed"));

// the rest
testRefusal(
  "scale is NaN",
  withOptions({ scale: NaN }),
  rangeError("scale must be a finite f32: scale is NaN"),
);
testRefusal(
  "scale is null",
  withOptions({ scale: null }),
  rangeError("scale must be a finite f32: scale is null"),
);
testRefusal(
  "lse is no boolean",
  withOptions({ lse: 1 }),
  typeError("lse must be true or false: lse is 1"),
);
for (const [schedule, name] of [[5, "5"], [true, "true"], [[], "Array"], [{}, "Object"]]) {
  testRefusal(
    `the schedule is ${JSON.stringify(schedule)}`,
    withOptions({ schedule }),
    typeError(
      `schedule must be a name, or a schedule with queryTile and keyTile: schedule is ${name}`,
    ),
  );
}
testRefusal(
  "the schedule is one of attention, without boxes",
  withOptions({
    schedule: { kind: "workgroup", blockQ: 16, blockKv: 16, rows: 4, cols: 4, depth: 16 },
  }),
  typeError(
    "schedule must be a name, or a schedule with queryTile and keyTile: schedule is Object",
  ),
);

Deno.test({
  name: "neighborhoodAttention() throws when a tensor belongs to another device",
  ignore,
  async fn() {
    using other = await requestGpu();
    using v = other.tensor(new Float32Array(12), [1, 3, 1, 4]);
    using extra = other.tensor(new Float32Array(4), [1, 1, 1, 4]);
    gpu().scope(() => {
      const x = zeros([1, 3, 1, 4]);
      const own = zeros([1, 1, 1, 4]);
      const before = [gpu().memory(), other.memory()];
      const options = { windowSize: 2, additionalKeys: own, additionalValues: extra };

      assertEquals(
        [
          assertThrows(() => call({ q: x, k: x, v, options: { windowSize: 2 } }), TypeError)
            .message,
          assertThrows(() => call({ q: x, k: x, v: x, options }), TypeError).message,
        ],
        [
          "Cannot compute neighborhood attention as tensors must share a device: v lives on another device than q",
          "Cannot compute neighborhood attention as tensors must share a device: additionalValues lives on another device than q",
        ],
      );
      assertEquals([gpu().memory(), other.memory()], before);
    });
  },
});

Deno.test({
  name: "neighborhoodAttention() throws when the schedule does not fit, and lists those that do",
  ignore,
  fn() {
    gpu().scope(() => {
      const x = zeros([1, 8, 8, 1, 4]);
      const tile = { kind: "workgroup", blockQ: 16, blockKv: 16, rows: 4, cols: 4, depth: 16 };
      const boxes = { queryTile: [2, 4], keyTile: [16, 1] };
      const before = gpu().memory();
      const refuse = (schedule: unknown): string => {
        const options = { windowSize: 3, schedule };
        const error = assertThrows(() => call({ q: x, k: x, v: x, options }), RangeError);
        assert(error.message.endsWith(", naive"), error.message);
        return error.message.split(" is not among ", 1)[0];
      };
      const rule =
        "Cannot plan neighborhood attention as schedule must fit the problem and the device:";

      assertEquals(refuse("fastest"), `${rule} "fastest"`);
      assertEquals(refuse("split"), `${rule} "split"`);
      assertEquals(refuse({ ...tile, ...boxes }), `${rule} "workgroup-16x16-4x4-16-q2x4-k16x1"`);
      assertEquals(gpu().memory(), before);
    });
  },
});

Deno.test({
  name: "neighborhoodAttention() leaves nothing allocated when the naive schedule does not fit",
  ignore,
  async fn() {
    using small = await requestGpu({
      limits: { maxComputeWorkgroupsPerDimension: 8, maxStorageBufferBindingSize: 65536 },
    });
    using x = small.tensor(new Float32Array(36), [1, 9, 1, 4]);
    const before = small.memory();

    const error = assertThrows(
      () => neighborhoodAttention(x, x, x, { windowSize: 3, schedule: "naive", lse: true }),
      RangeError,
    );

    const [rule] = error.message.split(":", 1);
    assertEquals(
      rule,
      "Cannot plan neighborhood attention as the naive schedule must run in one piece",
    );
    assertEquals(small.memory(), before);
  },
});
