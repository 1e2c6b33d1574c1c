import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  attention,
  DeviceError,
  type Gpu,
  hgrn,
  mergeAttention,
  mlstm,
  requestGpu,
  selectTree,
  ShaderError,
  simpleGla,
  softmaxScan,
  type Tensor,
} from "../../mod.ts";
import { record, runtimeOf } from "../../gpu/runtime.ts";
import { vastParams } from "../../gpu/vast.ts";
import { adapter } from "../adapter.ts";
import { program } from "./one_number.ts";

const ignore = adapter === null;

const SEVEN = program("seven", "out[0] = params.value;");
const BROKEN = program("seven", "out[0] = params.nothing;");

function launch(out: Tensor, run = SEVEN): void {
  record(out.gpu, "seven", (operation) =>
    operation.launch({
      program: run,
      resources: { out: { buffer: out.buffer } },
      params: { value: 7 },
      grid: [1, 1, 1],
    }));
}

/** Workgroups of every dispatch while something runs. */
async function dispatches(run: () => Promise<void>): Promise<number[][]> {
  const found: number[][] = [];
  const { prototype } = GPUComputePassEncoder;
  const original = prototype.dispatchWorkgroups;
  prototype.dispatchWorkgroups = function (...grid) {
    found.push(grid.map(Number));
    return original.apply(this, grid);
  };
  try {
    await run();
  } finally {
    prototype.dispatchWorkgroups = original;
  }
  return found;
}

function calls(gpu: Gpu, tokens: number): (() => unknown)[] {
  const heads = (): Tensor<"f32"> => gpu.empty([1, tokens, 2, 16], "f32");
  return [
    () => attention(heads(), heads(), heads(), { causal: true }),
    () => simpleGla(heads(), heads(), heads(), gpu.empty([2], "f32")),
  ];
}

Deno.test({
  name: "prepare() compiles what calls need, at any length, and nothing twice",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const { pipelines } = runtimeOf(gpu);

    const first = await dispatches(() => gpu.prepare(calls(gpu, 64)));
    const compiled = pipelines.size;
    assert(compiled >= 2, `${compiled} pipelines`);
    assertEquals(first, Array(compiled).fill([0]));

    const second = await dispatches(() => gpu.prepare(calls(gpu, 64)));
    assertEquals(second, []);
    await gpu.prepare([]);
    for (const call of calls(gpu, 100)) call();
    await gpu.submit();
    assertEquals(pipelines.size, compiled);
  },
});

Deno.test({
  name: "prepare() launches nothing, and calls after it compute",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using out = gpu.tensor(Uint32Array.of(1), [1]);

    await gpu.prepare([() => launch(out)]);
    assertEquals(await out.read(), Uint32Array.of(1));
    launch(out);
    assertEquals(await out.read(), Uint32Array.of(7));

    const [q, k, v] = [1, 2, 3].map((x) => gpu.tensor(new Float32Array(16).fill(x), [1, 1, 1, 16]));
    await gpu.prepare([() => attention(q, k, v)]);
    for (let again = 0; again < 2; again++) {
      assertEquals(await attention(q, k, v).out.read(), new Float32Array(16).fill(3));
    }
    await gpu.prepare([() => attention(q, k, v)]);
    assertEquals(await attention(q, k, v).out.read(), new Float32Array(16).fill(3));
  },
});

Deno.test({
  name: "prepare() takes no memory for what calls make, and frees it",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const heads = (): Tensor<"f32"> => gpu.empty([1, 16_384, 16, 16], "f32");
    const before = gpu.memory();

    await gpu.prepare([() => attention(heads(), heads(), heads())]);
    const { bytes, tensors, peakBytes } = gpu.memory();
    assertEquals([bytes, tensors], [before.bytes, before.tensors]);
    assert(peakBytes - before.peakBytes < 1024, `${peakBytes} bytes`);
  },
});

Deno.test({
  name: "prepare() of the same calls at once compiles them once",
  ignore,
  async fn() {
    using gpu = await requestGpu();

    const compile = gpu.device.createComputePipelineAsync.bind(gpu.device);
    let compiled = 0;
    gpu.device.createComputePipelineAsync = (descriptor) => {
      compiled++;
      return compile(descriptor);
    };
    await Promise.all([gpu.prepare(calls(gpu, 64)), gpu.prepare(calls(gpu, 64))]);
    assertEquals(compiled, runtimeOf(gpu).pipelines.size);
  },
});

Deno.test({
  name: "prepare() throws what a call throws, and leaves the device usable",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using x = gpu.tensor(new Float32Array(16), [1, 1, 1, 16]);
    using y = gpu.tensor(new Float32Array(8), [1, 1, 1, 8]);
    const before = gpu.memory();

    const unequal = [() => attention(x, x, x), () => attention(x, y, x)];
    await assertRejects(() => gpu.prepare(unequal), TypeError, "Cannot compute attention as");
    await assertRejects(
      () => gpu.prepare([async () => await Promise.resolve(attention(x, x, x))]),
      TypeError,
      "Cannot prepare an async function as it must call operators at once",
    );
    const { bytes, tensors } = gpu.memory();
    assertEquals([bytes, tensors], [before.bytes, before.tensors]);
    assertEquals(runtimeOf(gpu).pipelines.size, 0);
    assertEquals(await attention(x, x, x).out.read(), new Float32Array(16));
  },
});

Deno.test({
  name: "prepare() refuses reads, and keeps them from what was recorded before",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using x = gpu.tensor(new Float32Array(160).fill(3), [1, 10, 1, 16]);
    const pending = attention(x, x, x).out;
    const unwanted = async (): Promise<unknown> => await attention(x, x, x).out.read();

    await assertRejects(() => gpu.prepare([unwanted]), TypeError, "Cannot prepare an async");
    let read: Promise<unknown> | null = null;
    await gpu.prepare([() => {
      read = attention(x, x, x).out.read();
    }]);
    await assertRejects(() => read ?? Promise.resolve(), TypeError, "Cannot read a tensor as");
    assertEquals(await pending.read(), new Float32Array(160).fill(3));
  },
});

Deno.test({
  name: "prepare() inside of calls that are prepared launches nothing either",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using x = gpu.tensor(new Float32Array(16).fill(3), [1, 1, 1, 16]);
    let inner: Promise<void> | null = null;
    const nested = (): void => {
      inner = gpu.prepare([]);
      attention(x, x, x);
    };

    assertEquals(await dispatches(() => gpu.prepare([nested])), [[0]]);
    await inner;
    assertEquals(runtimeOf(gpu).tapes.size, 0);
    assertEquals(await attention(x, x, x).out.read(), new Float32Array(16).fill(3));
  },
});

Deno.test({
  name: "prepare() leaves its operators out of what later work is called",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using x = gpu.tensor(new Float32Array(16), [1, 1, 1, 16]);
    await gpu.prepare([() => attention(x, x, x)]);
    const broken = gpu.tensor(Uint32Array.of(1), [1]);
    launch(broken);
    broken.buffer.destroy();

    await assertRejects(() => gpu.submit(), DeviceError, "Cannot finish an allocation, seven: ");
  },
});

Deno.test({
  name: "prepare() throws a ShaderError when the driver refuses a shader, again at each call",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using out = gpu.tensor(Uint32Array.of(1), [1]);

    for (let again = 0; again < 2; again++) {
      const error = await assertRejects(
        () => gpu.prepare([() => launch(out, BROKEN), () => launch(out)]),
        ShaderError,
      );
      assert(error.message.startsWith("Cannot compile seven: "), error.message);
      assert(error.message.includes("nothing"), error.message);
      assertEquals([error.label, error.code], ["seven", BROKEN.code]);
    }
    assertEquals(runtimeOf(gpu).pipelines.size, 1);
    launch(out);
    assertEquals(await out.read(), Uint32Array.of(7));
  },
});

Deno.test({
  name: "prepare() throws when its Gpu was disposed",
  ignore,
  async fn() {
    const gpu = await requestGpu();
    gpu.dispose();

    await assertRejects(() => gpu.prepare([]), Error, "its Gpu was disposed");
  },
});

Deno.test({
  name: "prepare() binds whole elements, however large they are",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const row = (): Tensor<"f32"> => gpu.empty([1, 20, 8], "f32");
    const scores = (): Tensor<"f32"> => gpu.empty([1, 20, 2], "f32");
    const values = (): Tensor<"f32"> => gpu.empty([1, 20, 2, 8], "f32");

    await gpu.prepare([() => hgrn(row(), row()), () => softmaxScan(scores(), values())]);

    assert(runtimeOf(gpu).pipelines.size >= 2);
  },
});

Deno.test({
  name: "prepare() takes operators that compute in tensors of scratch",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const heads = (): Tensor<"f32"> => gpu.empty([1, 100, 2, 16], "f32");
    const rows = (): Tensor<"f32"> => gpu.empty([1, 100, 2], "f32");
    const parts = Array.from({ length: 20 }, () => ({ out: heads(), lse: rows() }));
    const work = [
      () => selectTree(heads(), heads(), { keep: 2, keyBlock: 4 }),
      () => mlstm(heads(), heads(), heads(), rows(), rows()),
      () => mergeAttention(parts),
    ];

    await gpu.prepare(work);

    const { size } = runtimeOf(gpu).pipelines;
    gpu.scope(() => work.forEach((call) => call()));
    await gpu.submit();
    assertEquals(runtimeOf(gpu).pipelines.size, size);
  },
});

Deno.test({
  name: "the first launch of a program is preceded by one of nothing, with parameters of no call",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const out = gpu.empty([1], "u32");

    assertEquals(await dispatches(() => Promise.resolve(launch(out))), [[0, 1, 1], [1, 1, 1]]);
    assertEquals(await dispatches(() => Promise.resolve(launch(out))), [[1, 1, 1]]);

    assertEquals(await out.read(), Uint32Array.of(7));
  },
});

Deno.test({
  name: "a first launch into an encoder that nobody submits does not count",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const out = gpu.empty([1], "u32");
    const recorded = (): Promise<void> => {
      gpu.record(gpu.device.createCommandEncoder(), () => [1, 2].forEach(() => launch(out)));
      return Promise.resolve();
    };

    assertEquals(await dispatches(recorded), [[0, 1, 1], [1, 1, 1], [1, 1, 1]]);
    assertEquals(await dispatches(() => Promise.resolve(launch(out))), [[0, 1, 1], [1, 1, 1]]);
    assertEquals(await dispatches(recorded), [[1, 1, 1], [1, 1, 1]]);
  },
});

Deno.test("vastParams() unrolls no loop and divides by no power of two", () => {
  const params = { length: "u32", scale: "f32", from: "i32" } as const;
  const { scale, ...counts } = vastParams({ ...SEVEN, params });

  assertEquals(scale, 1);
  for (const count of Object.values(counts)) {
    assert(count > 65_536 && count < 2 ** 31 && !Number.isInteger(Math.log2(count)), `${count}`);
  }
  assert(counts.length !== counts.from);
});
