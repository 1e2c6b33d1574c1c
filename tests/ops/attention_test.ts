import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type AttentionCase,
  type AttentionInputs,
  attentionInputs,
  caseName,
  checkCase,
} from "../../cli/attention_case.ts";
import { TOLERANCE } from "../../cli/host_tensor.ts";
import { checkedSchedules } from "../../cli/attention_flags.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import { attention, type AttentionOptions, requestGpu, type Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const shared = adapter === null ? null : await requestGpu({ poison: true });
const kinds = shared === null
  ? []
  : [...new Set(checkedSchedules(shared).map((name) => name.split("-", 1)[0]))];

/** The device that these tests share; every new buffer is full of NaN. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

/** One of each kind; small tiles, since large ones take longer to compile. */
const SCHEDULES = ["subgroup", "workgroup-16x16-4x4-16", "split", "naive"];

/** Whether the adapter lacks a schedule. */
function lacks(schedule: string): boolean {
  return !kinds.includes(schedule.split("-")[0]);
}

/** A case of B 1, T 65, S 65, H 1, D 8. */
function caseOf(part: Partial<AttentionCase>): AttentionCase {
  return {
    ...{ batch: 1, qLen: 65, kvLen: 65, heads: 1, kvHeads: 1, headDim: 8, valueDim: 8 },
    ...{ dtype: "f32", inputs: "normal", seed: 1 },
    ...part,
  };
}

const GROUPED = { batch: 2, heads: 4, kvHeads: 2 };
const MULTI_QUERY = { heads: 8, kvHeads: 1 };
const EVERYTHING = { ...GROUPED, softcap: 2, sinks: true };

/** Without a mask: one shader for each schedule. */
const UNMASKED: readonly Partial<AttentionCase>[] = [
  { qLen: 1, kvLen: 1 },
  { qLen: 2, kvLen: 2 },
  { qLen: 63, kvLen: 64 },
  { qLen: 64, kvLen: 63 },
  { qLen: 65, kvLen: 65 },
  { qLen: 100, kvLen: 1 },
  { qLen: 1, kvLen: 100 },
  { qLen: 1000, kvLen: 65 },
  { qLen: 65, kvLen: 1000 },
  { ...GROUPED, qLen: 100, kvLen: 65 },
  { ...MULTI_QUERY, qLen: 5, kvLen: 100 },
  { scale: 3 },
  { inputs: "huge" },
  { inputs: "equal" },
];

/** Causal or windowed: one more. */
const MASKED: readonly Partial<AttentionCase>[] = [
  { qLen: 1, kvLen: 1, causal: true },
  { qLen: 100, kvLen: 100, causal: true },
  { qLen: 65, kvLen: 130, causal: true },
  { ...GROUPED, qLen: 130, kvLen: 65, causal: true }, // rows without a key
  { qLen: 130, kvLen: 65, causal: "top-left" },
  { qLen: 65, kvLen: 130, causal: "top-left", window: { left: 30 } },
  { ...GROUPED, qLen: 100, kvLen: 100, window: { left: 16, right: 3 } },
  { qLen: 100, kvLen: 100, causal: true, window: { left: 0 } },
  { qLen: 30, kvLen: 10, window: { left: 1, right: 2 } },
  { qLen: 3, kvLen: 1000, causal: true, window: { left: 300 } }, // parts without a key
  { inputs: "huge", causal: true },
];

/** All options at once: one more; the bias broadcasts along each axis. */
const SCORED: readonly Partial<AttentionCase>[] = [
  { ...EVERYTHING, bias: [true, true, true], causal: true },
  { ...EVERYTHING, bias: [false, true, true], causal: true },
  { ...EVERYTHING, bias: [true, false, true], causal: true },
  { ...EVERYTHING, bias: [true, true, false], causal: true },
  { ...EVERYTHING, bias: [false, false, false], window: { left: 8 }, softcap: 30 },
  { ...EVERYTHING, bias: [true, false, false], causal: true, qLen: 100, kvLen: 40 },
];

/** Tests that a case agrees with float64. */
function testCase(part: Partial<AttentionCase>, schedule: string): void {
  const c = caseOf({ ...part, schedule });
  const bias = c.bias ? ` of ${["B", "H", "T"].filter((_, axis) => c.bias?.[axis])}` : "";
  Deno.test({
    name: `attention() matches the reference for ${caseName(c)}${bias} with ${schedule}`,
    ignore: lacks(schedule),
    async fn() {
      const { ratio } = await checkCase(theGpu(), c);
      assert(ratio <= TOLERANCE[c.dtype], `The error ratio is ${ratio}`);
    },
  });
}

for (const schedule of SCHEDULES) {
  for (const part of [...UNMASKED, ...MASKED, ...SCORED]) testCase(part, schedule);
  for (const part of [...UNMASKED.slice(2, 5), MASKED[3], SCORED[0], SCORED[5]]) {
    testCase({ ...part, dtype: "f16" }, schedule);
  }
}
testCase({ qLen: 1000, kvLen: 1000 }, "subgroup");
for (const part of UNMASKED.slice(2, 5)) testCase(part, "workgroup");

/** The tensors of a case. */
function upload({ q, k, v }: AttentionInputs) {
  const [qTensor, kTensor, vTensor] = [q, k, v].map(({ data, shape }) =>
    theGpu().tensor(data as Float32Array, shape)
  );
  return { q: qTensor, k: kTensor, v: vTensor };
}

/** Computes f32 inputs and reads the results. */
async function compute(
  inputs: AttentionInputs,
  options: AttentionOptions = {},
): Promise<{ out: Float32Array; lse: Float32Array }> {
  const { out, lse } = theGpu().scope(() => {
    const { q, k, v } = upload(inputs);
    return attention(q, k, v, { ...options, lse: true });
  });
  assert(lse !== undefined);
  const results = { out: await out.read(), lse: await lse.read() };
  out.dispose();
  lse.dispose();
  return results;
}

/** Whether two arrays hold the same bits. */
function assertSameBits(actual: Float32Array, expected: Float32Array): void {
  assertEquals(new Uint32Array(actual.buffer), new Uint32Array(expected.buffer));
}

/** Tests a property on every schedule. */
function testSchedules(property: string, fn: (schedule: string) => Promise<void>): void {
  for (const schedule of SCHEDULES) {
    Deno.test({
      name: `attention() ${property} with ${schedule}`,
      ignore: lacks(schedule),
      fn: () => fn(schedule),
    });
  }
}

testSchedules("returns the same bits for the same inputs", async (schedule) => {
  const inputs = attentionInputs(caseOf({ ...GROUPED, qLen: 100, kvLen: 300 }));
  const options = { causal: true, schedule };

  const first = await compute(inputs, options);
  const second = await compute(inputs, options);

  assertSameBits(first.out, second.out);
  assertSameBits(first.lse, second.lse);
});

testSchedules("keeps causal outputs to the bit when later tokens change", async (schedule) => {
  const kept = 57;
  const before = attentionInputs(caseOf({ qLen: 100, kvLen: 100 }));
  const after = attentionInputs(caseOf({ qLen: 100, kvLen: 100 }));
  for (const { data } of [after.q, after.k, after.v]) data.fill(1e3, kept * 8);

  const first = await compute(before, { causal: true, schedule });
  const second = await compute(after, { causal: true, schedule });

  assertSameBits(first.out.slice(0, kept * 8), second.out.slice(0, kept * 8));
  assertSameBits(first.lse.slice(0, kept), second.lse.slice(0, kept));
  assert(first.out[kept * 8] !== second.out[kept * 8]);
});

testSchedules("gives 0 and -Infinity to rows that see no key", async (schedule) => {
  // T 70, S 60: the first 10 queries come before every key
  const inputs = attentionInputs(caseOf({ heads: 2, kvHeads: 2, qLen: 70, kvLen: 60 }));

  const { out, lse } = await compute(inputs, { causal: true, schedule });

  assertSameBits(out.slice(0, 10 * 16), new Float32Array(10 * 16));
  assertSameBits(lse.slice(0, 10 * 2), new Float32Array(10 * 2).fill(-Infinity));
  assert(lse.slice(10 * 2).every(Number.isFinite));
  assert(out.slice(10 * 16).every((x) => x !== 0));
});

testSchedules("gives 0 and the sink to rows that see no key", async (schedule) => {
  const inputs = attentionInputs(caseOf({ heads: 2, kvHeads: 2, qLen: 70, kvLen: 60 }));
  using sinks = theGpu().tensor(Float32Array.of(0.75, -3), [2]);

  const { out, lse } = await compute(inputs, { causal: true, schedule, sinks });

  assertSameBits(out.slice(0, 10 * 16), new Float32Array(10 * 16));
  const expected = Array.from({ length: 20 }, (_, row) => [0.75, -3][row % 2]);
  assertClose("lse", lse.slice(0, 20), expected, { ratio: 1e-7 });
});

testSchedules("writes 0 and -Infinity where there are no keys at all", async (schedule) => {
  const inputs = attentionInputs(caseOf({ qLen: 5, kvLen: 0 }));

  const { out, lse } = await compute(inputs, { schedule });

  assertSameBits(out, new Float32Array(5 * 8));
  assertSameBits(lse, new Float32Array(5).fill(-Infinity));
});

testSchedules("returns empty tensors where there are no queries", async (schedule) => {
  const inputs = attentionInputs(caseOf({ qLen: 0, kvLen: 5 }));

  const { out, lse } = await compute(inputs, { schedule });

  assertEquals([out.length, lse.length], [0, 0]);
});

testSchedules("hides a key whose bias is -Infinity", async (schedule) => {
  const hidden = 7;
  const inputs = attentionInputs(caseOf({ qLen: 20, kvLen: 40 }));
  const row = new Float32Array(40);
  row[hidden] = -Infinity;
  using bias = theGpu().tensor(row, [1, 1, 1, 40]);
  const without = ({ data, shape }: AttentionInputs["k"]) => ({
    data: Float32Array.from(data).filter((_, i) => Math.floor(i / 8) !== hidden),
    shape: shape.with(1, 39),
  });

  const actual = await compute(inputs, { bias, schedule });
  const shorter = { q: inputs.q, k: without(inputs.k), v: without(inputs.v) };
  const expected = await compute(shorter, { schedule });

  assertClose("out", actual.out, expected.out, { ratio: 1e-6 });
  assertClose("lse", actual.lse, expected.lse, { ratio: 1e-6 });
});

testSchedules("writes every element of poisoned outputs", async (schedule) => {
  using poisoned = theGpu().empty([3], "f32");
  assertEquals(await poisoned.read(), new Float32Array(3).fill(NaN));
  const inputs = attentionInputs(caseOf({ ...GROUPED, qLen: 67, kvLen: 31 }));

  const { out, lse } = await compute(inputs, { schedule });

  assert(out.every(Number.isFinite));
  assert(lse.every(Number.isFinite));
});

testSchedules("compiles nothing for other lengths, scales and windows", async (schedule) => {
  const { pipelines } = runtimeOf(theGpu());
  const call = async (part: Partial<AttentionCase>, options: AttentionOptions): Promise<void> => {
    await compute(attentionInputs(caseOf(part)), { schedule, ...options });
  };
  await call({ qLen: 3, kvLen: 50 }, { causal: true });
  const compiled = pipelines.size;

  await call({ batch: 3, qLen: 200, kvLen: 90 }, { causal: "top-left", scale: 0.2 });
  await call({ heads: 5, kvHeads: 5, qLen: 1, kvLen: 120 }, { window: { left: 3, right: 9 } });

  assertEquals(pipelines.size, compiled);
});

testSchedules("returns memory to what it was", async (schedule) => {
  const gpu = theGpu();
  await gpu.submit();
  const before = gpu.memory();

  await compute(attentionInputs(caseOf({ ...GROUPED, kvLen: 300 })), { schedule });
  await gpu.submit();

  const { bytes, tensors } = gpu.memory();
  assertEquals({ bytes, tensors }, { bytes: before.bytes, tensors: before.tensors });
});

Deno.test({
  name: "attention() returns lse only if asked for",
  ignore: adapter === null,
  async fn() {
    const { q, k, v } = upload(attentionInputs(caseOf({ ...GROUPED, qLen: 3, kvLen: 2 })));

    const plain = attention(q, k, v);
    const refused = attention(q, k, v, { lse: false });
    const asked = attention(q, k, v, { lse: true });

    assertEquals("lse" in plain, false);
    assertEquals("lse" in refused, false);
    assertEquals(asked.lse?.shape, [2, 3, 4]);
    assertEquals(asked.lse?.dtype, "f32");
    assertSameBits(await plain.out.read(), await asked.out.read());
    const results = [plain.out, refused.out, asked.out, asked.lse];
    for (const tensor of [q, k, v, ...results]) tensor?.dispose();
  },
});

Deno.test({
  name: "attention() returns out in the shape and dtype of q, with the width of v",
  ignore: adapter === null,
  async fn() {
    using q: Tensor<"f16"> = theGpu().tensor(new Float16Array(2 * 3 * 4 * 8), [2, 3, 4, 8]);
    using k = theGpu().tensor(new Float16Array(2 * 5 * 2 * 8), [2, 5, 2, 8]);
    using v = theGpu().tensor(new Float16Array(2 * 5 * 2 * 4).fill(0.5), [2, 5, 2, 4]);

    const { out } = attention(q, k, v);

    assertEquals(out.shape, [2, 3, 4, 4]);
    assertEquals(out.dtype, "f16");
    assertEquals(await out.read(), new Float16Array(2 * 3 * 4 * 4).fill(0.5));
    out.dispose();
  },
});

Deno.test({
  name: "attention() takes a schedule as an object",
  ignore: adapter === null,
  async fn() {
    const inputs = attentionInputs(caseOf({ qLen: 5, kvLen: 5 }));

    const named = await compute(inputs, { schedule: "naive" });
    const given = await compute(inputs, { schedule: { kind: "naive" } });

    assertSameBits(given.out, named.out);
  },
});

Deno.test({
  name: "attention() throws for a schedule that does not exist and records nothing",
  ignore: adapter === null,
  fn() {
    const { q, k, v } = upload(attentionInputs(caseOf({})));
    const before = theGpu().memory();

    assertThrows(
      () => attention(q, k, v, { schedule: "fastest" }),
      RangeError,
      'Cannot plan attention as schedule must fit the problem and the device: "fastest" is not among',
    );

    const { bytes, tensors } = theGpu().memory();
    assertEquals({ bytes, tensors }, { bytes: before.bytes, tensors: before.tensors });
    for (const tensor of [q, k, v]) tensor.dispose();
  },
});

Deno.test({
  name: "attention() leaves nothing allocated after these tests",
  ignore: adapter === null,
  async fn() {
    await theGpu().submit();

    const { bytes, tensors } = theGpu().memory();
    assertEquals([bytes, tensors], [0, 0]);
  },
});
