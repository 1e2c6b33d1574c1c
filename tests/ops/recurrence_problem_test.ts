import { assert, assertEquals, assertThrows } from "@std/assert";
import { recurrence, requestGpu, type Tensor } from "../../mod.ts";
import { recurrenceProblem } from "../../ops/recurrence/problem.ts";
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

/** What a call is given, well-formed or not. */
interface Call {
  q?: unknown;
  k?: unknown;
  v?: unknown;
  options?: unknown;
}

function call({ q, k, v, options }: Call): void {
  const unchecked = recurrence as (...values: unknown[]) => unknown;
  unchecked(q, k, v, options);
}

/**
 * Tests that a call throws exactly this, and that nothing is allocated or recorded: B 2, T 6, HQ 4,
 * HK 2, HV 4, K 8, V 12, unless the call says otherwise.
 */
function testRefusal(
  when: string,
  make: () => Call,
  [kind, rule]: [typeof TypeError | typeof RangeError, string],
): void {
  Deno.test({
    name: `recurrence() throws when ${when}`,
    ignore,
    fn() {
      gpu().scope(() => {
        const given = {
          q: zeros([2, 6, 4, 8]),
          k: zeros([2, 6, 2, 8]),
          v: zeros([2, 6, 4, 12]),
          options: {},
          ...make(),
        };
        const before = gpu().memory();
        const error = assertThrows(() => call(given), kind);

        assertEquals(error.message, `Cannot compute a recurrence as ${rule}`);
        assertEquals(error.constructor, kind);
        assertEquals(gpu().memory(), before);
      });
      assertEquals(gpu().memory().tensors, 0);
    },
  });
}

const withOptions = (make: () => object) => (): Call => ({ options: make() });
const typeError = (rule: string): [typeof TypeError, string] => [TypeError, rule];
const rangeError = (rule: string): [typeof RangeError, string] => [RangeError, rule];

Deno.test({
  name: "recurrenceProblem() accepts what the refusals below vary",
  ignore,
  fn() {
    gpu().scope(() => {
      const [q, k] = [zeros([2, 6, 4, 8]), zeros([2, 6, 2, 8])];

      const { problem } = recurrenceProblem(q, k, zeros([2, 6, 4, 12]), {});

      assertEquals(problem, {
        batch: 2,
        length: 6,
        qHeads: 4,
        kHeads: 2,
        heads: 4,
        inputs: {
          q: { elem: "f32", heads: 4 },
          k: { elem: "f32", heads: 2 },
          v: { elem: "f32", heads: 4 },
        },
        dim: 8,
        keyDim: 8,
        valueDim: 12,
        elem: "f32",
        gate: "none",
        featureMap: "identity",
        featureScale: 8 ** -0.25,
        lowerBound: 0,
        gateForm: "log",
        erase: "none",
        betaForm: "plain",
        l2norm: false,
        substeps: 1,
        softplus: false,
        stepLimits: [0, 0],
        keyCount: 0,
        normalize: false,
        divisor: "sum",
        eps: 1e-10,
        scale: 8 ** -0.5,
        initial: false,
        final: false,
        valueFirst: false,
        reverse: false,
        bounds: [0, 6, 12],
        mode: "auto",
        chunkSize: null,
        copyable: true,
        schedule: null,
      });
    });
  },
});

Deno.test({
  name: "recurrenceProblem() takes every option",
  ignore,
  fn() {
    gpu().scope(() => {
      const x = zeros([1, 6, 4, 8], "f16");

      const { problem } = recurrenceProblem(x, x, x, {
        g: zeros([1, 6, 4, 8]),
        gv: zeros([1, 6, 4, 8], "f16"),
        u: zeros([2, 8], "f16"),
        normalize: true,
        eps: 0,
        scale: -2,
        initialState: { s: zeros([4, 4, 8, 8]), z: zeros([4, 4, 8]) },
        finalState: true,
        stateLayout: "vk",
        cuSeqlens: bounds(0, 0, 5, 6, 6),
        reverse: true,
        mode: "chunk",
        chunkSize: 16,
        schedule: "naive",
      });

      assertEquals(problem, {
        batch: 1,
        length: 6,
        qHeads: 4,
        kHeads: 4,
        heads: 4,
        inputs: {
          q: { elem: "f16", heads: 4 },
          k: { elem: "f16", heads: 4 },
          v: { elem: "f16", heads: 4 },
          gk: { elem: "f32", heads: 4 },
          gv: { elem: "f16", heads: 4 },
          u: { elem: "f16", heads: 2 },
        },
        dim: 8,
        keyDim: 8,
        valueDim: 8,
        elem: "f16",
        gate: "channel",
        featureMap: "identity",
        featureScale: 8 ** -0.25,
        lowerBound: 0,
        gateForm: "log",
        erase: "none",
        betaForm: "plain",
        l2norm: false,
        substeps: 1,
        softplus: false,
        stepLimits: [0, 0],
        keyCount: 0,
        normalize: true,
        divisor: "sum",
        eps: 0,
        scale: -2,
        initial: true,
        final: true,
        valueFirst: true,
        reverse: true,
        bounds: [0, 0, 5, 6, 6],
        mode: "chunk",
        chunkSize: 16,
        copyable: true,
        schedule: "naive",
      });
    });
  },
});

Deno.test({
  name: "recurrenceProblem() tells gates by their shape",
  ignore,
  fn() {
    gpu().scope(() => {
      const x = zeros([2, 6, 4, 8]);
      const gateOf = (shape: number[]) =>
        recurrenceProblem(x, x, x, { g: zeros(shape, "f16") }).problem;

      assertEquals(gateOf([4]).gate, "head");
      assertEquals(gateOf([4]).inputs.headGate, { elem: "f16", heads: 4 });
      assertEquals(gateOf([2, 6, 4]).gate, "token");
      assertEquals(gateOf([2, 6, 4, 8]).gate, "channel");
    });
  },
});

Deno.test({
  name: "recurrenceProblem() accepts batches, sequences and tokens that are none",
  ignore,
  fn() {
    gpu().scope(() => {
      const boundsOf = (batch: number, length: number, ...cuts: number[]) => {
        const x = zeros([batch, length, 1, 4]);
        const options = cuts.length > 0 ? { cuSeqlens: bounds(...cuts) } : {};
        return recurrenceProblem(x, x, x, options).problem.bounds;
      };

      assertEquals(boundsOf(0, 5), [0]);
      assertEquals(boundsOf(2, 0), [0, 0, 0]);
      assertEquals(boundsOf(1, 0, 0), [0]);
      assertEquals(boundsOf(1, 0, 0, 0), [0, 0]);
      assertEquals(boundsOf(1, 5, 0, 0, 5), [0, 0, 5]);
    });
  },
});

Deno.test({
  name: "recurrenceProblem() copies into textures only what may be copied",
  ignore,
  fn() {
    gpu().scope(() => {
      const x = zeros([1, 6, 4, 8]);
      const usage = GPUBufferUsage.STORAGE;
      const buffer = gpu().device.createBuffer({ size: 4 * 6 * 4 * 8, usage });
      const bare = (shape: number[]) => gpu().wrap(buffer, shape, "f32");
      const copyable = (options: Parameters<typeof recurrenceProblem>[3]) =>
        recurrenceProblem(x, x, x, options).problem.copyable;

      assertEquals(copyable({ g: zeros([4]), gv: x, u: zeros([4, 8]) }), true);
      assertEquals(copyable({ g: bare([1, 6, 4, 8]) }), false);
      assertEquals(copyable({ gv: bare([1, 6, 4, 8]) }), false);
      assertEquals(copyable({ u: bare([4, 8]) }), false);
      assertEquals(recurrenceProblem(bare([1, 6, 4, 8]), x, x, {}).problem.copyable, false);
      buffer.destroy();
    });
  },
});

// options
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
  "options is a list",
  () => ({ options: [] }),
  typeError("options must be an object: options is Array"),
);
testRefusal(
  "an option is unknown",
  withOptions(() => ({ bet: 3 })),
  typeError('options must be known: "bet" is not, the nearest is "beta"'),
);
testRefusal(
  "an option is misspelt",
  withOptions(() => ({ normalise: true })),
  typeError('options must be known: "normalise" is not, the nearest is "normalize"'),
);
for (const name of ["normalize", "finalState", "reverse"]) {
  testRefusal(
    `${name} is 1`,
    withOptions(() => ({ [name]: 1 })),
    typeError(`${name} must be true or false: ${name} is 1`),
  );
}
testRefusal(
  "normalize is a word, even with a state",
  withOptions(() => ({ normalize: "yes", initialState: zeros([2, 4, 8, 12]) })),
  typeError("normalize must be true or false: normalize is yes"),
);
testRefusal(
  "finalState is null",
  withOptions(() => ({ finalState: null })),
  typeError("finalState must be true or false: finalState is null"),
);
testRefusal(
  "mode is unknown",
  withOptions(() => ({ mode: "scan" })),
  rangeError("mode must be one of auto, chunk, loop: mode is scan"),
);
testRefusal(
  "mode is null",
  withOptions(() => ({ mode: null })),
  rangeError("mode must be one of auto, chunk, loop: mode is null"),
);
testRefusal(
  "stateLayout is unknown",
  withOptions(() => ({ stateLayout: "KV" })),
  rangeError("stateLayout must be one of kv, vk: stateLayout is KV"),
);
for (
  const [chunkSize, name] of [[48, "48"], [0, "0"], [NaN, "NaN"], [128, "128"], [[64], "Array"]]
) {
  testRefusal(
    `chunkSize is ${JSON.stringify(chunkSize)}`,
    withOptions(() => ({ chunkSize })),
    rangeError(`chunkSize must be one of 16, 32, 64: chunkSize is ${name}`),
  );
}
testRefusal(
  "chunkSize is not offered, in a loop",
  withOptions(() => ({ chunkSize: 8, mode: "loop" })),
  rangeError("chunkSize must be one of 16, 32, 64: chunkSize is 8"),
);
for (const [eps, name] of [[-1, "-1"], [NaN, "NaN"], [Infinity, "Infinity"], [1e39, "1e+39"]]) {
  testRefusal(
    `eps is ${name}`,
    withOptions(() => ({ eps })),
    rangeError(`eps must be a finite f32 >= 0: eps is ${name}`),
  );
}
testRefusal(
  "eps is null",
  withOptions(() => ({ eps: null })),
  rangeError("eps must be a finite f32 >= 0: eps is null"),
);
for (
  const [scale, name] of [[NaN, "NaN"], [-Infinity, "-Infinity"], [null, "null"], [1e39, "1e+39"]]
) {
  testRefusal(
    `scale is ${name}`,
    withOptions(() => ({ scale })),
    rangeError(`scale must be a finite f32: scale is ${name}`),
  );
}
for (const [schedule, name] of [[5, "5"], [{}, "Object"], [true, "true"]]) {
  testRefusal(
    `schedule is ${JSON.stringify(schedule)}`,
    withOptions(() => ({ schedule })),
    typeError(`schedule must be a name: schedule is ${name}`),
  );
}

// q, k and v
testRefusal(
  "q is missing",
  () => ({ q: undefined }),
  typeError("q must be a Tensor: q is undefined"),
);
testRefusal(
  "v is missing",
  () => ({ v: undefined }),
  typeError("v must be a Tensor: v is undefined"),
);
testRefusal(
  "k is an array",
  () => ({ k: new Float32Array(4) }),
  typeError("k must be a Tensor: k is Float32Array"),
);
testRefusal("v was disposed", () => {
  const v = zeros([2, 6, 4, 12]);
  v.dispose();
  return { v };
}, typeError("v must be live: v [2,6,4,12] was disposed"));
testRefusal(
  "q has no heads axis",
  () => ({ q: zeros([2, 6, 8]) }),
  typeError("q must have 4 axes [B, T, heads, dim]: q is [2,6,8]"),
);
testRefusal(
  "v has five axes",
  () => ({ v: zeros([2, 6, 4, 12, 1]) }),
  typeError("v must have 4 axes [B, T, heads, dim]: v is [2,6,4,12,1]"),
);
testRefusal(
  "the batches differ",
  () => ({ k: zeros([1, 6, 2, 8]) }),
  typeError("q and k and v must share a batch: current values are q=2, k=1, v=2"),
);
testRefusal(
  "the lengths differ",
  () => ({ v: zeros([2, 5, 4, 12]) }),
  typeError("q and k and v must share a length: current values are q=6, k=6, v=5"),
);
testRefusal(
  "q and k differ in key dim",
  () => ({ k: zeros([2, 6, 2, 12]) }),
  typeError("q and k must share a key dim: current values are q=8, k=12"),
);
testRefusal(
  "K is too large",
  () => ({ q: zeros([2, 6, 4, 257]), k: zeros([2, 6, 2, 257]) }),
  rangeError("the key dim of q and k must be 1 to 256: current key dim of q and k is 257"),
);
testRefusal(
  "K is 0",
  () => ({ q: zeros([2, 6, 4, 0]), k: zeros([2, 6, 2, 0]) }),
  rangeError("the key dim of q and k must be 1 to 256: current key dim of q and k is 0"),
);
testRefusal(
  "V is too large",
  () => ({ v: zeros([2, 6, 4, 257]) }),
  rangeError("the value dim of v must be 1 to 256: current value dim of v is 257"),
);
testRefusal(
  "V is 0",
  () => ({ v: zeros([2, 6, 4, 0]) }),
  rangeError("the value dim of v must be 1 to 256: current value dim of v is 0"),
);
for (
  const [q, k, v] of [[4, 3, 4], [4, 8, 4], [3, 2, 4], [6, 2, 4], [0, 2, 4], [4, 0, 4], [4, 2, 0]]
) {
  testRefusal(
    `the heads are ${q}, ${k} and ${v}`,
    () => ({ q: zeros([2, 6, q, 8]), k: zeros([2, 6, k, 8]), v: zeros([2, 6, v, 12]) }),
    typeError(
      `the heads of v must be a multiple of those of k, and those of q and v one of the other: current heads are q=${q}, k=${k}, v=${v}`,
    ),
  );
}
testRefusal(
  "the dtypes differ",
  () => ({ k: zeros([2, 6, 2, 8], "f16") }),
  typeError("q, k and v must share a dtype: current dtypes are q=f32, k=f16, v=f32"),
);
testRefusal(
  "the dtype is an integer",
  () => ({ q: zeros([2, 6, 4, 8], "i32") }),
  typeError("q must be f32 or f16: q is i32"),
);

// gates and bonus
const GATES = "[HV] = [4], [B, T, HV] = [2,6,4] or [B, T, HV, K] = [2,6,4,8]";
for (
  const shape of [[], [2], [1, 4], [6, 4], [2, 6, 2], [2, 6, 4, 12], [2, 6, 4, 1], [2, 6, 2, 8]]
) {
  testRefusal(
    `g is [${shape}]`,
    withOptions(() => ({ g: zeros(shape) })),
    typeError(`g must be ${GATES}: g is [${shape}]`),
  );
}
testRefusal(
  "g holds integers",
  withOptions(() => ({ g: zeros([4], "i32") })),
  typeError("g must be f32 or f16: g is i32"),
);
testRefusal(
  "g is a number",
  withOptions(() => ({ g: -0.1 })),
  typeError("g must be a Tensor: g is -0.1"),
);
testRefusal(
  "g is null",
  withOptions(() => ({ g: null })),
  typeError("g must be a Tensor: g is null"),
);
testRefusal(
  "g was disposed",
  withOptions(() => {
    const g = zeros([4]);
    g.dispose();
    return { g };
  }),
  typeError("g must be live: g [4] was disposed"),
);
for (const shape of [[4], [2, 6, 4], [2, 6, 4, 8]]) {
  testRefusal(
    `gv is [${shape}]`,
    withOptions(() => ({ gv: zeros(shape) })),
    typeError(`gv must be [2,6,4,12]: gv is [${shape}]`),
  );
}
testRefusal(
  "gv holds integers",
  withOptions(() => ({ gv: zeros([2, 6, 4, 12], "i32") })),
  typeError("gv must be f32 or f16: gv is i32"),
);
for (const shape of [[8], [3, 8], [8, 8], [0, 8], [4, 12], [1, 4, 8]]) {
  testRefusal(
    `u is [${shape}]`,
    withOptions(() => ({ u: zeros(shape) })),
    typeError(`u must be [H, K] with H a divisor of 4 and K = 8: u is [${shape}]`),
  );
}
testRefusal(
  "u holds integers",
  withOptions(() => ({ u: zeros([4, 8], "i32") })),
  typeError("u must be f32 or f16: u is i32"),
);

// sequences
/** A call of B 1, T 6 with bounds of sequences. */
const withBounds = (make: () => unknown) => (): Call => {
  const x = zeros([1, 6, 4, 8]);
  return { q: x, k: x, v: x, options: { cuSeqlens: make() } };
};
for (
  const cuts of [[0, 4, 3, 6], [1, 6], [0, 5], [0, 7], [-1, 6], [0, 7, 6], [6], [0], [], [0, -1, 6]]
) {
  testRefusal(
    `cuSeqlens is [${cuts}]`,
    withBounds(() => bounds(...cuts)),
    rangeError(`cuSeqlens must rise from 0 to T = 6: cuSeqlens is [${cuts}]`),
  );
}
testRefusal(
  "cuSeqlens comes with a batch",
  withOptions(() => ({ cuSeqlens: bounds(0, 12) })),
  typeError("cuSeqlens needs a batch of 1: current batch is 2"),
);
testRefusal(
  "cuSeqlens is f32",
  withBounds(() => zeros([2])),
  typeError("cuSeqlens must be i32: cuSeqlens is f32"),
);
testRefusal(
  "cuSeqlens has two axes",
  withBounds(() => zeros([1, 2], "i32")),
  typeError("cuSeqlens must have 1 axes [N + 1]: cuSeqlens is [1,2]"),
);
testRefusal(
  "cuSeqlens was not uploaded",
  withBounds(() => gpu().empty([2], "i32")),
  typeError(
    "cuSeqlens must be made from data by gpu.tensor(), for plans depend on it: it was computed or wrapped",
  ),
);
testRefusal(
  "cuSeqlens was wrapped",
  withBounds(() => gpu().wrap(bounds(0, 6).buffer, [2], "i32")),
  typeError(
    "cuSeqlens must be made from data by gpu.tensor(), for plans depend on it: it was computed or wrapped",
  ),
);
testRefusal(
  "cuSeqlens is an array",
  withBounds(() => [0, 6]),
  typeError("cuSeqlens must be a Tensor: cuSeqlens is Array"),
);
testRefusal(
  "cuSeqlens is null",
  withBounds(() => null),
  typeError("cuSeqlens must be a Tensor: cuSeqlens is null"),
);

// states
const withState = (make: () => unknown) => withOptions(() => ({ initialState: make() }));
const withRecord = (make: () => unknown) =>
  withOptions(() => ({ normalize: true, initialState: make() }));
const goodState = () => zeros([2, 4, 8, 12]);
const goodSums = () => zeros([2, 4, 8]);
for (const [state, name] of [[null, "null"], [0, "0"], [[], "Array"], ["zero", "zero"]]) {
  testRefusal(
    `initialState is ${JSON.stringify(state)}`,
    withState(() => state),
    typeError(`initialState must be a Tensor: initialState is ${name}`),
  );
  if (name === "Array") continue;
  testRefusal(
    `initialState is ${JSON.stringify(state)} with normalize`,
    withRecord(() => state),
    typeError(
      `initialState must be a record { s, z } where normalize is true: initialState is ${name}`,
    ),
  );
}
testRefusal(
  "initialState is a record without normalize",
  withState(() => ({ s: goodState(), z: goodSums() })),
  typeError("initialState must be a Tensor: initialState is Object"),
);
testRefusal(
  "initialState is a tensor with normalize",
  withRecord(goodState),
  typeError(
    "initialState must be a record { s, z } where normalize is true: initialState is Tensor",
  ),
);
testRefusal(
  "initialState lacks z",
  withRecord(() => ({ s: goodState() })),
  typeError("initialState.z must be a Tensor: initialState.z is undefined"),
);
testRefusal(
  "initialState lacks s",
  withRecord(() => ({ z: goodSums() })),
  typeError("initialState.s must be a Tensor: initialState.s is undefined"),
);
testRefusal(
  "initialState is a list with normalize",
  withRecord(() => [goodState(), goodSums()]),
  typeError("initialState.s must be a Tensor: initialState.s is undefined"),
);
testRefusal(
  "initialState.z is null",
  withRecord(() => ({ s: goodState(), z: null })),
  typeError("initialState.z must be a Tensor: initialState.z is null"),
);
for (const shape of [[1, 4, 8, 12], [3, 4, 8, 12], [2, 2, 8, 12], [2, 4, 12, 8], [4, 8, 12]]) {
  testRefusal(
    `initialState is [${shape}]`,
    withState(() => zeros(shape)),
    typeError(`initialState must be [2,4,8,12]: initialState is [${shape}]`),
  );
}
testRefusal(
  "initialState has K before V where V is first",
  withOptions(() => ({ initialState: goodState(), stateLayout: "vk" })),
  typeError("initialState must be [2,4,12,8]: initialState is [2,4,8,12]"),
);
testRefusal(
  "initialState has a row for the batch, not for each sequence",
  () => {
    const x = zeros([1, 6, 4, 8]);
    const options = { cuSeqlens: bounds(0, 2, 2, 6), initialState: zeros([1, 4, 8, 8]) };
    return { q: x, k: x, v: x, options };
  },
  typeError("initialState must be [3,4,8,8]: initialState is [1,4,8,8]"),
);
testRefusal(
  "initialState.s has another N",
  withRecord(() => ({ s: zeros([1, 4, 8, 12]), z: goodSums() })),
  typeError("initialState.s must be [2,4,8,12]: initialState.s is [1,4,8,12]"),
);
testRefusal(
  "initialState.z has the width of v",
  withRecord(() => ({ s: goodState(), z: zeros([2, 4, 12]) })),
  typeError("initialState.z must be [2,4,8]: initialState.z is [2,4,12]"),
);
testRefusal(
  "initialState is f16",
  withState(() => zeros([2, 4, 8, 12], "f16")),
  typeError("initialState must be f32: initialState is f16"),
);
testRefusal(
  "initialState.z is f16",
  withRecord(() => ({ s: goodState(), z: zeros([2, 4, 8], "f16") })),
  typeError("initialState.z must be f32: initialState.z is f16"),
);
testRefusal(
  "initialState.s was disposed",
  withRecord(() => {
    const s = goodState();
    s.dispose();
    return { s, z: goodSums() };
  }),
  typeError("initialState.s must be live: initialState.s [2,4,8,12] was disposed"),
);

Deno.test({
  name: "recurrence() throws when a state may not be copied",
  ignore,
  fn() {
    const buffer = gpu().device.createBuffer({ size: 4 * 16, usage: GPUBufferUsage.STORAGE });
    gpu().scope(() => {
      const x = zeros([1, 3, 1, 4]);
      const initialState = gpu().wrap(buffer, [1, 1, 4, 4], "f32");

      const error = assertThrows(() => call({ q: x, k: x, v: x, options: { initialState } }));

      assert(error instanceof TypeError);
      assertEquals(
        error.message,
        "Cannot compute a recurrence as the buffer of initialState must have COPY_SRC usage: it has not",
      );
    });
    buffer.destroy();
  },
});

Deno.test({
  name: "recurrence() throws when a tensor belongs to another device",
  ignore,
  async fn() {
    using other = await requestGpu();
    using foreign = other.tensor(new Float32Array(12), [1, 3, 1, 4]);
    using cuSeqlens = other.tensor(Int32Array.of(0, 3), [2]);
    using z = other.tensor(new Float32Array(4), [1, 1, 4]);
    gpu().scope(() => {
      const x = zeros([1, 3, 1, 4]);
      const s = zeros([1, 1, 4, 4]);
      const before = [gpu().memory(), other.memory()];
      const refuse = (given: Call): string =>
        assertThrows(() => call({ q: x, k: x, v: x, ...given }), TypeError).message;

      assertEquals(
        [
          refuse({ v: foreign }),
          refuse({ options: { gv: foreign } }),
          refuse({ options: { cuSeqlens } }),
          refuse({ options: { normalize: true, initialState: { s, z } } }),
        ],
        ["v", "gv", "cuSeqlens", "initialState.z"].map((name) =>
          `Cannot compute a recurrence as tensors must share a device: ${name} lives on another device than q`
        ),
      );
      assertEquals([gpu().memory(), other.memory()], before);
    });
  },
});

Deno.test({
  name: "recurrence() throws when the schedule does not fit, and lists those that do",
  ignore,
  fn() {
    gpu().scope(() => {
      const x = zeros([1, 8, 1, 4]);
      const before = gpu().memory();
      const refuse = (schedule: string): string => {
        const error = assertThrows(
          () => call({ q: x, k: x, v: x, options: { schedule } }),
          RangeError,
        );
        assert(error.message.endsWith(", naive"), error.message);
        return error.message.split(" is not among ", 1)[0];
      };
      const rule = "Cannot plan a recurrence as schedule must fit the problem and the device:";

      assertEquals(refuse("fastest"), `${rule} "fastest"`);
      assertEquals(refuse("subgroup-7x1-buffer"), `${rule} "subgroup-7x1-buffer"`);
      assertEquals(refuse(""), `${rule} ""`);
      assertEquals(gpu().memory(), before);
    });
  },
});
