import { assert, assertEquals, assertThrows } from "@std/assert";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import {
  type Gpu,
  logLinearAttention,
  type LogLinearAttentionOptions,
  logLinearAttentionStep,
  type LogLinearState,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import * as reference from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

const ROWS = ["q", "k", "v", "g", "lambda"] as const;
type Inputs = Readonly<Record<typeof ROWS[number], HostTensor>>;
type Rows = [q: Tensor<"f32">, k: Tensor<"f32">, v: Tensor<"f32">, g: Tensor, lambda: Tensor];

/** A problem; 75 tokens of two state heads with 12 x 20 elements, all f32, by default. */
interface Case {
  batch: number;
  length: number;
  /** HQ, HK and HV. */
  heads: readonly [number, number, number];
  keyDim: number;
  valueDim: number;
  levels: number;
  dtype: "f32" | "f16";
  gate: (random: Random) => number;
  cuSeqlens: readonly number[] | null;
  /** Tokens that each sequence has had before. */
  before: readonly number[] | null;
  stateLayout: "kv" | "vk";
}

function caseOf(part: Partial<Case>): Case {
  return {
    ...{
      batch: 1,
      length: 75,
      heads: [2, 2, 2],
      keyDim: 12,
      valueDim: 20,
      levels: 9,
      dtype: "f32",
    },
    ...{ gate: (random) => -0.2 * random.next(), cuSeqlens: null, before: null },
    ...{ stateLayout: "kv" },
    ...part,
  };
}

/** Rows of so many tokens. */
function inputsOf(c: Case, random: Random, tokens: readonly [number, number]): Inputs {
  const [qHeads, kHeads, heads] = c.heads;
  const normal = () => random.normal();
  return {
    q: hostTensor(c.dtype, [...tokens, qHeads, c.keyDim], normal),
    k: hostTensor(c.dtype, [...tokens, kHeads, c.keyDim], normal),
    v: hostTensor(c.dtype, [...tokens, heads, c.valueDim], normal),
    g: hostTensor(c.dtype, [...tokens, heads], () => c.gate(random)),
    lambda: hostTensor(c.dtype, [...tokens, heads, c.levels], () => random.next()),
  };
}

/** The state of sequences that have had so many tokens. */
function stateOf(c: Case, random: Random): reference.LogLinearState | undefined {
  if (c.before === null) return undefined;
  const bounds = c.before.reduce((all, count) => [...all, all[all.length - 1] + count], [0]);
  const rows = inputsOf(c, random, [1, bounds[bounds.length - 1]]);
  return expectedOf(rows, { cuSeqlens: bounds, stateLayout: c.stateLayout }).finalState;
}

interface ReferenceOptions {
  readonly cuSeqlens?: readonly number[];
  readonly initialState?: reference.LogLinearState;
  readonly stateLayout?: "kv" | "vk";
  readonly scale?: number;
}

function expectedOf({ q, k, v, g, lambda }: Inputs, { cuSeqlens, ...options }: ReferenceOptions) {
  const packed = cuSeqlens && { data: cuSeqlens, shape: [cuSeqlens.length] };
  return reference.logLinearAttention(q, k, v, g, lambda, {
    ...{ ...options, finalState: true },
    ...(packed && { cuSeqlens: packed }),
  });
}

/** Uploads rows, and frees them. */
function withRows<R>(inputs: Inputs, gpu: Gpu, use: (...rows: Rows) => R): R {
  const rows = ROWS.map((name) => gpu.tensor(inputs[name].data, inputs[name].shape));
  try {
    return use(...rows as unknown as Rows);
  } finally {
    for (const tensor of rows) tensor.dispose();
  }
}

function uploadState(state: reference.LogLinearState, gpu: Gpu): LogLinearState {
  return {
    s: gpu.tensor(Float32Array.from(state.s.data), state.s.shape),
    t: gpu.tensor(Int32Array.from(state.t.data), state.t.shape),
  };
}

/** Computes and reads: out, and both parts of the final state. */
async function compute(
  inputs: Inputs,
  { initialState, cuSeqlens, ...options }: ReferenceOptions,
  way: Pick<LogLinearAttentionOptions, "schedule"> = {},
  gpu: Gpu = theGpu(),
) {
  const before = gpu.memory().tensors;
  const given = initialState && uploadState(initialState, gpu);
  const packed = cuSeqlens && gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]);
  const { out, finalState } = withRows(
    inputs,
    gpu,
    (q, k, v, g, lambda) =>
      logLinearAttention(q, k, v, g, lambda, {
        ...{ ...options, ...way, finalState: true },
        ...(given && { initialState: given }),
        ...(packed && { cuSeqlens: packed }),
      }),
  );
  assert(finalState);
  const { s, t } = finalState;
  const result = { out: await out.read(), s: await s.read(), t: await t.read(), shape: s.shape };
  for (const tensor of [out, s, t, packed, given?.s, given?.t]) tensor?.dispose();
  assertEquals(gpu.memory().tensors, before);
  return result;
}

/** The state that a call left, for the next one. */
function leftBy({ s, t, shape }: Awaited<ReturnType<typeof compute>>): reference.LogLinearState {
  return { s: { data: s, shape }, t: { data: t, shape: [t.length] } };
}

async function assertMatches(
  part: Partial<Case>,
  way: Pick<LogLinearAttentionOptions, "schedule"> = {},
  gpu: Gpu = theGpu(),
): Promise<void> {
  const c = caseOf(part);
  const random = new Random(c.length + c.keyDim);
  const initialState = stateOf(c, random);
  const inputs = inputsOf(c, random, [c.batch, c.length]);
  const options: ReferenceOptions = {
    ...{ stateLayout: c.stateLayout, scale: 0.7 },
    ...(initialState && { initialState }),
    ...(c.cuSeqlens && { cuSeqlens: c.cuSeqlens }),
  };
  const actual = await compute(inputs, options, way, gpu);
  const { out, finalState } = expectedOf(inputs, options);
  assert(finalState);
  assertClose("out", actual.out, out.data, { ratio: c.dtype === "f16" ? 1e-3 : 1e-5 });
  assertClose("finalState.s", actual.s, finalState.s.data, { ratio: 1e-5 });
  assertEquals([...actual.t], [...finalState.t.data]);
}

const WAYS = [undefined, "direct", "naive"] as const;
const PACKED = [0, 0, 1, 1, 31, 64, 129, 200];

for (const schedule of WAYS) {
  const way = schedule ? { schedule } : {};
  const name = schedule ?? "the default";
  const test = (title: string, part: Partial<Case>) =>
    Deno.test({
      name: `logLinearAttention() by ${name} matches the reference ${title}`,
      ignore,
      fn: () => assertMatches(part, way),
    });
  test("for lengths that no chunk divides", { batch: 2 });
  test("for powers of two", { length: 128 });
  test("for packed sequences", { length: 200, cuSeqlens: PACKED });
  test("for no tokens", { length: 0, before: [5] });
  test("for one token", { length: 1, before: [32] });
  test("for packed sequences with states inside chunks and between them", {
    ...{ length: 200, cuSeqlens: PACKED, stateLayout: "vk" },
    before: [3, 0, 32, 100, 63, 96, 31],
  });
  test("for state heads that share queries and keys", { heads: [2, 1, 4], before: [40] });
  test("for queries that share states", { heads: [4, 2, 2], before: [7], keyDim: 5, valueDim: 3 });
  test("for f16", { dtype: "f16", keyDim: 7, valueDim: 9, before: [64] });
  test("for gates that clear states", {
    gate: (random) => random.pick([0, -1e-3, -100, -Infinity]),
    before: [33],
  });
}

Deno.test({
  name: "logLinearAttention() cuts sequences where a binding or a loop of a driver ends",
  ignore,
  fn: async () => {
    const part: Partial<Case> = {
      ...{ length: 400, cuSeqlens: [0, 150, 150, 151, 400], before: [5, 7, 31, 64] },
      ...{ heads: [2, 1, 2] as const, keyDim: 8, valueDim: 12, levels: 10 },
    };
    using small = await requestGpu({
      poison: true,
      limits: { maxStorageBufferBindingSize: 49_152, maxLoopIterations: 5000 },
    });
    for (const schedule of WAYS) await assertMatches(part, schedule ? { schedule } : {}, small);
  },
});

Deno.test({
  name: "logLinearAttention() gives the same resumed anywhere",
  ignore,
  fn: async () => {
    const c = caseOf({ length: 100 });
    const inputs = inputsOf(c, new Random(1), [1, 100]);
    const whole = await compute(inputs, {});
    for (const cut of [1, 31, 32, 33, 64, 96, 99]) {
      const [head, tail] = [sliced(inputs, 0, cut), sliced(inputs, cut, 100)];
      const first = await compute(head, {});
      const second = await compute(tail, { initialState: leftBy(first) });
      assertClose("out", [...first.out, ...second.out], whole.out, { ratio: 1e-6 });
      assertClose("finalState.s", second.s, whole.s, { ratio: 1e-6 });
      assertEquals([...second.t], [100]);
    }
  },
});

/** Some tokens of all batch entries. */
function sliced(inputs: Inputs, first: number, end: number): Inputs {
  const slice = ({ data, shape: [batch, length, ...rest] }: HostTensor): HostTensor => {
    const row = data.length / batch / length;
    const at = (b: number, t: number): number => (b * length + t) * row;
    const parts = Array.from(
      { length: batch },
      (_, b) => [...data.slice(at(b, first), at(b, end))],
    );
    return { data: Float32Array.from(parts.flat()), shape: [batch, end - first, ...rest] };
  };
  return Object.fromEntries(ROWS.map((name) => [name, slice(inputs[name])])) as Inputs;
}

for (const schedule of ["the default", "naive"]) {
  Deno.test({
    name: `logLinearAttentionStep() by ${schedule} gives step by step what the whole gives`,
    ignore,
    fn: async () => {
      const gpu = theGpu();
      const c = caseOf({ batch: 2, length: 70, heads: [4, 1, 2], stateLayout: "vk" });
      const inputs = inputsOf(c, new Random(2), [2, 70]);
      const options = { stateLayout: "vk", scale: 0.7 } as const;
      const whole = await compute(inputs, options);
      const first = leftBy(await compute(sliced(inputs, 0, 30), options));
      const state = uploadState(first, gpu);
      const way = schedule === "naive" ? { schedule } : {};
      const outputs: number[][] = [[], []];
      // one token, then two at a time
      for (let t = 30; t < 70; t += t < 40 ? 1 : 2) {
        const end = t < 40 ? t + 1 : t + 2;
        const out = withRows(
          sliced(inputs, t, end),
          gpu,
          (q, k, v, g, lambda) =>
            logLinearAttentionStep(state, q, k, v, g, lambda, { ...options, ...way }),
        );
        const data = await out.read();
        outputs.forEach((all, b) =>
          all.push(...data.subarray(b * data.length / 2, (b + 1) * data.length / 2))
        );
        out.dispose();
      }
      const tail = [0, 1].flatMap((
        b,
      ) => [...whole.out.subarray((b * 70 + 30) * 80, (b + 1) * 70 * 80)]);
      assertClose("out", outputs.flat(), tail, { ratio: 1e-6 });
      assertClose("state.s", await state.s.read(), whole.s, { ratio: 1e-6 });
      assertEquals([...await state.t.read()], [70, 70]);
      for (const tensor of [state.s, state.t]) tensor.dispose();
    },
  });
}

Deno.test({
  name: "logLinearAttention() computes a packed sequence to the bit as it does alone",
  ignore,
  fn: async () => {
    const c = caseOf({ length: 200 });
    const before = [3, 0, 32, 100, 63, 96, 31];
    const state = stateOf({ ...c, before }, new Random(3));
    assert(state);
    const inputs = inputsOf(c, new Random(4), [1, 200]);
    const all = await compute(inputs, { cuSeqlens: PACKED, initialState: state });
    const { data, shape } = state.s;
    const size = data.length / before.length;
    for (const [n, first] of PACKED.slice(0, -1).entries()) {
      const end = PACKED[n + 1];
      const alone = await compute(sliced(inputs, first, end), {
        initialState: {
          s: {
            data: Array.from(data).slice(n * size, (n + 1) * size),
            shape: [1, ...shape.slice(1)],
          },
          t: { data: [before[n]], shape: [1] },
        },
      });
      assertEquals(alone.out, all.out.slice(first * 40, end * 40));
      assertEquals(alone.s, all.s.slice(n * size, (n + 1) * size));
    }
  },
});

Deno.test({
  name: "logLinearAttention() leaves outputs as they are to the bit when later tokens change",
  ignore,
  fn: async () => {
    const c = caseOf({ length: 100 });
    const inputs = inputsOf(c, new Random(5), [1, 100]);
    const { out } = await compute(inputs, {});
    for (const t of [1, 17, 32, 63, 64, 90]) {
      const other = inputsOf(c, new Random(6), [1, 100]);
      const changed = Object.fromEntries(ROWS.map((name) => {
        const { data, shape } = inputs[name];
        const row = data.length / 100;
        const mixed = data.map((x, i) => i < t * row ? x : other[name].data[i]);
        return [name, { data: mixed, shape }];
      })) as Inputs;
      assertEquals((await compute(changed, {})).out.slice(0, t * 40), out.slice(0, t * 40));
    }
  },
});

Deno.test({
  name: "logLinearAttention() puts tokens into levels as the paper's example by hand",
  ignore,
  fn: async () => {
    // what token 5 = 101 sees: itself, 4 = 100 at level 1, 0 to 3 = 0xx at level 3
    const ones = (count: number) => new Float32Array(count).fill(1);
    const inputs: Inputs = {
      q: { data: ones(6), shape: [1, 6, 1, 1] },
      k: { data: ones(6), shape: [1, 6, 1, 1] },
      v: { data: Float32Array.of(1, 2, 4, 8, 16, 32), shape: [1, 6, 1, 1] },
      g: { data: new Float32Array(6), shape: [1, 6, 1] },
      lambda: {
        data: Float32Array.from({ length: 24 }, (_, i) => 100 ** (i % 4)),
        shape: [1, 6, 1, 4],
      },
    };
    const { out, s, t } = await compute(inputs, {});
    assertEquals(out[5], 32 + 100 * 16 + 1e6 * (1 + 2 + 4 + 8));
    assertEquals([...s], [32, 16, 0, 1 + 2 + 4 + 8]);
    assertEquals([...t], [6]);
  },
});

Deno.test({
  name: "logLinearAttention() throws for arguments that do not fit",
  ignore,
  fn: () => {
    const gpu = theGpu();
    const c = caseOf({ length: 9 });
    const inputs = inputsOf(c, new Random(7), [1, 9]);
    const short = { data: new Float32Array(9 * 2 * 4), shape: [1, 9, 2, 4] };
    const wide = { data: new Float32Array(9 * 2 * 33), shape: [1, 9, 2, 33] };
    const s = gpu.tensor(new Float32Array(2 * 9 * 12 * 20), [1, 2, 9, 12, 20]);
    const [t, floats] = [gpu.tensor(Int32Array.of(3), [1]), gpu.tensor(Float32Array.of(3), [1])];
    const call = (changed: Partial<Inputs>, options: object = {}) => () =>
      withRows({ ...inputs, ...changed }, gpu, (q, k, v, g, lambda) => {
        logLinearAttention(q, k, v, g, lambda, options);
      });
    const fails = (run: () => void, type: typeof TypeError | typeof RangeError, text: string) =>
      assertThrows(run, type, `Cannot compute log-linear attention as ${text}`);
    fails(call({ lambda: short }), RangeError, "sequences of 9 tokens need 5 to 32 levels");
    fails(call({ lambda: wide }), RangeError, "sequences of 9 tokens need 5 to 32 levels");
    fails(call({ lambda: inputs.g }), TypeError, "lambda must have 4 axes [B, T, HV, L]");
    fails(call({ g: inputs.lambda }), TypeError, "g must be [1,9,2]: g is [1,9,2,9]");
    fails(call({}, { initialState: s }), TypeError, "initialState must be a record { s, t }");
    fails(call({}, { initialState: { s } }), TypeError, "initialState.t must be a Tensor");
    fails(
      call({}, { initialState: { s, t: floats } }),
      TypeError,
      "initialState.t must be i32: initialState.t is f32",
    );
    fails(
      call({}, { initialState: { s, t }, stateLayout: "vk" }),
      TypeError,
      "initialState.s must be [1,2,9,20,12]: initialState.s is [1,2,9,12,20]",
    );
    fails(call({}, { scale: NaN }), RangeError, "scale must be a finite f32");
    fails(call({}, { stateLayout: "qk" }), RangeError, "stateLayout must be one of kv, vk");
    fails(call({}, { schedule: 3 }), TypeError, "schedule must be a name: schedule is 3");
    assertThrows(call({}, { reverse: true }), TypeError, "reverse");
    assertThrows(
      call({}, { schedule: "step" }),
      RangeError,
      'Cannot plan log-linear attention as schedule must fit the problem and the device: "step" is not among',
    );
    fails(
      () =>
        withRows(inputs, gpu, (q, k, v, g, lambda) => {
          logLinearAttentionStep(undefined as unknown as LogLinearState, q, k, v, g, lambda);
        }),
      TypeError,
      "a step needs a state: state is undefined",
    );
    for (const tensor of [s, t, floats]) tensor.dispose();
  },
});

Deno.test({
  name: "logLinearAttention() stays within its levels where a state has had too many tokens",
  ignore,
  fn: async () => {
    const gpu = theGpu();
    const c = caseOf({ length: 5, levels: 4 });
    const inputs = inputsOf(c, new Random(8), [1, 5]);
    const s = gpu.tensor(new Float32Array(2 * 4 * 12 * 20), [1, 2, 4, 12, 20]);
    const state = { s, t: gpu.tensor(Int32Array.of(1000), [1]) };
    const outputs = withRows(inputs, gpu, (q, k, v, g, lambda) => [
      logLinearAttention(q, k, v, g, lambda, { initialState: state }).out,
      logLinearAttentionStep(state, q, k, v, g, lambda),
    ]);
    for (const out of outputs) assert((await out.read()).every(Number.isFinite));
    assert((await s.read()).every(Number.isFinite));
    for (const tensor of [...outputs, s, state.t]) tensor.dispose();
  },
});
