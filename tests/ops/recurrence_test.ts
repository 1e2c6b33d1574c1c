import { assert, assertEquals } from "@std/assert";
import { compareHeads } from "../../cli/compare.ts";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { Random } from "../../cli/random.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  type Gpu,
  type GpuLimits,
  recurrence,
  type RecurrenceOptions,
  requestGpu,
  Tensor,
} from "../../mod.ts";
import { planRecurrence } from "../../ops/recurrence/plan.ts";
import { recurrenceProblem } from "../../ops/recurrence/problem.ts";
import { recurrence as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

/** A schedule of subgroups, or the default where there are none. */
const handedBy = (schedule: string): RecurrenceOptions =>
  shared?.features.subgroups ? { schedule } : {};

/** Ways to compute, by name; the first is the default. */
const WAYS: Readonly<Record<string, RecurrenceOptions>> = {
  loop: { mode: "loop" },
  chunk: { mode: "chunk", chunkSize: 16 },
  "shuffled loop": { mode: "loop", ...handedBy("subgroup") },
  "broadcast loop": { mode: "loop", ...handedBy("broadcast") },
  "workgroup loop": { mode: "loop", schedule: "workgroup" },
  "workgroup chunk": { mode: "chunk", chunkSize: 16, schedule: "workgroup" },
  "channels loop": { mode: "loop", schedule: "channels" },
  "channels chunk": { mode: "chunk", chunkSize: 16, schedule: "channels" },
  naive: { schedule: "naive" },
};

/** A problem; one head of K 8 and V 12, one batch entry of 63 tokens, all f32, by default. */
interface Case {
  batch: number;
  length: number;
  /** HQ, HK and HV. */
  heads: readonly [number, number, number];
  keyDim: number;
  valueDim: number;
  dtype: "f32" | "f16";
  gate: "none" | "head" | "token" | "channel";
  gateType: "f32" | "f16";
  /** Gates, -0.2 |normal| by default. */
  gates: (random: Random) => number;
  /** Whether there are gates of value channels, and a bonus of how many heads. */
  gv: boolean;
  u: number;
  normalize: boolean;
  initial: boolean;
  final: boolean;
  stateLayout: "kv" | "vk";
  cuSeqlens: readonly number[] | null;
  reverse: boolean;
  scale: number | null;
}

/** What a case is computed from. */
interface Inputs {
  q: HostTensor;
  k: HostTensor;
  v: HostTensor;
  g?: HostTensor;
  gv?: HostTensor;
  u?: HostTensor;
  /** S, and with normalize z. */
  initial?: { s: HostTensor; z: HostTensor };
}

/** What a case gives; states in the order S, z. */
interface Outputs {
  out: Float32Array | Float16Array;
  states: Float32Array[];
}

function caseOf(part: Partial<Case>): Case {
  return {
    ...{ batch: 1, length: 63, heads: [1, 1, 1], keyDim: 8, valueDim: 12, dtype: "f32" },
    ...{ gate: "none", gateType: "f32", gates: (random) => -0.2 * Math.abs(random.normal()) },
    ...{ gv: false, u: 0, normalize: false, initial: false, final: true, stateLayout: "kv" },
    ...{ cuSeqlens: null, reverse: false, scale: null },
    ...part,
  };
}

const sequencesOf = ({ cuSeqlens, batch }: Case): number =>
  cuSeqlens === null ? batch : cuSeqlens.length - 1;

function inputsOf(c: Case, seed = 1): Inputs {
  const random = new Random(seed);
  const { batch, length, heads: [qHeads, kHeads, heads], keyDim, valueDim, dtype } = c;
  const normal = () => random.normal();
  const gates = () => c.gates(random);
  // positive: divisors stay away from 0
  const key = c.normalize ? () => 0.1 + Math.abs(random.normal()) : normal;
  const axes = c.stateLayout === "kv" ? [keyDim, valueDim] : [valueDim, keyDim];
  const rows = [sequencesOf(c), heads];
  const shapes = {
    head: [heads],
    token: [batch, length, heads],
    channel: [batch, length, heads, keyDim],
  };
  return {
    q: hostTensor(dtype, [batch, length, qHeads, keyDim], key),
    k: hostTensor(dtype, [batch, length, kHeads, keyDim], key),
    v: hostTensor(dtype, [batch, length, heads, valueDim], normal),
    ...(c.gate !== "none" && { g: hostTensor(c.gateType, shapes[c.gate], gates) }),
    ...(c.gv && { gv: hostTensor(c.gateType, [batch, length, heads, valueDim], gates) }),
    ...(c.u > 0 && { u: hostTensor(c.gateType, [c.u, keyDim], key) }),
    ...(c.initial && {
      initial: {
        s: hostTensor("f32", [...rows, ...axes], normal),
        z: hostTensor("f32", [...rows, keyDim], key),
      },
    }),
  };
}

/** The options of a case that are no tensors. */
function plainOptions(
  c: Case,
): Pick<RecurrenceOptions, "normalize" | "stateLayout" | "reverse" | "finalState" | "scale"> {
  const { normalize, stateLayout, reverse, scale } = c;
  const finalState = c.final;
  return { normalize, stateLayout, reverse, finalState, ...(scale !== null && { scale }) };
}

/** Computes a case in float64. */
function expectedOf(c: Case, { q, k, v, initial, ...gates }: Inputs): Outputs {
  const bounds = c.cuSeqlens;
  const { out, finalState } = reference(q, k, v, {
    ...plainOptions(c),
    ...gates,
    ...(bounds && { cuSeqlens: { data: bounds, shape: [bounds.length] } }),
    ...(initial && { initialState: c.normalize ? initial : initial.s }),
  });
  const states = finalState === undefined
    ? []
    : "s" in finalState
    ? [finalState.s, finalState.z]
    : [finalState];
  return {
    out: Float32Array.from(out.data),
    states: states.map(({ data }) => Float32Array.from(data)),
  };
}

/** Tensors of a call on a device. */
function upload(gpu: Gpu, c: Case, { initial, ...inputs }: Inputs) {
  const tensor = ({ data, shape }: HostTensor) => gpu.tensor(data, shape) as Tensor<"f32">;
  const { q, k, v, ...gates } = Object.fromEntries(
    Object.entries(inputs).map(([name, host]) => [name, tensor(host)]),
  );
  const { cuSeqlens } = c;
  const options: RecurrenceOptions = {
    ...plainOptions(c),
    ...gates,
    ...(cuSeqlens && { cuSeqlens: gpu.tensor(Int32Array.from(cuSeqlens), [cuSeqlens.length]) }),
    ...(initial && {
      initialState: c.normalize
        ? { s: tensor(initial.s), z: tensor(initial.z) }
        : tensor(initial.s),
    }),
  };
  return { q, k, v, options };
}

/** The tensors of a state, S first. */
function tensorsOf(state: RecurrenceOptions["initialState"]): Tensor<"f32">[] {
  if (state === undefined) return [];
  return state instanceof Tensor ? [state] : [state.s, state.z];
}

/** Uploads, computes, reads and frees. */
async function compute(
  c: Case,
  inputs: Inputs,
  way: RecurrenceOptions = {},
  gpu = theGpu(),
): Promise<Outputs> {
  const { out, finalState } = gpu.scope(() => {
    const { q, k, v, options } = upload(gpu, c, inputs);
    return recurrence(q, k, v, { ...options, ...way });
  });
  const states = tensorsOf(finalState);
  const result = { out: await out.read(), states: await Promise.all(states.map((s) => s.read())) };
  for (const tensor of [out, ...states]) tensor.dispose();
  return result;
}

/** Asserts that outputs agree head by head, and states. */
function assertAgrees(c: Case, actual: Outputs, expected: Outputs, ratio: number): void {
  const [qHeads, , heads] = c.heads;
  const worst = compareHeads(actual.out, expected.out, Math.max(qHeads, heads), c.valueDim);
  // the rounding of f16 outputs; states stay f32
  const allowed = c.dtype === "f16" ? Math.max(ratio, 1e-3) : ratio;
  assert(worst.ratio <= allowed, `out: ${JSON.stringify(worst)}`);
  assertEquals(actual.states.length, expected.states.length);
  expected.states.forEach((state, i) => {
    assertClose(i === 0 ? "S" : "z", actual.states[i], state, { ratio });
  });
}

/** Whether two arrays hold the same bits. */
function assertSameBits(actual: Outputs, expected: Outputs): void {
  const bits = ({ out, states }: Outputs) =>
    [out, ...states].map(({ buffer, byteOffset, byteLength }) =>
      new Uint8Array(buffer, byteOffset, byteLength)
    );
  assertEquals(bits(actual), bits(expected));
}

/** Tests that a case agrees with float64. */
function testCase(name: string, part: Partial<Case>, ways: readonly string[] = ["loop"]): void {
  for (const way of ways) {
    Deno.test({
      name: `recurrence() matches the reference for ${name} (${way})`,
      ignore,
      async fn() {
        const c = caseOf(part);
        const inputs = inputsOf(c);

        const actual = await compute(c, inputs, WAYS[way]);

        assertAgrees(c, actual, expectedOf(c, inputs), 1e-4);
      },
    });
  }
}

const ALL = Object.keys(WAYS);
const BOTH = ["loop", "chunk"];
const PACKED = { cuSeqlens: [0, 0, 1, 30, 30, 31, 63, 63] };

// cases share what they compile: these three run in every way
const TOKEN: Partial<Case> = { gate: "token", initial: true };
const STATEFUL: Partial<Case> = {
  ...{ heads: [2, 1, 2], gate: "channel", gv: true, normalize: true, initial: true },
};
const EVERYTHING: Partial<Case> = {
  ...{ length: 40, heads: [4, 1, 2], gate: "channel", gv: true, u: 2, normalize: true },
  ...{ initial: true, stateLayout: "vk", reverse: true, scale: 0.5 },
  cuSeqlens: [0, 0, 17, 18, 40, 40],
};
testCase("gates of tokens", { ...TOKEN, batch: 2 }, ALL);
testCase("gates of channels and values, normalised", { ...STATEFUL, batch: 2 }, ALL);
testCase("everything at once", EVERYTHING, [
  ...["loop", "chunk", "broadcast loop", "workgroup loop", "naive"],
]);

// what a token does
testCase("no gates", { initial: true }, BOTH);
testCase("gates of heads", { gate: "head", initial: true, heads: [3, 1, 3] }, BOTH);
testCase("f16 gates of heads", { gate: "head", gateType: "f16" });
testCase("f16 gates of tokens", { gate: "token", gateType: "f16", length: 33 });
testCase("f16 gates of channels, values and bonus", {
  ...{ gate: "channel", gateType: "f16", gv: true, u: 1 },
});
testCase("gates of channels and values", { gate: "channel", gv: true, initial: true }, BOTH);
testCase("bonus", { gate: "channel", u: 2, heads: [4, 1, 4], initial: true }, ["loop", "naive"]);
testCase("bonus shared by heads", { u: 1, heads: [2, 2, 2], reverse: true });
testCase("a scale", { ...TOKEN, scale: -3 });

// states and sequences
testCase("states with V first", { ...TOKEN, stateLayout: "vk" }, BOTH);
testCase("a state out", { gate: "token" }, BOTH);
testCase("a state in", { ...TOKEN, final: false }, BOTH);
testCase("no states", { gate: "token", final: false }, BOTH);
testCase("packed sequences", { ...TOKEN, ...PACKED }, ALL);
testCase("packed sequences, normalised", { ...STATEFUL, ...PACKED }, ALL);
testCase("reversed sequences", { ...TOKEN, reverse: true, batch: 2 }, BOTH);
testCase("reversed packed sequences", { ...TOKEN, ...PACKED, reverse: true }, BOTH);

// sizes
testCase("more queries than states", { ...TOKEN, heads: [6, 1, 2], batch: 2 }, ["loop", "naive"]);
testCase("more states than queries", { ...TOKEN, heads: [1, 2, 4], batch: 2 }, ALL);
testCase("states that share keys", { ...TOKEN, heads: [4, 2, 4], batch: 2 }, ALL);
for (const length of [0, 1, 8, 9, 200]) {
  testCase(`${length} tokens`, { ...TOKEN, length, batch: 2 }, ALL);
}
testCase("0 tokens, normalised", { ...STATEFUL, length: 0 }, ALL);
testCase("no batch entries", { ...TOKEN, batch: 0 }, ALL);
testCase("no sequences", { ...TOKEN, length: 0, cuSeqlens: [0] }, ALL);
testCase("K 1 and V 1", { keyDim: 1, valueDim: 1, gate: "channel", initial: true }, [
  ...["loop", "workgroup loop", "naive"],
]);
testCase("K 7 and V 60", { keyDim: 7, valueDim: 60, gate: "channel", initial: true }, BOTH);
testCase("K 16 and V 16", { ...TOKEN, keyDim: 16, valueDim: 16 });
testCase("K 60 and V 7", { keyDim: 60, valueDim: 7, length: 20 });
testCase("K 100 and V 36", { keyDim: 100, valueDim: 36, gate: "channel", length: 20 }, ["naive"]);
testCase("K 8 and V 192", { valueDim: 192, gate: "token", length: 20 }, ["loop", "workgroup loop"]);
testCase("K 256 and V 256", { keyDim: 256, valueDim: 256, length: 9 }, ["naive"]);
testCase("K 4 and V 256", { keyDim: 4, valueDim: 256, length: 20 }, ["workgroup loop"]);
testCase("f16", { ...TOKEN, dtype: "f16", heads: [2, 1, 2] }, ["chunk"]);
testCase("f16 of ragged dims", { ...TOKEN, dtype: "f16", keyDim: 7, valueDim: 5 }, [
  ...["loop", "workgroup loop", "naive"],
]);

for (const chunkSize of [32, 64] as const) {
  for (const part of [TOKEN, STATEFUL]) {
    Deno.test({
      name: `recurrence() matches the reference in chunks of ${chunkSize}, gates of ${part.gate}s`,
      ignore,
      async fn() {
        const c = caseOf({ ...part, length: 200, batch: 2 });
        const inputs = inputsOf(c);

        const actual = await compute(c, inputs, { mode: "chunk", chunkSize });

        assertAgrees(c, actual, expectedOf(c, inputs), 1e-4);
      },
    });
  }
}

// numerics: gates that forget nearly all, and all
const GATES: Readonly<Record<string, (random: Random) => number>> = {
  "gates of -5": () => -5,
  "gates of 0 and -20": (random) => random.pick([0, -20]),
  "gates around -88": (random) => random.pick([0, -80, -87, -88, -89, -100]),
  "resets of -1e4": (random) => random.next() < 0.1 ? -1e4 : 0,
  "resets of -1e30": (random) => random.next() < 0.1 ? -1e30 : -0.01,
  "resets of -Infinity": (random) => random.next() < 0.1 ? -Infinity : -0.01,
  "gates above 0": (random) => 0.01 * Math.abs(random.normal()),
};
for (const [name, gates] of Object.entries(GATES)) {
  testCase(`${name}, of tokens`, { ...TOKEN, gates, length: 100 }, ALL);
  const channels: Partial<Case> = { gate: "channel", gv: true, gates, initial: true };
  testCase(`${name}, of channels and values`, { ...channels, length: 100 }, BOTH);
}
testCase("a head that keeps nothing", { gate: "head", initial: true, gates: () => -Infinity });
testCase("8192 tokens of gentle gates", {
  ...{ gate: "channel", gv: true, initial: true, length: 8192 },
  gates: (random) => -0.001 * random.next(),
}, BOTH);
testCase("8192 tokens, normalised", { ...STATEFUL, length: 8192 }, BOTH);

/** Tests a property in every way. */
function testWays(property: string, fn: (way: RecurrenceOptions) => Promise<void>): void {
  for (const [name, way] of Object.entries(WAYS)) {
    Deno.test({ name: `recurrence() ${property} (${name})`, ignore, fn: () => fn(way) });
  }
}

/** The elements of some tokens of a tensor of one batch entry. */
function slice({ data, shape }: HostTensor, first: number, end: number): HostTensor {
  const width = data.length / shape[1];
  return {
    data: data.slice(first * width, end * width),
    shape: [1, end - first, ...shape.slice(2)],
  };
}

/** The inputs of some tokens of one batch entry. */
function tokens({ q, k, v, g, gv, u, initial }: Inputs, first: number, end: number): Inputs {
  const part = (tensor: HostTensor) => slice(tensor, first, end);
  return {
    ...{ q: part(q), k: part(k), v: part(v) },
    ...(g && { g: g.shape.length === 1 ? g : part(g) }),
    ...(gv && { gv: part(gv) }),
    ...(u && { u }),
    ...(initial && { initial }),
  };
}

const join = (parts: readonly Outputs[]): Float32Array =>
  Float32Array.from(parts.flatMap(({ out }) => [...out]));

testWays("gives the same in one way as in another", async (way) => {
  for (const part of [TOKEN, STATEFUL]) {
    const c = caseOf({ ...part, length: 100 });
    const inputs = inputsOf(c);

    const actual = await compute(c, inputs, way);

    assertAgrees(c, actual, await compute(c, inputs, WAYS.loop), 1e-5);
  }
});

testWays("resumes at any point", async (way) => {
  const c = caseOf({ ...STATEFUL, length: 50 });
  const inputs = inputsOf(c);
  const whole = await compute(c, inputs, way);
  for (const cut of [0, 1, 8, 16, 33, 49, 50]) {
    const first = await compute({ ...c, length: cut }, tokens(inputs, 0, cut), way);
    const [s, z] = first.states;
    assert(inputs.initial !== undefined);
    const initial = {
      s: { data: s, shape: inputs.initial.s.shape },
      z: { data: z, shape: inputs.initial.z.shape },
    };

    const last = await compute(
      { ...c, length: 50 - cut },
      { ...tokens(inputs, cut, 50), initial },
      way,
    );

    const resumed = { out: join([first, last]), states: last.states };
    assertAgrees(c, resumed, whole, 1e-5);
  }
});

testWays("gives packed sequences what they are given alone", async (way) => {
  const bounds = PACKED.cuSeqlens;
  const c = caseOf({ ...STATEFUL, ...PACKED });
  const inputs = inputsOf(c);
  const packed = await compute(c, inputs, way);
  const alone: Outputs[] = [];
  for (const [n, end] of bounds.slice(1).entries()) {
    const { initial, ...own } = tokens(inputs, bounds[n], end);
    assert(initial !== undefined);
    const row = ({ data, shape }: HostTensor): HostTensor => {
      const width = data.length / shape[0];
      return { data: data.slice(n * width, (n + 1) * width), shape: [1, ...shape.slice(1)] };
    };
    const state = { s: row(initial.s), z: row(initial.z) };
    const single = { ...c, cuSeqlens: null, length: end - bounds[n] };

    alone.push(await compute(single, { ...own, initial: state }, way));
  }

  const states = [0, 1].map((i) =>
    Float32Array.from(alone.flatMap(({ states }) => [...states[i]]))
  );
  assertAgrees(c, packed, { out: join(alone), states }, 1e-6);
});

testWays("keeps outputs to the bit when later tokens change", async (way) => {
  const kept = 37;
  const c = caseOf({ ...STATEFUL, heads: [1, 1, 1] });
  const before = inputsOf(c);
  const after = inputsOf(c);
  assert(after.g !== undefined);
  for (const { data } of [after.q, after.k, after.g]) data.fill(-1e3, kept * 8);
  after.v.data.fill(1e3, kept * 12);

  const first = await compute(c, before, way);
  const second = await compute(c, after, way);

  assertSameBits(
    { out: first.out.slice(0, kept * 12), states: [] },
    { out: second.out.slice(0, kept * 12), states: [] },
  );
  assert(first.out[kept * 12] !== second.out[kept * 12]);
});

testWays("returns the same bits for the same inputs", async (way) => {
  const c = caseOf({ ...STATEFUL, length: 50 });
  const inputs = inputsOf(c);

  assertSameBits(await compute(c, inputs, way), await compute(c, inputs, way));
});

testWays("leaves the state that it is given as it was", async (way) => {
  const gpu = theGpu();
  for (const final of [true, false]) {
    const c = caseOf({ ...STATEFUL, length: 50, final });
    const inputs = inputsOf(c);
    const { q, k, v, options } = upload(gpu, c, inputs);

    const { out, finalState } = recurrence(q, k, v, { ...options, ...way });

    await out.read();
    const [s, z] = tensorsOf(options.initialState);
    assertEquals([await s.read(), await z.read()], [
      inputs.initial?.s.data,
      inputs.initial?.z.data,
    ]);
    assertEquals(finalState !== undefined, final);
    const { g, gv } = options;
    const used = [q, k, v, s, z, out, ...tensorsOf(finalState), g, gv];
    for (const tensor of used) tensor?.dispose();
  }
});

testWays("compiles nothing for other lengths, packings and scales", async (way) => {
  const { pipelines } = runtimeOf(theGpu());
  const run = async (part: Partial<Case>): Promise<void> => {
    const c = caseOf({ ...TOKEN, ...part });
    await compute(c, inputsOf(c), way);
  };
  await run({});
  const compiled = pipelines.size;

  await run({ length: 300, scale: 0.2 });
  await run({ batch: 3, length: 17 });
  await run({ cuSeqlens: [0, 5, 63] });

  assertEquals(pipelines.size, compiled);
});

testWays("returns memory to what it was", async (way) => {
  const gpu = theGpu();
  await gpu.submit();
  const { bytes, tensors } = gpu.memory();

  const c = caseOf({ ...STATEFUL, ...PACKED });
  await compute(c, inputsOf(c), way);
  await gpu.submit();

  assertEquals([gpu.memory().bytes, gpu.memory().tensors], [bytes, tensors]);
});

testWays("records into an encoder of the caller's", async (way) => {
  const gpu = theGpu();
  const c = caseOf({ ...STATEFUL, ...PACKED });
  const inputs = inputsOf(c);
  const expected = await compute(c, inputs, way);

  const encoder = gpu.device.createCommandEncoder();
  const kept = gpu.scope(() => {
    const { q, k, v, options } = upload(gpu, c, inputs);
    const result = gpu.record(encoder, () => recurrence(q, k, v, { ...options, ...way }));
    return { result, q, k, v, options };
  });
  gpu.device.queue.submit([encoder.finish()]);

  const { result: { out, finalState }, q, k, v, options } = kept;
  const states = tensorsOf(finalState);
  assertSameBits(
    { out: await out.read(), states: await Promise.all(states.map((state) => state.read())) },
    expected,
  );
  const { g, gv, cuSeqlens, initialState } = options;
  const used = [q, k, v, g, gv, cuSeqlens, ...tensorsOf(initialState), out, ...states];
  for (const tensor of used) tensor?.dispose();
});

Deno.test({
  name: "recurrence() returns tensors of the shapes that it names",
  ignore,
  async fn() {
    const shapes = (part: Partial<Case>) =>
      theGpu().scope(() => {
        const c = caseOf({ ...TOKEN, batch: 2, length: 3, ...part });
        const { q, k, v, options } = upload(theGpu(), c, inputsOf(c));
        const { out, finalState, ...rest } = recurrence(q, k, v, options);
        assertEquals(rest, {});
        const all = [out, ...tensorsOf(finalState)];
        return all.map(({ shape, dtype }) => `${dtype} ${shape}`).join("; ");
      });

    assertEquals(shapes({ final: false }), "f32 2,3,1,12");
    assertEquals(shapes({ heads: [1, 1, 3] }), "f32 2,3,3,12; f32 2,3,8,12");
    assertEquals(shapes({ stateLayout: "vk" }), "f32 2,3,1,12; f32 2,1,12,8");
    assertEquals(shapes(STATEFUL), "f32 2,3,2,12; f32 2,2,8,12; f32 2,2,8");
    assertEquals(
      shapes({ dtype: "f16", batch: 1, cuSeqlens: [0, 1, 1, 3] }),
      "f16 1,3,1,12; f32 3,1,8,12",
    );
    await theGpu().submit();
  },
});

Deno.test({
  name: "recurrence() reads a bonus and gates whose buffers may not be copied",
  ignore,
  async fn() {
    const gpu = theGpu();
    const c = caseOf({ gate: "channel", u: 1, final: false });
    const inputs = inputsOf(c);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const bare = ({ data, shape }: HostTensor) => {
      const buffer = gpu.device.createBuffer({ size: data.byteLength, usage });
      gpu.device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      return gpu.wrap(buffer, shape, "f32");
    };
    assert(inputs.u !== undefined && inputs.g !== undefined);
    for (const [name, host] of [["u", inputs.u], ["g", inputs.g]] as const) {
      const tensor = bare(host);

      const { out } = await compute(c, inputs, { [name]: tensor });

      assertAgrees(c, { out, states: [] }, expectedOf(c, inputs), 1e-4);
      tensor.dispose();
      tensor.buffer.destroy();
    }
  },
});

/** How a plan was cut. */
interface Cuts {
  rounds: number;
  pieces: number;
  chunks: number;
}

/** Tests that a case agrees with float64 on a device of small limits, cut as expected. */
function testCuts(
  how: string,
  limits: Partial<GpuLimits>,
  part: Partial<Case>,
  ways: Readonly<Record<string, (cuts: Cuts) => boolean>>,
): void {
  Deno.test({
    name: `recurrence() matches the reference ${how}`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ limits, poison: true });
      const c = caseOf({ gate: "token", initial: true, ...part });
      const inputs = inputsOf(c);
      const expected = expectedOf(c, inputs);
      for (const [way, check] of Object.entries(ways)) {
        const cuts = gpu.scope(() => {
          const { q, k, v, options } = upload(gpu, c, inputs);
          const { problem } = recurrenceProblem(q, k, v, { ...options, ...WAYS[way] });
          const { rounds } = planRecurrence(problem, gpu);
          return {
            rounds: rounds.length,
            pieces: rounds.flatMap(({ pieces }) => pieces).length,
            chunks: rounds.flatMap(({ chunks }) => chunks ?? []).length,
          };
        });

        assertAgrees(c, await compute(c, inputs, WAYS[way], gpu), expected, 1e-4);

        assert(check(cuts), `${way}: ${JSON.stringify(cuts)}`);
        assertEquals(gpu.memory().bytes, 0);
      }
    },
  });
}

const LOOPS = { maxLoopIterations: 30 };
testCuts("in rounds of few tokens", LOOPS, { batch: 2, heads: [2, 1, 2] }, {
  "shuffled loop": ({ rounds, pieces }) => rounds > 2 && pieces === 2 * rounds,
  "workgroup loop": ({ rounds }) => rounds > 2,
});
testCuts("in rounds of the baseline", { maxLoopIterations: 700 }, { normalize: true }, {
  naive: ({ rounds }) => rounds > 1,
});
testCuts("in rounds, packed, reversed and normalised", LOOPS, {
  ...PACKED,
  ...{ reverse: true, normalize: true, stateLayout: "vk" },
}, { "shuffled loop": ({ rounds, pieces }) => rounds > 1 && pieces > 8 });
testCuts("in rounds without states", LOOPS, { initial: false, final: false }, {
  "shuffled loop": ({ rounds }) => rounds > 2,
});
testCuts("in rounds from a state", LOOPS, { final: false, normalize: true }, {
  "shuffled loop": ({ rounds }) => rounds > 2,
});
// states of 384 bytes
testCuts("in rounds of chunks", { maxStorageBufferBindingSize: 4096 }, {
  ...{ length: 200, gv: true, normalize: true, stateLayout: "vk" },
}, { chunk: ({ rounds, chunks }) => rounds > 1 && chunks === 13 });
testCuts("in rounds of chunks, packed and reversed, without states", {
  maxStorageBufferBindingSize: 4096,
}, {
  ...{ length: 200, cuSeqlens: [0, 0, 130, 131, 200], reverse: true },
  ...{ initial: false, final: false, gate: "channel" },
}, { chunk: ({ rounds, pieces }) => rounds > 1 && pieces > 4 });
testCuts("in launches of few workgroups", { maxComputeWorkgroupsPerDimension: 4 }, {
  ...{ cuSeqlens: [0, 0, 1, 30, 30, 31, 62, 63], gate: "channel", u: 1 },
}, {
  loop: ({ pieces }) => pieces === 7,
  naive: ({ pieces }) => pieces === 7,
});
testCuts("in launches of few chunks", { maxComputeWorkgroupsPerDimension: 4 }, {
  ...{ length: 200, batch: 2, gate: "channel", normalize: true, reverse: true, heads: [2, 1, 2] },
}, { chunk: ({ chunks, rounds }) => chunks === 26 && rounds === 1 });
testCuts("in launches of few tokens", { maxStorageBufferBindingSize: 8192 }, {
  ...{ length: 60, batch: 8, heads: [2, 1, 1], dtype: "f16", keyDim: 7 },
}, {
  "workgroup loop": ({ pieces, rounds }) => pieces === 8 && rounds === 1,
  "workgroup chunk": ({ pieces }) => pieces >= 8,
});
