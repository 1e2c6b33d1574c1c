import { assert, assertEquals } from "@std/assert";
import {
  gatedDeltaRule,
  type Tensor,
  titansMemory,
  type TitansMemoryState,
  titansMemoryStep,
} from "../../mod.ts";
import { assertClose } from "../assert_close.ts";
import { caseOf, compute, ignore, inputsOf, theGpu } from "../fast_weights.ts";
import { testCase, testInvariants, testRefusal } from "../fast_weights_tests.ts";

const PACKED = { cuSeqlens: [0, 0, 1, 18, 40, 40] };

testCase("titansMemory", "several mini-batches and some tokens", { length: 43 });
testCase("titansMemory", "the default mini-batch", { options: {} });
testCase("titansMemory", "one mini-batch of several blocks", {
  options: { miniBatch: 64 },
  length: 90,
});
testCase("titansMemory", "packed sequences", PACKED);
testCase("titansMemory", "packed sequences in mini-batches of 20", {
  ...PACKED,
  options: { miniBatch: 20 },
});
testCase("titansMemory", "no states", { initial: false });
testCase("titansMemory", "no momentum", { rates: ["alpha"] });
testCase("titansMemory", "no momentum in mini-batches of 20", {
  rates: ["alpha"],
  options: { miniBatch: 20 },
});
testCase("titansMemory", "no decay", { rates: ["eta"], keyDim: 4 });
testCase("titansMemory", "learning rates alone", { rates: [], keyDim: 4 });
testCase("titansMemory", "states with V before K", {
  options: { stateLayout: "vk", miniBatch: 20 },
  valueDim: 7,
});
testCase("titansMemory", "heads in groups", { batch: 2, heads: 4, qHeads: 2, kHeads: 2 });
testCase("titansMemory", "queries in groups", { batch: 2, qHeads: 4, kHeads: 1 });
testCase("titansMemory", "f16", { dtype: "f16" });
testCase("titansMemory", "f16 of ragged rows", { dtype: "f16", keyDim: 7, valueDim: 5 });
testCase("titansMemory", "a scale", { options: { scale: 0.3 } });
testCase("titansMemory", "one channel", { keyDim: 1, valueDim: 1 });
testCase("titansMemory", "60 and 100 channels", { keyDim: 60, valueDim: 100, options: {} });
testCase("titansMemory", "100 and 60 channels", {
  keyDim: 100,
  valueDim: 60,
  options: { miniBatch: 20 },
});
testCase("titansMemory", "no tokens", { length: 0 });
testCase("titansMemory", "no batch entries", { batch: 0 });
testCase("titansMemory", "the baseline", { options: { schedule: "naive" }, ...PACKED });
testCase("titansMemory", "the baseline in f16", {
  options: { schedule: "naive" },
  dtype: "f16",
  valueDim: 9,
});

testInvariants("titansMemory");

Deno.test({
  name: "titansMemory() without momentum is gatedDeltaRule()",
  ignore,
  async fn() {
    const gpu = theGpu();
    const c = caseOf("titansMemory", { rates: ["alpha"], initial: false, options: {} });
    const inputs = inputsOf(c);
    const { q, k, v, theta, alpha } = inputs;
    const gates = alpha.data.map((x) => Math.log(1 - x));
    const upload = ({ data, shape }: typeof q) => gpu.tensor(Float32Array.from(data), shape);
    const [queries, keys, values, g, beta] = [
      ...[q, k, v, { data: gates, shape: alpha.shape }, theta],
    ].map(upload);

    const actual = await compute(c, inputs);

    const { out, finalState } = gatedDeltaRule(queries, keys, values, g, beta, {
      finalState: true,
    });
    assert(finalState !== undefined);
    assertClose("out", actual.out, await out.read(), { ratio: 1e-5 });
    assertClose("state", actual["finalState.m"], await finalState.read(), { ratio: 1e-5 });
    for (const tensor of [queries, keys, values, g, beta, out, finalState]) tensor.dispose();
  },
});

Deno.test({
  name: "titansMemory() leaves an initial state as it is, and returns none unless asked",
  ignore,
  async fn() {
    const { q, k, v, options } = accepted();
    const initialState = state();

    const result = titansMemory(q, k, v, { ...options, initialState });

    assertEquals(Object.keys(result), ["out"]);
    assertEquals(await initialState.m.read(), new Float32Array(2 * 2 * 12));
    const { m, s } = initialState;
    for (const tensor of [q, k, v, options.theta, m, s, result.out]) tensor.dispose();
    assertEquals(theGpu().memory().tensors, 0);
  },
});

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor {
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return theGpu().tensor(new data(shape.reduce((a, b) => a * b, 1)), shape);
}

/** Arguments that are accepted: 2 batch entries of 6 tokens, 2 heads of 3 and 4 channels. */
function accepted() {
  const row = (width: number): Tensor<"f32"> => zeros([2, 6, 2, width]) as Tensor<"f32">;
  return { q: row(3), k: row(3), v: row(4), options: { theta: zeros([2, 6, 2]) } };
}

function state(): TitansMemoryState {
  const [m, s] = [zeros([2, 2, 3, 4]), zeros([2, 2, 3, 4])];
  return { m: m as Tensor<"f32">, s: s as Tensor<"f32"> };
}

/** Tests that a call with some other arguments throws. */
function refuses(
  when: string,
  make: () => object,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  const unchecked = titansMemory as (...values: unknown[]) => unknown;
  testRefusal(when, () => {
    const { q, k, v, options, ...more } = { ...accepted(), ...make() };
    return unchecked(q, k, v, { ...options, ...more });
  }, [kind, `Cannot compute the memory of Titans as ${rule}`]);
}

refuses("v is an array", () => ({ v: new Float32Array(96) }), [
  TypeError,
  "v must be a Tensor: v is Float32Array",
]);
refuses("theta is missing", () => ({ options: {} }), [
  TypeError,
  "theta must be a Tensor: theta is undefined",
]);
refuses("theta is a number", () => ({ theta: 0.1 }), [
  TypeError,
  "theta must be a Tensor: theta is 0.1",
]);
for (const name of ["theta", "eta", "alpha"]) {
  refuses(`${name} has no axis of heads`, () => ({ [name]: zeros([2, 6]) }), [
    TypeError,
    `${name} must be [2,6,2]: ${name} is [2,6]`,
  ]);
  refuses(`${name} holds integers`, () => ({ [name]: zeros([2, 6, 2], "i32") }), [
    TypeError,
    `${name} must be f32 or f16: ${name} is i32`,
  ]);
}
refuses("v is shorter than k", () => ({ v: zeros([2, 5, 2, 4]) }), [
  TypeError,
  "q and k and v must share a length: current values are q=6, k=6, v=5",
]);
refuses("the heads of v are no multiple of those of k", () => ({ k: zeros([2, 6, 3, 3]) }), [
  TypeError,
  "the heads of v must be a multiple of those of k, and those of q and v one of the other: current heads are q=2, k=3, v=2",
]);
refuses("an option is unknown", () => ({ beta: zeros([2, 6, 2]) }), [
  TypeError,
  'options must be known: "beta" is not, the nearest is "eta"',
]);
refuses("miniBatch is 0", () => ({ miniBatch: 0 }), [
  RangeError,
  "miniBatch must be an integer from 1 to 2^31 - 1: miniBatch is 0",
]);
refuses("eps is given", () => ({ eps: 1 }), [
  TypeError,
  'options must be known: "eps" is not, the nearest is "eta"',
]);
refuses("finalState is a number", () => ({ finalState: 1 }), [
  TypeError,
  "finalState must be true or false: finalState is 1",
]);
refuses("stateLayout is unknown", () => ({ stateLayout: "kk" }), [
  RangeError,
  "stateLayout must be one of kv, vk: stateLayout is kk",
]);
refuses("scale is infinite", () => ({ scale: Infinity }), [
  RangeError,
  "scale must be a finite f32: scale is Infinity",
]);
refuses("schedule is an object", () => ({ schedule: {} }), [
  TypeError,
  "schedule must be a name: schedule is Object",
]);
refuses("the state has one matrix", () => ({ initialState: { m: state().m } }), [
  TypeError,
  "initialState.s must be a Tensor: initialState.s is undefined",
]);
refuses("the state has V before K", () => ({
  initialState: { ...state(), s: zeros([2, 2, 4, 3]) },
}), [TypeError, "initialState.s must be [2,2,3,4]: initialState.s is [2,2,4,3]"]);
refuses("the state is a tensor", () => ({ initialState: zeros([2, 2, 3, 4]) }), [
  TypeError,
  "initialState must be a record { m, s }: initialState is Tensor",
]);

testRefusal("a step has no state", () => {
  const { q, k, v, options } = accepted();
  return titansMemoryStep(undefined as never, q, k, v, options);
}, [TypeError, "Cannot compute the memory of Titans as a step needs a state: state is undefined"]);
testRefusal("a step has a mini-batch", () => {
  const { q, k, v, options } = accepted();
  return titansMemoryStep(state(), q, k, v, { ...options, miniBatch: 2 } as typeof options);
}, [
  TypeError,
  'Cannot compute the memory of Titans as options must be known: "miniBatch" is not, the nearest is "theta"',
]);
