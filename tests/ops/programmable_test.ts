import { assert, assertEquals } from "@std/assert";
import { checkedSchedules } from "../../cli/attention_flags.ts";
import { type HostTensor, hostTensor } from "../../cli/host_tensor.ts";
import { programmableGroups } from "../../cli/programmable_cases.ts";
import { Random } from "../../cli/random.ts";
import { runtimeOf } from "../../gpu/runtime.ts";
import {
  attention,
  type AttentionOptions,
  type AttentionResult,
  attentionStatistics,
  BlockMap,
  compileBlockMap,
  type Gpu,
  requestGpu,
  type Tensor,
} from "../../mod.ts";
import { attention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });
const kinds = shared === null
  ? []
  : [...new Set(checkedSchedules(shared).map((name) => name.split("-", 1)[0]))];

/** The device that these tests share; every new buffer is full of NaN. */
function gpu(): Gpu {
  assert(shared !== null);
  return shared;
}

const selection = { quick: true, dtype: undefined, cases: 0, seed: 1 };
for (const { group, items } of programmableGroups(kinds, selection)) {
  for (const { name, run } of items) {
    Deno.test({
      name: `attention() matches the reference for ${group}: ${name}`,
      async fn() {
        const { ok, ratio, error } = await run(gpu());
        assert(ok, error ?? `The error ratio is ${ratio}`);
      },
    });
  }
}

Deno.test({
  name: "attention() matches the reference for hooks, maps and caches where limits cut everything",
  ignore,
  async fn() {
    using small = await requestGpu({
      poison: true,
      limits: {
        maxComputeWorkgroupsPerDimension: 24,
        maxLoopIterations: 900,
        maxStorageBufferBindingSize: 40000,
      },
    });
    const tiled = kinds.filter((kind) => kind !== "naive");
    for (const { items } of programmableGroups(tiled, selection)) {
      for (const { name, run } of items) {
        const { ok, ratio } = await run(small);
        assert(ok, `The error ratio of ${name} is ${ratio}`);
      }
    }
  },
});

/** One of each kind that walks anything but rows; small tiles, since large ones compile longer. */
const SCHEDULES = ["subgroup", "workgroup-16x16-4x4-16", "split"];

/** Tests a property on every schedule. */
function testSchedules(property: string, fn: (schedule: string) => Promise<void>): void {
  for (const schedule of SCHEDULES) {
    Deno.test({
      name: `attention() ${property} with ${schedule}`,
      ignore: !kinds.includes(schedule.split("-")[0]),
      fn: () => fn(schedule),
    });
  }
}

const [HEADS, KV_HEADS, DIM] = [4, 2, 8];

/** Normal numbers, `[batch, tokens, heads, 8]`. */
function normal(batch: number, tokens: number, heads: number, seed: number): HostTensor {
  const random = new Random(seed);
  return hostTensor("f32", [batch, tokens, heads, DIM], () => random.normal());
}

/** q, k and v. */
type Inputs = readonly [HostTensor, HostTensor, HostTensor];

function inputsOf(batch: number, qLen: number, kvLen: number): Inputs {
  return [
    normal(batch, qLen, HEADS, 1),
    normal(batch, kvLen, KV_HEADS, 2),
    normal(batch, kvLen, KV_HEADS, 3),
  ];
}

function upload({ data, shape }: HostTensor): Tensor<"f32"> {
  return gpu().tensor(data, shape) as Tensor<"f32">;
}

const i32 = (shape: number[], ...data: number[]): Tensor<"i32"> =>
  gpu().tensor(Int32Array.from(data), shape);

/** The same integers without a copy on the host, as if a kernel had computed them. */
const computed = (shape: number[], ...data: number[]): Tensor =>
  gpu().wrap(i32(shape, ...data).buffer, shape, "i32");

/** Records a call in a scope that frees its inputs. */
function record(inputs: Inputs, options: () => AttentionOptions): AttentionResult<"f32"> {
  return gpu().scope(() => {
    const [q, k, v] = inputs.map(upload);
    return attention(q, k, v, options());
  });
}

/** Computes and reads the output, and what is beside it. */
async function compute(
  inputs: Inputs,
  options: () => AttentionOptions,
): Promise<{ out: Float32Array; aux: Float32Array }> {
  const { out, aux } = record(inputs, () => ({ aux: true, ...options() }));
  const read = { out: await out.read(), aux: await aux?.read() ?? new Float32Array() };
  out.dispose();
  aux?.dispose();
  return read;
}

/** Whether two arrays hold the same bits. */
function assertSameBits(actual: Float32Array, expected: Float32Array): void {
  assertEquals(new Uint32Array(actual.buffer), new Uint32Array(expected.buffer));
}

/** Tokens first <= t < end of a batch of one. */
function tokens({ data, shape }: HostTensor, first: number, end: number): HostTensor {
  const width = shape[2] * shape[3];
  return { data: data.slice(first * width, end * width), shape: shape.with(1, end - first) };
}

const MASK = "j <= i + 20 && (i / 16 + j / 8 + h) % 3 != 0";
const SCORE = "s - 0.1 * slope(h) * f32(abs(i - j)) + tilt";
const hooks = (): AttentionOptions => ({
  score: SCORE,
  inputs: { slope: gpu().tensor(Float32Array.of(1, -0.5, 2, 0.1), [4]), tilt: 0.25 },
});

testSchedules("does not look at later tokens under a causal mask", async (schedule) => {
  const kept = 37;
  const inputs = inputsOf(1, 70, 70);
  const changed = (x: HostTensor): HostTensor => ({
    ...x,
    data: x.data.slice().fill(9, kept * KV_HEADS * DIM),
  });
  for (const weight of ["softmax", "sigmoid", "softplus"] as const) {
    const options = () => ({ ...hooks(), mask: "j <= i", weight, schedule });

    const first = await compute(inputs, options);
    const second = await compute([inputs[0], changed(inputs[1]), changed(inputs[2])], options);

    const rows = kept * HEADS;
    assertSameBits(first.out.slice(0, rows * DIM), second.out.slice(0, rows * DIM));
    if (first.aux.length > 0) assertSameBits(first.aux.slice(0, rows), second.aux.slice(0, rows));
    assert(first.out[rows * DIM] !== second.out[rows * DIM]);
  }
});

testSchedules("returns the same bits for the same hooks and maps", async (schedule) => {
  const inputs = inputsOf(2, 70, 130);
  const sizes = { qLen: 70, kvLen: 130, queryBlock: 16, keyBlock: 24 };
  const heads = schedule === "split" ? 1 : HEADS;
  const mask = schedule === "split" ? "j <= i + 20" : MASK;
  const options = () => {
    const blockMap = compileBlockMap(gpu(), mask, { ...sizes, heads });
    return { ...hooks(), blockMap, schedule };
  };

  const first = await compute(inputs, options);
  const second = await compute(inputs, options);

  assertSameBits(first.out, second.out);
  assertSameBits(first.aux, second.aux);
});

testSchedules("sees the same under a mask and under a map of it", async (schedule) => {
  const inputs = inputsOf(2, 70, 130);
  const heads = schedule === "split" ? 2 : HEADS;
  const mask = schedule === "split" ? "(i / 16 + j / 8) % 3 != 0" : MASK;
  for (const [queryBlock, keyBlock] of [[16, 24], [64, 64]]) {
    const sizes = { qLen: 70, kvLen: 130, heads, queryBlock, keyBlock };

    const masked = await compute(inputs, () => ({ mask, schedule }));
    const mapped = await compute(inputs, () => ({
      blockMap: compileBlockMap(gpu(), mask, sizes),
      schedule,
    }));

    assertClose("out", mapped.out, masked.out, { ratio: 1e-6 });
    assertClose("aux", mapped.aux, masked.aux, { ratio: 1e-6 });
  }
});

const [Q_BOUNDS, KV_BOUNDS] = [[0, 1, 30, 30, 75], [0, 20, 90, 95, 140]];

testSchedules("computes packed sequences as if each were alone, to the bit", async (schedule) => {
  const inputs = inputsOf(1, 75, 140);
  const cut = (x: HostTensor, bounds: number[], n: number) => tokens(x, bounds[n], bounds[n + 1]);
  for (const options of [{}, { causal: true }, { window: { left: 9, right: 2 } }]) {
    const { out, aux } = await compute(inputs, () => ({
      ...{ ...options, schedule },
      cuSeqlensQ: i32([5], ...Q_BOUNDS),
      cuSeqlensKv: i32([5], ...KV_BOUNDS),
    }));

    for (const n of [0, 1, 3]) {
      const alone = await compute(
        [cut(inputs[0], Q_BOUNDS, n), cut(inputs[1], KV_BOUNDS, n), cut(inputs[2], KV_BOUNDS, n)],
        () => ({ ...options, schedule }),
      );
      const [first, end] = [Q_BOUNDS[n] * HEADS, Q_BOUNDS[n + 1] * HEADS];
      assertSameBits(out.slice(first * DIM, end * DIM), alone.out);
      assertSameBits(aux.slice(first, end), alone.aux);
    }
  }
});

testSchedules("reads pages as it reads keys in a row, to the bit", async (schedule) => {
  const inputs = inputsOf(1, 9, 40);
  const order = [3, 0, 4, 1, 2];
  const paged = ({ data, shape }: HostTensor): HostTensor => {
    const page = 8 * KV_HEADS * DIM;
    const moved = data.slice();
    order.forEach((at, n) => moved.set(data.slice(n * page, (n + 1) * page), at * page));
    return { data: moved, shape: [5, 8, ...shape.slice(2)] };
  };
  const [q, k, v] = inputs;

  for (const causal of [false, true]) {
    const inARow = await compute(inputs, () => ({ causal, schedule }));
    const inPages = await compute([q, paged(k), paged(v)], () => ({
      ...{ causal, schedule },
      pageTable: i32([1, 5], ...order),
    }));
    const ofSome = await compute([q, tokens(k, 0, 29), tokens(v, 0, 29)], () => ({
      ...{ causal, schedule },
    }));
    const inSome = await compute([q, paged(k), paged(v)], () => ({
      ...{ causal, schedule },
      pageTable: i32([1, 5], ...order),
      kvLengths: i32([1], 29),
    }));

    assertSameBits(inPages.out, inARow.out);
    assertSameBits(inSome.out, ofSome.out);
    assertSameBits(inSome.aux, ofSome.aux);
  }
});

testSchedules("clamps tables and lengths that the device computed", async (schedule) => {
  const q = normal(2, 3, HEADS, 1);
  const [k, v] = [2, 3].map((seed) => normal(5, 4, KV_HEADS, seed));
  const pages = await compute([q, k, v], () => ({
    schedule,
    pageTable: computed([2, 2], ...[-1, 1], ...[1 << 30, 5]),
    kvLengths: computed([2], ...[-5, 99]),
  }));
  const clampedPages = await compute([q, k, v], () => ({
    schedule,
    pageTable: i32([2, 2], ...[4, 1], ...[4, 4]),
    kvLengths: i32([2], ...[8, 8]),
  }));
  const [rows, values] = [4, 5].map((seed) => normal(2, 10, KV_HEADS, seed));
  const listed = await compute([q, rows, values], () => ({
    schedule,
    keyIndices: computed([2, 3], ...[-1, 1, 10], ...[1 << 30, 5, 9]),
  }));
  const clampedList = await compute([q, rows, values], () => ({
    schedule,
    keyIndices: i32([2, 3], ...[9, 1, 9], ...[9, 5, 9]),
  }));

  assertSameBits(pages.out, clampedPages.out);
  assertSameBits(listed.out, clampedList.out);
  assert(pages.out.every(Number.isFinite));
});

testSchedules("gives 0 and what is empty to rows whose scores are -Infinity", async (schedule) => {
  const inputs = inputsOf(1, 20, 30);
  const options = (weight: "softmax" | "softplus" | "sigmoid") => () => ({
    ...{ schedule, weight, score: "s + hole(i, j)" },
    inputs: { hole: gpu().tensor(new Float32Array(20 * 30).fill(-Infinity, 0, 5 * 30), [20, 30]) },
  });
  const none = new Float32Array(5 * HEADS * DIM);

  const softmax = await compute(inputs, options("softmax"));
  const softplus = await compute(inputs, options("softplus"));
  const sigmoid = await compute(inputs, options("sigmoid"));

  assertSameBits(softmax.out.slice(0, none.length), none);
  assertSameBits(softplus.out.slice(0, none.length), none);
  assertSameBits(sigmoid.out.slice(0, none.length), none);
  assertSameBits(softmax.aux.slice(0, 5 * HEADS), new Float32Array(5 * HEADS).fill(-Infinity));
  assertSameBits(softplus.aux.slice(0, 5 * HEADS), new Float32Array(5 * HEADS));
  assert(softmax.aux.slice(5 * HEADS).every(Number.isFinite));
});

testSchedules("compiles nothing for other numbers, lengths and tables", async (schedule) => {
  const { pipelines } = runtimeOf(gpu());
  const call = async (qLen: number, kvLen: number, tilt: number): Promise<void> => {
    const slope = () => gpu().tensor(new Float32Array(kvLen).fill(tilt), [kvLen]);
    await compute(inputsOf(2, qLen, kvLen), () => ({
      ...{ schedule, score: SCORE, inputs: { slope: slope(), tilt } },
    }));
    const blockMap = () => compileBlockMap(gpu(), "j <= i", { qLen, kvLen });
    await compute(inputsOf(2, qLen, kvLen), () => ({ schedule, blockMap: blockMap() }));
    await compute(inputsOf(1, qLen, kvLen), () => ({
      ...{ schedule, cuSeqlensQ: i32([3], 0, 1, qLen), cuSeqlensKv: i32([3], 0, 9, kvLen) },
    }));
    await compute(inputsOf(2, qLen, kvLen), () => ({
      ...{ schedule, kvLengths: i32([2], 3, kvLen), causal: true },
    }));
  };
  await call(3, 50, 0.5);
  const compiled = pipelines.size;

  await call(40, 77, 2);

  assertEquals(pipelines.size, compiled);
});

Deno.test({
  name: "attention() uses a map as often as it likes, beside other hooks and weights",
  ignore,
  async fn() {
    using map = compileBlockMap(gpu(), MASK, { qLen: 70, kvLen: 130, heads: HEADS });
    const inputs = inputsOf(2, 70, 130);
    const others = [() => ({}), () => ({ weight: "sigmoid" }), hooks, () => ({ scale: 2 })];
    for (const options of others) {
      const mapped = await compute(inputs, () => ({ ...options(), blockMap: map }));
      const masked = await compute(inputs, () => ({ ...options(), mask: MASK }));

      assertClose("out", mapped.out, masked.out, { ratio: 1e-6 });
    }
    assertEquals(map.disposed, false);
  },
});

Deno.test({
  name: "attention() applies masks of a map whose inputs live on",
  ignore,
  async fn() {
    using reach = i32([HEADS], 3, 10, 40, 200);
    const mask = { code: "abs(i - j) <= reach(h) * i32(times)", inputs: { reach } };
    const inputs = inputsOf(1, 70, 70);
    using map = compileBlockMap(gpu(), mask, {
      ...{ qLen: 70, kvLen: 70, heads: HEADS, inputs: { times: 2 } },
    });

    const score = { code: "s + 0.01 * f32(reach(h))", inputs: { reach } }; // the same table

    const mapped = await compute(inputs, () => ({ blockMap: map, score }));
    const masked = await compute(inputs, () => ({ score, mask, inputs: { times: 2 } }));

    assertClose("out", mapped.out, masked.out, { ratio: 1e-6 });
  },
});

Deno.test({
  name: "attention() hands hooks the inputs of the call and their own",
  ignore,
  async fn() {
    const inputs = inputsOf(1, 20, 30);
    const own = await compute(inputs, () => ({
      score: [{ code: "s * tau", inputs: { tau: 2 } }, {
        code: "s + f32(h) * up",
        inputs: { up: 1 },
      }],
    }));
    const all = await compute(inputs, () => ({
      score: ["s * tau", "s + f32(h) * up"],
      inputs: { tau: 2, up: 1, unread: gpu().tensor(new Float32Array(3), [3]) },
    }));

    assertSameBits(own.out, all.out);
    assertSameBits(own.aux, all.aux);
  },
});

Deno.test({
  name: "attention() takes inputs of the names that shaders have for other things",
  ignore,
  async fn() {
    const inputs = inputsOf(1, 20, 30);
    const named = (one: string, other: string) =>
      compute(inputs, () => ({ score: `s * ${one} + ${other}`, inputs: { [one]: 2, [other]: 1 } }));
    const expected = await named("one", "two");

    for (const name of ["params", "score", "visible", "Keys", "LOG2E", "q"]) {
      assertSameBits((await named(name, "other")).out, expected.out);
    }
  },
});

Deno.test({
  name: "attention() returns what its weights have beside the output",
  ignore,
  async fn() {
    const inputs = inputsOf(1, 5, 6);
    const beside = (options: AttentionOptions): string[] => {
      const result = record(inputs, () => options);
      const names = Object.keys(result).filter((name) => name !== "out");
      Object.values(result).forEach((tensor) => tensor.dispose());
      return names;
    };

    assertEquals(beside({}), []);
    assertEquals(beside({ lse: true }), ["lse"]);
    assertEquals(beside({ aux: true }), ["aux"]);
    assertEquals(beside({ aux: true, lse: true }), ["lse", "aux"]);
    assertEquals(beside({ aux: true, weight: "relu" }), ["aux"]);
    assertEquals(beside({ aux: true, weight: "stickBreaking" }), ["aux"]);
    assertEquals(beside({ aux: true, weight: "sigmoid" }), []);
    assertEquals(beside({ aux: true, weight: { code: "s", normalize: false } }), []);
    assertEquals(beside({ aux: true, normalizer: "relu" }), ["aux"]);
    await gpu().submit();
  },
});

Deno.test({
  name: "attention() records maps, hooks, sequences and caches into an encoder of the caller",
  ignore,
  async fn() {
    const device = gpu();
    const inputs = inputsOf(1, 60, 60);
    const ways: (() => AttentionOptions)[] = [
      () => ({ ...hooks(), blockMap: compileBlockMap(device, "j <= i", { qLen: 60, kvLen: 60 }) }),
      () => ({ ...hooks(), mask: MASK }),
      () => ({ cuSeqlensQ: i32([3], 0, 17, 60), causal: true }),
      () => ({ kvLengths: i32([1], 41), schedule: "split" }),
    ];
    for (const way of ways) {
      const expected = await compute(inputs, way);
      const encoder = device.device.createCommandEncoder();
      const [q, k, v] = inputs.map(upload);
      const options = device.record(encoder, way);

      const { out } = device.record(encoder, () => attention(q, k, v, options));
      device.device.queue.submit([encoder.finish()]);

      assertSameBits(await out.read(), expected.out);
      const made = [options.blockMap, options.cuSeqlensQ, options.kvLengths];
      const read = Object.values(options.inputs ?? {});
      for (const x of [q, k, v, out, ...made, ...read]) if (typeof x === "object") x.dispose();
    }
  },
});

Deno.test({
  name: "attention() and its statistics hide what the bias hides, whatever a hook makes of it",
  ignore,
  async fn() {
    const random = new Random(5);
    const normal = (length: number): HostTensor =>
      hostTensor("f32", [1, length, 1, 4], () => random.normal());
    const [q, k, v] = [normal(2), normal(9), normal(9)];
    // the first query sees no key, the second one every other
    let at = 0;
    const bias = hostTensor("f32", [1, 1, 2, 9], () => at++ < 9 || at % 2 > 0 ? -Infinity : 0.5);
    const tensor = ({ data, shape }: HostTensor) => gpu().tensor(data, shape) as Tensor<"f32">;
    for (const schedule of kinds) {
      for (const weight of ["softmax", "none"] as const) {
        for (
          const [score, hook] of [["s * 0.25", (s: number) => s / 4], ["2.0", () => 2]] as const
        ) {
          const { out, argMax } = gpu().scope(() => {
            const [qs, ks, vs, biases] = [q, k, v, bias].map(tensor);
            const options = { bias: biases, score };
            const { out } = attention(qs, ks, vs, { ...options, weight, schedule });
            return {
              out,
              argMax: attentionStatistics(qs, ks, { ...options, argMax: true }).argMax,
            };
          });
          assert(argMax !== undefined);
          const expected = reference(q, k, v, { bias, weight, score: hook });
          assertClose(`${schedule} ${weight}`, await out.read(), expected.out.data, {
            ratio: 1e-5,
          });
          assertEquals((await argMax.read())[0], -1);
          [out, argMax].forEach((tensor) => tensor.dispose());
        }
      }
    }
  },
});

Deno.test({
  name: "attention() over a map leaves the map alone, and a scope keeps what it returns",
  ignore,
  async fn() {
    const map = gpu().scope(() => compileBlockMap(gpu(), "j <= i", { qLen: 64, kvLen: 64 }));

    assert(map instanceof BlockMap);
    assertEquals(map.disposed, false);
    assertEquals(await map.density(), 1);
    map.dispose();
  },
});

Deno.test({
  name: "attention() leaves nothing allocated after these tests",
  ignore,
  async fn() {
    await gpu().submit();

    const { bytes, tensors } = gpu().memory();
    assertEquals([bytes, tensors], [0, 0]);
  },
});
