import { NO_HOOKS } from "../../kernels/attention/hooks.ts";
import { WEIGHTS } from "../../kernels/attention/weights.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { attention, requestGpu, type Tensor } from "../../mod.ts";
import { attentionProblem } from "../../ops/attention/problem.ts";
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

/** What a call is given, well-formed or not. */
interface Call {
  q?: unknown;
  k?: unknown;
  v?: unknown;
  options?: unknown;
}

/** Calls attention: B 2, T 4, S 6, Hq 4, Hkv 2, D 8, Dv 12, unless the call says otherwise. */
function callAttention(call: Call): void {
  const { q = zeros([2, 4, 4, 8]), k = zeros([2, 6, 2, 8]), v = zeros([2, 6, 2, 12]) } = call;
  const given = { options: {}, ...call };
  const unchecked = attention as (...values: unknown[]) => unknown;
  unchecked(q, k, v, given.options);
}

/** Tests that a call throws exactly this, and that nothing is allocated or recorded. */
function testRefusal(
  when: string,
  make: () => Call,
  [kind, message]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `attention() throws when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const call = make();
        const tensors = {
          q: zeros([2, 4, 4, 8]),
          k: zeros([2, 6, 2, 8]),
          v: zeros([2, 6, 2, 12]),
          ...call,
        };
        const before = gpu().memory();
        const error = assertThrows(() => callAttention(tensors), kind);

        assertEquals(error.message, message);
        assertEquals(error.constructor, kind);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const withOptions = (options: unknown) => (): Call => ({ options });
const typeError = (rule: string): [typeof TypeError, string] => [
  TypeError,
  `Cannot compute attention as ${rule}`,
];
const rangeError = (rule: string): [typeof RangeError, string] => [
  RangeError,
  `Cannot compute attention as ${rule}`,
];

Deno.test({
  name: "attentionProblem() accepts what the refusals below vary",
  ignore,
  fn() {
    gpu().scope(() => {
      const { problem } = attentionProblem(
        zeros([2, 4, 4, 8]),
        zeros([2, 6, 2, 8]),
        zeros([2, 6, 2, 12]),
        {},
      );

      assertEquals(problem, {
        batch: 2,
        qLen: 4,
        kvLen: 6,
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
      });
    });
  },
});

Deno.test({
  name: "attentionProblem() folds causality and window into one band",
  ignore,
  fn() {
    gpu().scope(() => {
      const band = (options: Parameters<typeof attentionProblem>[3]) =>
        attentionProblem(zeros([1, 4, 1, 8]), zeros([1, 6, 1, 8]), zeros([1, 6, 1, 8]), options)
          .problem.band;
      const far = 2 ** 30;

      assertEquals(band({ causal: false }), null);
      assertEquals(band({ window: {} }), null);
      assertEquals(band({ causal: true }), { lo: 2 - far, hi: 2 });
      assertEquals(band({ causal: "top-left" }), { lo: -far, hi: 0 });
      assertEquals(band({ window: { left: 1 } }), { lo: 1, hi: 2 + far });
      assertEquals(band({ window: { right: 3 } }), { lo: 2 - far, hi: 5 });
      assertEquals(band({ window: { left: 0, right: 0 } }), { lo: 2, hi: 2 });
      assertEquals(band({ causal: true, window: { left: 1, right: 3 } }), { lo: 1, hi: 2 });
      assertEquals(band({ causal: "top-left", window: { left: 2 } }), { lo: -2, hi: 0 });
      assertEquals(band({ window: { left: 2 ** 40 } }), { lo: 2 - far, hi: 2 + far });
    });
  },
});

Deno.test({
  name: "attentionProblem() gives a bias that broadcasts strides of 0",
  ignore,
  fn() {
    gpu().scope(() => {
      const bias = (shape: number[], dtype: "f32" | "f16" = "f32") =>
        attentionProblem(zeros([2, 4, 4, 8]), zeros([2, 6, 2, 8]), zeros([2, 6, 2, 8]), {
          bias: zeros(shape, dtype),
        }).problem.bias;

      assertEquals(bias([2, 4, 4, 6]), { elem: "f32", strides: [96, 24, 6, 1] });
      assertEquals(bias([1, 4, 4, 6]), { elem: "f32", strides: [0, 24, 6, 1] });
      assertEquals(bias([2, 1, 4, 6]), { elem: "f32", strides: [24, 0, 6, 1] });
      assertEquals(bias([2, 4, 1, 6]), { elem: "f32", strides: [24, 6, 0, 1] });
      assertEquals(bias([1, 1, 1, 6], "f16"), { elem: "f16", strides: [0, 0, 0, 1] });
    });
  },
});

testRefusal(
  "q, k or v is no tensor",
  () => ({ k: new Float32Array(4) }),
  typeError("k must be a Tensor: k is Float32Array"),
);
testRefusal("a tensor is null", () => ({ v: null }), typeError("v must be a Tensor: v is null"));
testRefusal(
  "q has the wrong rank",
  () => ({ q: zeros([4, 4, 8]) }),
  typeError("q must have 4 axes [B, length, heads, dim]: q is [4,4,8]"),
);
testRefusal(
  "v has the wrong rank",
  () => ({ v: zeros([1, 2, 6, 2, 12]) }),
  typeError("v must have 4 axes [B, length, heads, dim]: v is [1,2,6,2,12]"),
);
testRefusal(
  "the batches differ",
  () => ({ v: zeros([1, 6, 2, 12]) }),
  typeError("q and k and v must share a batch: current values are q=2, k=2, v=1"),
);
testRefusal(
  "k and v differ in length",
  () => ({ v: zeros([2, 5, 2, 12]) }),
  typeError("k and v must share a length: current values are k=6, v=5"),
);
testRefusal(
  "k and v differ in heads",
  () => ({ v: zeros([2, 6, 1, 12]) }),
  typeError("k and v must share heads: current values are k=2, v=1"),
);
testRefusal(
  "q and k differ in head dim",
  () => ({ k: zeros([2, 6, 2, 12]) }),
  typeError("q and k must share a head dim: current values are q=8, k=12"),
);
testRefusal(
  "the heads of q are no multiple of those of k",
  () => ({ q: zeros([2, 4, 3, 8]) }),
  typeError("the heads of q must be a multiple of those of k: current heads are q=3, k=2"),
);
testRefusal(
  "there are no heads",
  () => ({ q: zeros([2, 4, 0, 8]) }),
  typeError("the heads of q must be a multiple of those of k: current heads are q=0, k=2"),
);
testRefusal(
  "the head dim is too large",
  () => ({ q: zeros([1, 1, 1, 257]), k: zeros([1, 1, 1, 257]), v: zeros([1, 1, 1, 8]) }),
  rangeError("the head dim must be 1 to 256: current head dim is 257"),
);
testRefusal(
  "the value dim is too large",
  () => ({ v: zeros([2, 6, 2, 300]) }),
  rangeError("the value dim must be 1 to 256: current value dim is 300"),
);
testRefusal(
  "the head dim is zero",
  () => ({ q: zeros([2, 4, 4, 0]), k: zeros([2, 6, 2, 0]) }),
  rangeError("the head dim must be 1 to 256: current head dim is 0"),
);
testRefusal(
  "the dtypes of q and k differ",
  () => ({ k: zeros([2, 6, 2, 8], "f16") }),
  typeError("q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32"),
);
testRefusal(
  "the dtypes of q and v differ",
  () => ({ q: zeros([2, 4, 4, 8], "f16"), k: zeros([2, 6, 2, 8], "f16") }),
  typeError("q, k and v must share a dtype: current dtypes are q=f16, k=f16, v=f32"),
);
testRefusal(
  "the dtype is an integer",
  () => ({ q: zeros([2, 4, 4, 8], "i32") }),
  typeError("q must be f32 or f16: q is i32"),
);
testRefusal("an input was disposed", () => {
  const k = zeros([2, 6, 2, 8]);
  k.dispose();
  return { k };
}, typeError("k must be live: k [2,6,2,8] was disposed"));
testRefusal("the sinks were disposed", () => {
  const sinks = zeros([4]);
  sinks.dispose();
  return { options: { sinks } };
}, typeError("sinks must be live: sinks [4] was disposed"));
testRefusal(
  "scale is NaN",
  withOptions({ scale: NaN }),
  rangeError("scale must be a finite f32: scale is NaN"),
);
testRefusal(
  "scale is infinite",
  withOptions({ scale: -Infinity }),
  rangeError("scale must be a finite f32: scale is -Infinity"),
);
testRefusal(
  "scale is no number",
  withOptions({ scale: "1" }),
  rangeError("scale must be a finite f32: scale is 1"),
);
testRefusal("schedule is a number", withOptions({ schedule: 5 }), [
  TypeError,
  "Cannot compute attention as schedule must be a name or a schedule: schedule is 5",
]);
testRefusal(
  "softcap is zero",
  withOptions({ softcap: 0 }),
  rangeError("softcap must be a finite f32 > 0: softcap is 0"),
);
testRefusal(
  "softcap is so small that scores overflow",
  withOptions({ softcap: 7e-40, scale: 0.5 }),
  rangeError("scale / softcap must be a finite f32: scale is 0.5, softcap is 7e-40"),
);
testRefusal(
  "softcap is negative",
  withOptions({ softcap: -30 }),
  rangeError("softcap must be a finite f32 > 0: softcap is -30"),
);
testRefusal(
  "softcap is NaN",
  withOptions({ softcap: NaN }),
  rangeError("softcap must be a finite f32 > 0: softcap is NaN"),
);
testRefusal(
  "a window side is negative",
  withOptions({ window: { left: -1 } }),
  rangeError("window.left must be an integer >= 0: window.left is -1"),
);
testRefusal(
  "a window side is no integer",
  withOptions({ window: { left: 1, right: 0.5 } }),
  rangeError("window.right must be an integer >= 0: window.right is 0.5"),
);
testRefusal(
  "a window side is NaN",
  withOptions({ window: { right: NaN } }),
  rangeError("window.right must be an integer >= 0: window.right is NaN"),
);
testRefusal("a window has an unknown key", withOptions({ window: { lefts: 3 } }), [
  TypeError,
  'Cannot compute attention with a window as options must be known: "lefts" is not, the nearest is "left"',
]);
testRefusal("the window is a number", withOptions({ window: 3 }), [
  TypeError,
  "Cannot compute attention with a window as options must be an object: options is 3",
]);
testRefusal(
  "causal is another string",
  withOptions({ causal: "bottom-right" }),
  typeError('causal must be true, false or "top-left": causal is bottom-right'),
);
testRefusal(
  "causal is a number",
  withOptions({ causal: 1 }),
  typeError('causal must be true, false or "top-left": causal is 1'),
);
testRefusal(
  "lse is no boolean",
  withOptions({ lse: 1 }),
  typeError("lse must be true or false: lse is 1"),
);
testRefusal(
  "normalizer is no weight",
  withOptions({ normalizer: "sparsemax" }),
  rangeError(
    "normalizer must be one of softmax, sigmoid, softplus, relu, elu1, none, stickBreaking: normalizer is sparsemax",
  ),
);
testRefusal(
  "the bias does not broadcast over queries",
  () => ({ options: { bias: zeros([1, 1, 3, 6]) } }),
  typeError("bias must broadcast to [B, Hq, T, S] = [2,4,4,6]: bias is [1,1,3,6]"),
);
testRefusal(
  "the bias has one key only",
  () => ({ options: { bias: zeros([2, 4, 4, 1]) } }),
  typeError("bias must broadcast to [B, Hq, T, S] = [2,4,4,6]: bias is [2,4,4,1]"),
);
testRefusal(
  "the bias has the heads of k",
  () => ({ options: { bias: zeros([1, 2, 1, 6]) } }),
  typeError("bias must broadcast to [B, Hq, T, S] = [2,4,4,6]: bias is [1,2,1,6]"),
);
testRefusal(
  "the bias has the wrong rank",
  () => ({ options: { bias: zeros([4, 6]) } }),
  typeError("bias must have 4 axes [B|1, Hq|1, T|1, S]: bias is [4,6]"),
);
testRefusal(
  "the bias is an integer",
  () => ({ options: { bias: zeros([1, 1, 1, 6], "i32") } }),
  typeError("bias must be f32 or f16: bias is i32"),
);
testRefusal(
  "the bias is an array",
  () => ({ options: { bias: new Float32Array(6) } }),
  typeError("bias must be a Tensor: bias is Float32Array"),
);
testRefusal(
  "the sinks have the wrong length",
  () => ({ options: { sinks: zeros([2]) } }),
  typeError("sinks must be [Hq] = [4]: sinks is [2]"),
);
testRefusal(
  "the sinks have the wrong rank",
  () => ({ options: { sinks: zeros([4, 1]) } }),
  typeError("sinks must be [Hq] = [4]: sinks is [4,1]"),
);
testRefusal(
  "the sinks are integers",
  () => ({ options: { sinks: zeros([4], "i32") } }),
  typeError("sinks must be f32 or f16: sinks is i32"),
);
testRefusal(
  "an option is unknown",
  withOptions({ casual: true }),
  typeError('options must be known: "casual" is not, the nearest is "causal"'),
);
testRefusal(
  "an option has another case",
  withOptions({ softCap: 30 }),
  typeError('options must be known: "softCap" is not, the nearest is "softcap"'),
);
testRefusal(
  "options is null",
  withOptions(null),
  typeError("options must be an object: options is null"),
);
testRefusal(
  "options is an array",
  withOptions([]),
  typeError("options must be an object: options is Array"),
);

Deno.test({
  name: "attention() throws when a tensor belongs to another device",
  ignore,
  async fn() {
    using other = await requestGpu();
    using v = other.tensor(new Float32Array(8), [1, 1, 1, 8]);
    using sinks = other.tensor(new Float32Array(1), [1]);
    gpu().scope(() => {
      const x = zeros([1, 1, 1, 8]);
      const before = [gpu().memory(), other.memory()];

      assertEquals(
        [
          assertThrows(() => callAttention({ q: x, k: x, v }), TypeError).message,
          assertThrows(() => callAttention({ q: x, k: x, v: x, options: { sinks } }), TypeError)
            .message,
        ],
        [
          "Cannot compute attention as tensors must share a device: v lives on another device than q",
          "Cannot compute attention as tensors must share a device: sinks lives on another device than q",
        ],
      );
      assertEquals([gpu().memory(), other.memory()], before);
    });
  },
});

Deno.test({
  name: "attention() throws when the schedule does not fit",
  ignore,
  fn() {
    gpu().scope(() => {
      const refuse = (schedule: unknown) => {
        const { message } = assertThrows(
          () => callAttention({ options: { schedule } }),
          RangeError,
        );
        return message.split(" is not among ", 1)[0];
      };
      const q = zeros([2, 4, 4, 8]);
      const k = zeros([2, 6, 2, 8]);
      const v = zeros([2, 6, 2, 12]);
      const before = gpu().memory();
      const call = () => callAttention({ q, k, v, options: { schedule: "fastest" } });
      const error = assertThrows(call, RangeError);

      assertEquals(gpu().memory(), before);
      assert(error.message.endsWith(", naive"), error.message);
      const rule = "Cannot plan attention as schedule must fit the problem and the device:";
      assertEquals(refuse("fastest"), `${rule} "fastest"`);
      assertEquals(
        refuse({ kind: "subgroup", lanes: 5, rows: 1, exchange: "broadcast", source: "buffer" }),
        `${rule} "subgroup-5x1-broadcast-buffer"`,
      );
      assertEquals(
        refuse({ kind: "workgroup", blockQ: 512, blockKv: 512, rows: 4, cols: 4, depth: 16 }),
        `${rule} "workgroup-512x512-4x4-16"`,
      );
    });
  },
});
