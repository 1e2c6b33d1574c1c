import { assert, assertEquals } from "@std/assert";
import { type Tensor, tttLinear, type TttLinearState, tttLinearStep } from "../../mod.ts";
import { caseOf, compute, ignore, inputsOf, theGpu } from "../fast_weights.ts";
import { testCase, testInvariants, testRefusal } from "../fast_weights_tests.ts";

const PACKED = { cuSeqlens: [0, 0, 1, 18, 40, 40] };

testCase("tttLinear", "several mini-batches and some tokens", { length: 43 });
testCase("tttLinear", "mini-batches of one token", { options: { miniBatch: 1 } });
testCase("tttLinear", "the default mini-batch", { options: {} });
testCase("tttLinear", "one mini-batch of several blocks", {
  options: { miniBatch: 64 },
  length: 90,
});
testCase("tttLinear", "packed sequences", PACKED);
testCase("tttLinear", "packed sequences in mini-batches of 20", {
  ...PACKED,
  options: { miniBatch: 20 },
});
testCase("tttLinear", "no states", { initial: false });
testCase("tttLinear", "states with V before K", { options: { stateLayout: "vk", miniBatch: 20 } });
testCase("tttLinear", "heads in groups", { batch: 2, heads: 4, qHeads: 2, kHeads: 2 });
testCase("tttLinear", "queries in groups", { batch: 2, qHeads: 4, kHeads: 1 });
testCase("tttLinear", "f16", { dtype: "f16" });
testCase("tttLinear", "f16 of ragged rows", { dtype: "f16", keyDim: 7, valueDim: 7 });
testCase("tttLinear", "a scale and eps", { options: { scale: 0.3, eps: 1e-2 } });
testCase("tttLinear", "one channel", { keyDim: 1, valueDim: 1 });
testCase("tttLinear", "60 channels", { keyDim: 60, valueDim: 60, options: {} });
testCase("tttLinear", "100 channels", { keyDim: 100, valueDim: 100, options: { miniBatch: 20 } });
testCase("tttLinear", "no tokens", { length: 0 });
testCase("tttLinear", "no batch entries", { batch: 0 });
testCase("tttLinear", "the baseline", { options: { schedule: "naive" }, ...PACKED });
testCase("tttLinear", "the baseline in f16", {
  options: { schedule: "naive" },
  dtype: "f16",
  keyDim: 9,
  valueDim: 9,
});

testInvariants("tttLinear");

Deno.test({
  name: "tttLinear() does not learn with learning rates of 0",
  ignore,
  async fn() {
    const c = caseOf("tttLinear");
    const inputs = inputsOf(c);
    const eta = { ...inputs.eta, data: inputs.eta.data.slice().fill(0) };

    const outputs = await compute(c, { ...inputs, eta });

    assertEquals(outputs["finalState.w"], inputs["initialState.w"].data);
    assertEquals(outputs["finalState.b"], inputs["initialState.b"].data);
  },
});

Deno.test({
  name: "tttLinear() leaves an initial state as it is, and returns none unless asked",
  ignore,
  async fn() {
    const { q, k, v, w, b, eta, options } = accepted();
    const initialState = state();

    const result = tttLinear(q, k, v, w, b, eta, { ...options, initialState });

    assertEquals(Object.keys(result), ["out"]);
    assertEquals(await initialState.w.read(), new Float32Array(2 * 2 * 9));
    const { w: states, b: biases } = initialState;
    for (const tensor of [q, k, v, w, b, eta, states, biases, result.out]) tensor.dispose();
    assertEquals(theGpu().memory().tensors, 0);
  },
});

/** A tensor of zeros. */
function zeros(shape: number[], dtype: "f32" | "f16" | "i32" = "f32"): Tensor {
  const data = { f32: Float32Array, f16: Float16Array, i32: Int32Array }[dtype];
  return theGpu().tensor(new data(shape.reduce((a, b) => a * b, 1)), shape);
}

/** Arguments that are accepted: 2 batch entries of 6 tokens, 2 heads of 3 channels. */
function accepted() {
  const row = (): Tensor<"f32"> => zeros([2, 6, 2, 3]) as Tensor<"f32">;
  const [w, b] = [zeros([2, 3]), zeros([2, 3])];
  return { q: row(), k: row(), v: row(), w, b, eta: zeros([2, 6, 2]), options: {} };
}

function state(): TttLinearState {
  const [w, b] = [zeros([2, 2, 3, 3]), zeros([2, 2, 3])];
  return { w: w as Tensor<"f32">, b: b as Tensor<"f32"> };
}

/** Tests that a call with some other arguments throws. */
function refuses(
  when: string,
  make: () => object,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  const unchecked = tttLinear as (...values: unknown[]) => unknown;
  testRefusal(when, () => {
    const { q, k, v, w, b, eta, options } = { ...accepted(), ...make() };
    return unchecked(q, k, v, w, b, eta, options);
  }, [kind, `Cannot compute TTT-Linear as ${rule}`]);
}

refuses("q is an array", () => ({ q: new Float32Array(72) }), [
  TypeError,
  "q must be a Tensor: q is Float32Array",
]);
refuses("eta is missing", () => ({ eta: {} }), [
  TypeError,
  "eta must be a Tensor: eta is Object",
]);
refuses("k and v have other dims", () => ({ v: zeros([2, 6, 2, 4]) }), [
  TypeError,
  "k and v must share a head dim: current values are k=3, v=4",
]);
refuses("q has another dim than k", () => ({ q: zeros([2, 6, 2, 4]) }), [
  TypeError,
  "q and k must share a key dim: current values are q=4, k=3",
]);
refuses("q has another dtype than k", () => ({ q: zeros([2, 6, 2, 3], "f16") }), [
  TypeError,
  "q, k and v must share a dtype: current dtypes are q=f16, k=f32, v=f32",
]);
refuses("w has a batch axis", () => ({ w: zeros([1, 2, 3]) }), [
  TypeError,
  "w must be [2,3]: w is [1,2,3]",
]);
refuses("b lacks a head", () => ({ b: zeros([1, 3]) }), [TypeError, "b must be [2,3]: b is [1,3]"]);
for (const name of ["q", "w", "b", "eta"]) {
  refuses(`${name} is missing`, () => ({ [name]: undefined as never }), [
    TypeError,
    `${name} must be a Tensor: ${name} is undefined`,
  ]);
}
refuses("cuSeqlens is null", () => ({ options: { cuSeqlens: null as never } }), [
  TypeError,
  "cuSeqlens must be a Tensor: cuSeqlens is null",
]);
refuses("eta has rows", () => ({ eta: zeros([2, 6, 2, 3]) }), [
  TypeError,
  "eta must be [2,6,2]: eta is [2,6,2,3]",
]);
refuses("eta holds integers", () => ({ eta: zeros([2, 6, 2], "i32") }), [
  TypeError,
  "eta must be f32 or f16: eta is i32",
]);
refuses("an option is unknown", () => ({ options: { minibatch: 4 } }), [
  TypeError,
  'options must be known: "minibatch" is not, the nearest is "miniBatch"',
]);
for (const miniBatch of [0, 1.5, "16", 2 ** 31]) {
  refuses(`miniBatch is ${JSON.stringify(miniBatch)}`, () => ({ options: { miniBatch } }), [
    RangeError,
    `miniBatch must be an integer from 1 to 2^31 - 1: miniBatch is ${miniBatch}`,
  ]);
}
refuses("eps is negative", () => ({ options: { eps: -1 } }), [
  RangeError,
  "eps must be a finite f32 >= 0: eps is -1",
]);
refuses("initialState is a tensor", () => ({ options: { initialState: zeros([2, 2, 3, 3]) } }), [
  TypeError,
  "initialState must be a record { w, b }: initialState is Tensor",
]);
refuses("the state lacks b", () => ({ options: { initialState: { w: state().w } } }), [
  TypeError,
  "initialState.b must be a Tensor: initialState.b is undefined",
]);
refuses("the state lacks a sequence", () => ({
  options: { initialState: { ...state(), b: zeros([1, 2, 3]) } },
}), [TypeError, "initialState.b must be [2,2,3]: initialState.b is [1,2,3]"]);
refuses("the state is f16", () => ({
  options: { initialState: { ...state(), w: zeros([2, 2, 3, 3], "f16") } },
}), [TypeError, "initialState.w must be f32: initialState.w is f16"]);

testRefusal("a step has no state", () => {
  const { q, k, v, w, b, eta } = accepted();
  return tttLinearStep(undefined as never, q, k, v, w, b, eta);
}, [TypeError, "Cannot compute TTT-Linear as a step needs a state: state is undefined"]);
testRefusal("a step has a mini-batch", () => {
  const { q, k, v, w, b, eta } = accepted();
  return tttLinearStep(state(), q, k, v, w, b, eta, { miniBatch: 2 } as object);
}, [
  TypeError,
  'Cannot compute TTT-Linear as options must be known: "miniBatch" is not, the nearest is "scale"',
]);

Deno.test({
  name: "tttLinear() names the schedules that fit",
  ignore,
  fn() {
    theGpu().scope(() => {
      const { q, k, v, w, b, eta } = accepted();
      let message = "";
      try {
        tttLinear(q, k, v, w, b, eta, { schedule: "fast" });
      } catch (error) {
        assert(error instanceof RangeError);
        message = error.message;
      }
      assertEquals(
        message,
        'Cannot plan fast weights as schedule must fit the problem and the device: "fast" is not among workgroup-8x1-16, naive',
      );
    });
  },
});
