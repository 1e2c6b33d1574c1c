import { assert, assertEquals } from "@std/assert";
import { TOLERANCE } from "../../cli/host_tensor.ts";
import {
  checkNeighborhood,
  loadNeighborhood,
  type NeighborhoodCase,
  neighborhoodCaseName,
  type NeighborhoodInputs,
  neighborhoodInputs,
} from "../../cli/neighborhood_case.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  attention,
  type Gpu,
  type GpuLimits,
  neighborhoodAttention,
  type NeighborhoodAttentionOptions,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { planNeighborhood } from "../../ops/neighborhood/plan.ts";
import { neighborhoodProblem } from "../../ops/neighborhood/problem.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });
const lanes = shared?.features.subgroups?.size;

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

/** The last reads buffers on every adapter; small tiles, since large ones take longer to compile. */
const SCHEDULES = ["workgroup-16x16-4x4-16", "naive", `subgroup-${lanes}x1-broadcast-buffer`];

/** Whether the adapter lacks a schedule. */
function lacks(schedule: string): boolean {
  return ignore || (schedule.startsWith("subgroup") && lanes === undefined);
}

/** A case of B 1, H 1, D 16, 17 x 23 tokens, window 5. */
function caseOf(part: Partial<NeighborhoodCase>): NeighborhoodCase {
  return {
    ...{ batch: 1, layout: [17, 23], heads: 1, kvHeads: 1, headDim: 16, valueDim: 16 },
    ...{ dtype: "f32", inputs: "normal", seed: 1, pattern: { windowSize: 5 } },
    ...part,
  };
}

const GROUPED = { batch: 2, heads: 4, kvHeads: 2 };

/** A few of each kind: these run on every schedule. */
const MAIN: readonly Partial<NeighborhoodCase>[] = [
  { layout: [65], pattern: { windowSize: 7 }, ...GROUPED },
  { pattern: { windowSize: [4, 7], dilation: [3, 2], stride: [3, 2] }, ...GROUPED },
  // blocks: no tile needs a mask
  { layout: [16, 16], pattern: { windowSize: 8, stride: 8 } },
  {
    layout: [13, 29],
    pattern: { windowSize: [6, 3], stride: [4, 1], causal: [true, false] },
    additional: 77,
  },
  {
    layout: [7, 6, 9],
    pattern: { windowSize: [3, 4, 2], dilation: [2, 1, 4], causal: [false, true, false] },
  },
];

/** On the default schedule alone. */
const OTHERS: readonly Partial<NeighborhoodCase>[] = [
  // one axis: the smallest, even windows, ragged groups, strides that do not divide
  { layout: [3], pattern: { windowSize: 2 } },
  { layout: [64], pattern: { windowSize: 8 } },
  { layout: [65], pattern: { windowSize: 10, dilation: 6 } },
  { layout: [67], pattern: { windowSize: 6, stride: 4 } },
  { layout: [67], pattern: { windowSize: 6, stride: 6 } },
  { layout: [67], pattern: { windowSize: 6, stride: 5, causal: true } },
  { layout: [67], pattern: { windowSize: 9, dilation: 7, causal: true } },
  { layout: [200], pattern: { windowSize: 61, stride: 3 } },
  // two axes
  { pattern: { windowSize: [7, 4] } },
  { layout: [20, 9], pattern: { windowSize: [20, 5] } }, // the first is covered
  { layout: [9, 20], pattern: { windowSize: [9, 20], causal: [false, true] } },
  { layout: [100, 2], pattern: { windowSize: [5, 2] } },
  { pattern: { windowSize: 5, stride: [2, 5], dilation: [3, 4], causal: true } },
  // three axes
  { layout: [5, 9, 11], pattern: { windowSize: [3, 4, 5] }, ...GROUPED },
  { layout: [6, 8, 7], pattern: { windowSize: [2, 4, 3], stride: [1, 3, 2], causal: true } },
  { layout: [8, 8, 8], pattern: { windowSize: 4, stride: 4 }, batch: 2 },
  // what attention has besides
  { heads: 6, kvHeads: 1 },
  { headDim: 7, valueDim: 5 },
  { headDim: 20, valueDim: 20 },
  { inputs: "huge" },
  { inputs: "equal" },
  { scale: 3 },
  { lse: false },
  { dtype: "f16", ...GROUPED },
  { dtype: "f16", headDim: 7, valueDim: 5, additional: 3 },
  { additional: 77, ...GROUPED },
  { additional: 1, layout: [16, 16], pattern: { windowSize: 8, stride: 8 } },
  { additional: 5, layout: [30], pattern: { windowSize: 30, causal: true }, inputs: "huge" },
];

/** Tests that a case agrees with float64. */
function testCase(part: Partial<NeighborhoodCase>, schedule?: string): void {
  const c = caseOf({ ...part, ...(schedule && { schedule }) });
  Deno.test({
    name: `neighborhoodAttention() matches the reference for ${neighborhoodCaseName(c)} with ${
      schedule ?? "the default"
    }`,
    ignore: schedule === undefined ? ignore : lacks(schedule),
    async fn() {
      const ratio = await checkNeighborhood(theGpu(), c);

      assert(ratio <= TOLERANCE[c.dtype], `The error ratio is ${ratio}`);
    },
  });
}

for (const part of [...MAIN, ...OTHERS]) testCase(part);
for (const schedule of SCHEDULES) {
  for (const part of MAIN) testCase(part, schedule);
}
testCase({ ...MAIN[3], dtype: "f16", headDim: 7, valueDim: 5 }, SCHEDULES[1]);
testCase({ layout: [8], pattern: { windowSize: 3 }, additional: 10000 }, SCHEDULES[1]);

Deno.test({
  name: "neighborhoodAttention() loops over 100000 additional keys to the last",
  ignore,
  async fn() {
    const part = { layout: [8], pattern: { windowSize: 3 }, headDim: 4, valueDim: 4 };

    const ratio = await checkNeighborhood(theGpu(), caseOf({ ...part, additional: 100000 }));

    assert(ratio <= TOLERANCE.f32, `The error ratio is ${ratio}`);
  },
});

/** Uploads f32 inputs, computes, and reads the results. */
async function compute(
  inputs: NeighborhoodInputs,
  options: NeighborhoodAttentionOptions,
): Promise<{ out: Float32Array; lse: Float32Array }> {
  const { out, lse } = theGpu().scope(() => {
    const upload = ({ data, shape }: NeighborhoodInputs["q"]) =>
      theGpu().tensor(data, shape) as Tensor<"f32">;
    const { q, k, v, additionalKeys, additionalValues } = inputs;
    return neighborhoodAttention(upload(q), upload(k), upload(v), {
      ...options,
      ...(additionalKeys && { additionalKeys: upload(additionalKeys) }),
      ...(additionalValues && { additionalValues: upload(additionalValues) }),
      lse: true,
    });
  });
  assert(lse !== undefined);
  const results = { out: await out.read(), lse: await lse.read() };
  out.dispose();
  lse.dispose();
  return results;
}

/** Whether two arrays hold the same bits. */
function assertSameBits(actual: Float32Array, expected: Float32Array): void {
  assertEquals(new Uint32Array(actual.slice().buffer), new Uint32Array(expected.slice().buffer));
}

/** Tests a property on the default schedule and the others. */
function testSchedules(
  property: string,
  fn: (options: { schedule?: string }) => Promise<void>,
): void {
  for (const schedule of ["default", ...SCHEDULES]) {
    Deno.test({
      name: `neighborhoodAttention() ${property} with ${schedule}`,
      ignore: lacks(schedule),
      fn: () => fn(schedule === "default" ? {} : { schedule }),
    });
  }
}

testSchedules("returns the same bits for the same inputs", async (options) => {
  const { pattern, ...part } = MAIN[1];
  assert(pattern !== undefined);
  const inputs = neighborhoodInputs(caseOf(part));

  const first = await compute(inputs, { ...pattern, ...options });
  const second = await compute(inputs, { ...pattern, ...options });

  assertSameBits(first.out, second.out);
  assertSameBits(first.lse, second.lse);
});

testSchedules("keeps causal outputs to the bit when later tokens change", async (options) => {
  const layout = [13, 29];
  const kept = 7 * 29; // queries of the first 7 rows
  const pattern = { windowSize: [6, 3], stride: [4, 1], causal: [true, false] };
  const before = neighborhoodInputs(caseOf({ layout, additional: 77 }));
  const after = neighborhoodInputs(caseOf({ layout, additional: 77 }));
  for (const { data } of [after.q, after.k, after.v]) data.fill(1e3, kept * 16);

  const first = await compute(before, { ...pattern, ...options });
  const second = await compute(after, { ...pattern, ...options });

  assertSameBits(first.out.slice(0, kept * 16), second.out.slice(0, kept * 16));
  assertSameBits(first.lse.slice(0, kept), second.lse.slice(0, kept));
  assert(first.out[kept * 16] !== second.out[kept * 16]);
});

Deno.test({
  name: "neighborhoodAttention() shows the first query of causal axes no key but itself",
  ignore,
  async fn() {
    const inputs = neighborhoodInputs(caseOf({ layout: [13, 29] }));

    const { out } = await compute(inputs, { windowSize: 3, causal: true });

    assertClose("out", out.slice(0, 16), inputs.v.data.slice(0, 16), { ratio: 1e-6 });
  },
});

testSchedules("writes nothing without batch entries", async (options) => {
  const inputs = neighborhoodInputs(caseOf({ batch: 0 }));

  const { out, lse } = await compute(inputs, { windowSize: 5, ...options });

  assertEquals([out.length, lse.length], [0, 0]);
});

testSchedules("writes every element of poisoned outputs", async (options) => {
  using poisoned = theGpu().empty([3], "f32");
  assertEquals(await poisoned.read(), new Float32Array(3).fill(NaN));
  const { pattern, ...part } = MAIN[4];
  assert(pattern !== undefined);

  const { out, lse } = await compute(neighborhoodInputs(caseOf(part)), { ...pattern, ...options });

  assert(out.every(Number.isFinite));
  assert(lse.every(Number.isFinite));
});

testSchedules("compiles nothing for other layouts, strides and scales", async (options) => {
  const { pipelines } = runtimeOf(theGpu());
  const call = async (layout: number[], pattern: NeighborhoodAttentionOptions): Promise<void> => {
    await compute(neighborhoodInputs(caseOf({ layout })), { ...pattern, ...options });
  };
  await call([60], { windowSize: 7, dilation: 2 });
  const compiled = pipelines.size;

  await call([101], { windowSize: 7, dilation: 3, scale: 0.2 });
  await call([300], { windowSize: 7, dilation: 5 });

  assertEquals(pipelines.size, compiled);
});

testSchedules("returns memory to what it was", async (options) => {
  const gpu = theGpu();
  await gpu.submit();
  const { bytes, tensors } = gpu.memory();

  const { pattern, ...part } = MAIN[3];
  assert(pattern !== undefined);
  await compute(neighborhoodInputs(caseOf(part)), { ...pattern, ...options });
  await gpu.submit();

  assertEquals([gpu.memory().bytes, gpu.memory().tensors], [bytes, tensors]);
});

Deno.test({
  name: "neighborhoodAttention() needs no more scratch than inputs and outputs hold",
  ignore,
  async fn() {
    const gpu = theGpu();
    await gpu.submit();
    const empty = gpu.memory().bytes;
    using loaded = loadNeighborhood(gpu, caseOf({ layout: [128, 128], heads: 2, kvHeads: 2 }));
    runtimeOf(gpu).meter.resetPeak();

    const { out, lse } = loaded.compute();

    const inputs = 3 * 16384 * 2 * 16 * 4;
    const outputs = 16384 * 2 * (16 + 1) * 4;
    const scratch = gpu.memory().peakBytes - empty - inputs - outputs;
    assert(scratch >= 0 && scratch <= inputs + outputs, `${scratch} bytes of scratch`);
    out.dispose();
    lse?.dispose();
    await gpu.submit();
  },
});

Deno.test({
  name: "neighborhoodAttention() returns lse only if asked for",
  ignore,
  async fn() {
    using loaded = loadNeighborhood(theGpu(), caseOf(GROUPED));
    const { q, k, v } = loaded.tensors;

    const plain = neighborhoodAttention(q, k, v, { windowSize: 5 });
    const asked = neighborhoodAttention(q, k, v, { windowSize: 5, lse: true });

    assertEquals("lse" in plain, false);
    assertEquals([asked.lse?.shape, asked.lse?.dtype], [[2, 17, 23, 4], "f32"]);
    assertEquals(plain.out.shape, [2, 17, 23, 4, 16]);
    assertEquals(await plain.out.read(), await asked.out.read());
    for (const tensor of [plain.out, asked.out, asked.lse]) tensor?.dispose();
  },
});

Deno.test({
  name: "neighborhoodAttention() returns out in the dtype of q, with the width of v",
  ignore,
  async fn() {
    using x: Tensor<"f16"> = theGpu().tensor(new Float16Array(2 * 15 * 8), [2, 5, 3, 1, 8]);
    using v = theGpu().tensor(new Float16Array(2 * 15 * 4).fill(0.5), [2, 5, 3, 1, 4]);

    const { out } = neighborhoodAttention(x, x, v, { windowSize: 2 });

    assertEquals([out.shape, out.dtype], [[2, 5, 3, 1, 4], "f16"]);
    assertEquals(await out.read(), new Float16Array(2 * 15 * 4).fill(0.5));
    out.dispose();
  },
});

Deno.test({
  name: "neighborhoodAttention() over all axes equals attention()",
  ignore,
  async fn() {
    const inputs = neighborhoodInputs(caseOf({ layout: [6, 7], ...GROUPED }));
    const flat = ({ data, shape }: NeighborhoodInputs["q"]) =>
      theGpu().tensor(data, [2, 42, ...shape.slice(-2)]) as Tensor<"f32">;
    const [q, k, v] = [flat(inputs.q), flat(inputs.k), flat(inputs.v)];
    for (const causal of [false, true]) {
      const dense = attention(q, k, v, { causal, lse: true });
      assert(dense.lse !== undefined);
      // the causal triangle of one axis; boxes, once covered and once by additional keys
      const layout = causal ? [42] : [6, 7];
      const shaped = Object.fromEntries(
        Object.entries(inputs).map((
          [name, { data, shape }],
        ) => [name, { data, shape: [2, ...layout, ...shape.slice(-2)] }]),
      ) as unknown as NeighborhoodInputs;

      const actual = await compute(shaped, { windowSize: layout, causal });

      assertClose("out", actual.out, await dense.out.read(), { ratio: 1e-6 });
      assertClose("lse", actual.lse, await dense.lse.read(), { ratio: 1e-6 });
      for (const tensor of [dense.out, dense.lse]) tensor.dispose();
    }
    for (const tensor of [q, k, v]) tensor.dispose();
  },
});

Deno.test({
  name: "neighborhoodAttention() counts additional keys like keys of attention()",
  ignore,
  async fn() {
    // the window covers the axis: keys and additional keys are one set
    const inputs = neighborhoodInputs(caseOf({ layout: [20], additional: 9 }));
    const { q, k, v, additionalKeys, additionalValues } = inputs;
    assert(additionalKeys !== undefined && additionalValues !== undefined);
    const joined = (a: Float32Array | Float16Array, b: Float32Array | Float16Array) =>
      theGpu().tensor(Float32Array.from([...a, ...b]), [1, 29, 1, 16]);
    const dense = theGpu().scope(() =>
      attention(
        theGpu().tensor(Float32Array.from(q.data), [1, 20, 1, 16]),
        joined(k.data, additionalKeys.data),
        joined(v.data, additionalValues.data),
        { lse: true },
      )
    );
    assert(dense.lse !== undefined);

    const actual = await compute(inputs, { windowSize: 20 });

    assertClose("out", actual.out, await dense.out.read(), { ratio: 1e-6 });
    assertClose("lse", actual.lse, await dense.lse.read(), { ratio: 1e-6 });
    for (const tensor of [dense.out, dense.lse]) tensor.dispose();
  },
});

Deno.test({
  name: "neighborhoodAttention() records into an encoder of the caller's",
  ignore,
  async fn() {
    const gpu = theGpu();
    using loaded = loadNeighborhood(gpu, caseOf({ lse: false }));
    using direct = loaded.compute().out;
    const expected = await direct.read();

    const encoder = gpu.device.createCommandEncoder();
    using out = gpu.record(encoder, () => loaded.compute().out);
    gpu.device.queue.submit([encoder.finish()]);

    assertEquals(await out.read(), expected);
  },
});

/** How a plan was cut. */
interface Cuts {
  rounds: number;
  launches: number;
  parts: number;
}

/** How a case is cut on a device. */
function cutsOf(gpu: Gpu, c: NeighborhoodCase): Cuts {
  return gpu.scope(() => {
    const { q, k, v, ...additional } = Object.fromEntries(
      Object.entries(neighborhoodInputs(c)).map((
        [name, { data, shape }],
      ) => [name, gpu.tensor(data, shape)]),
    );
    const options = { ...c.pattern, ...additional, ...(c.schedule && { schedule: c.schedule }) };
    const plan = planNeighborhood(neighborhoodProblem(q, k, v, options).problem, gpu);
    assert(plan.kind === "tiled");
    const { rounds, tokens: { parts } } = plan.attention;
    return {
      rounds: rounds.length,
      launches: rounds.flatMap(({ launches }) => launches).length,
      parts,
    };
  });
}

/** Tests that a case agrees with float64 on a device of small limits, cut as expected. */
function testCuts(
  how: string,
  limits: Partial<GpuLimits>,
  part: Partial<NeighborhoodCase>,
  check: (cuts: Cuts) => boolean,
): void {
  Deno.test({
    name: `neighborhoodAttention() matches the reference ${how}`,
    ignore,
    async fn() {
      using gpu = await requestGpu({ limits, poison: true });
      const c = caseOf({ schedule: BUFFER, headDim: 8, valueDim: 8, ...part });
      const cuts = cutsOf(gpu, c);

      const ratio = await checkNeighborhood(gpu, c);

      assert(ratio <= TOLERANCE[c.dtype], `The error ratio is ${ratio}`);
      assert(check(cuts), JSON.stringify(cuts));
      assertEquals(gpu.memory().bytes, 0);
    },
  });
}

/** A schedule that reads buffers, and one that reads textures where that is faster. */
const [BUFFER, BEST] = lanes === undefined
  ? [SCHEDULES[0], SCHEDULES[0]]
  : [SCHEDULES[2], "subgroup"];

testCuts(
  "cut by batch and rows",
  { maxStorageBufferBindingSize: 16384 },
  { layout: [60, 16], batch: 3, pattern: { windowSize: [5, 4], dilation: [2, 1] } },
  ({ rounds, parts }) => rounds > 3 && parts === 1,
);
testCuts(
  "with keys divided and merged",
  { maxStorageBufferBindingSize: 12288 },
  {
    layout: [60, 8],
    ...{ heads: 2, kvHeads: 2, batch: 2, additional: 77 },
    pattern: { windowSize: [29, 4], stride: [5, 1], dilation: [2, 1], causal: [false, true] },
  },
  ({ rounds, parts }) => rounds > 1 && parts > 2,
);
testCuts(
  "in f16 with keys divided and merged, ragged dims",
  { maxStorageBufferBindingSize: 8192 },
  {
    layout: [300],
    ...{ heads: 4, kvHeads: 2, dtype: "f16", valueDim: 6 },
    pattern: { windowSize: 280, causal: true },
  },
  ({ parts }) => parts > 1,
);
testCuts(
  "in dispatches of few workgroups",
  { maxComputeWorkgroupsPerDimension: 16 },
  { layout: [40, 9], batch: 5, pattern: { windowSize: 3, dilation: [3, 1] }, heads: 2, kvHeads: 2 },
  ({ launches }) => launches > 8,
);
testCuts(
  "on three axes with keys divided for the loop limit",
  { maxLoopIterations: 10 },
  {
    layout: [11, 5, 6],
    pattern: { windowSize: [9, 3, 2], causal: [true, false, false] },
    additional: 100,
  },
  ({ parts }) => parts > 2,
);
testCuts(
  "in the workgroup schedule with keys divided for the loop limit",
  { maxLoopIterations: 400 },
  {
    schedule: SCHEDULES[0],
    layout: [40, 8],
    pattern: { windowSize: [33, 8], stride: [4, 1] },
    additional: 50,
  },
  ({ parts }) => parts > 2,
);
testCuts(
  "in the best schedule of the adapter with short loops",
  { maxComputeWorkgroupsPerDimension: 7, maxLoopIterations: 30 },
  { schedule: BEST, layout: [40, 16], batch: 2, pattern: { windowSize: [39, 15] } },
  ({ rounds, parts }) => parts > 1 && rounds > 1,
);
