import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { attention, DeviceError, requestGpu, UnsupportedDeviceError } from "../../mod.ts";
import type { DataOf, DType, Tensor } from "../../mod.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;
const shared = adapter === null ? null : await requestGpu({ poison: true });

/** The device that most tests of this file share; they leave it empty. */
function theGpu() {
  assert(shared !== null);
  return shared;
}

function assertTypeError(body: () => unknown, message: string): void {
  assertEquals(assertThrows(body, TypeError).message, message);
}

Deno.test({
  name: "requestGpu() tells who computes and what the adapter has",
  ignore,
  fn() {
    const { adapter: summary, features, limits } = theGpu();
    const drivers = ["llvmpipe", "swiftshader", "nvidia", "amd", "intel", "apple", "other"];

    assert(drivers.includes(summary.driver), summary.driver);
    assertEquals(summary.description, adapter?.info.description);
    assertEquals(features.f16, adapter?.features.has("shader-f16"));
    assertEquals(features.timestamps, adapter?.features.has("timestamp-query"));
    assert(features.subgroups === null || [4, 8, 16, 32, 64].includes(features.subgroups.size));
    assertEquals(limits.maxBufferSize, adapter?.limits.maxBufferSize);
    assertEquals(limits.maxLoopIterations, summary.driver === "llvmpipe" ? 65535 : Infinity);
  },
});

Deno.test({
  name: "requestGpu() knows llvmpipe and swiftshader as software",
  ignore,
  fn() {
    const { driver, software } = theGpu().adapter;

    assert(software || (driver !== "llvmpipe" && driver !== "swiftshader"));
  },
});

Deno.test({
  name: "requestGpu() heeds a lowered limit",
  ignore,
  async fn() {
    using gpu = await requestGpu({
      limits: { maxBufferSize: 1024, maxLoopIterations: 50, minStorageBufferOffsetAlignment: 256 },
    });

    assertEquals(gpu.limits.maxBufferSize, 1024);
    assertEquals(gpu.limits.maxLoopIterations, 50);
    assertEquals(gpu.limits.minStorageBufferOffsetAlignment, 256);
    assertEquals(gpu.limits.maxTextureDimension2D, theGpu().limits.maxTextureDimension2D);
    using fits = gpu.empty([256], "f32");
    assertEquals(fits.bytes, 1024);
    const error = assertThrows(() => gpu.empty([257], "f32"), UnsupportedDeviceError);
    assertEquals(
      error.message,
      "Cannot make a tensor as it must fit one buffer: [257] of f32 takes 1040 bytes, the device allows 1024",
    );
    assertEquals(error.requirement, "maxBufferSize");
    assertEquals([error.needed, error.available], [1040, 1024]);
    assertEquals(gpu.memory().bytes, 1024);
  },
});

Deno.test({
  name: "requestGpu() does not raise a limit beyond the adapter's",
  ignore,
  async fn() {
    using gpu = await requestGpu({
      limits: { maxBufferSize: 2 ** 60, minStorageBufferOffsetAlignment: 1 },
    });
    const { maxBufferSize, minStorageBufferOffsetAlignment } = theGpu().limits;

    assertEquals(gpu.limits.maxBufferSize, maxBufferSize);
    assertEquals(gpu.limits.minStorageBufferOffsetAlignment, minStorageBufferOffsetAlignment);
  },
});

Deno.test({
  name: "requestGpu() throws when software is forbidden and the adapter is software",
  ignore: ignore || !theGpu().adapter.software,
  async fn() {
    const error = await assertRejects(
      () => requestGpu({ software: "forbidden" }),
      UnsupportedDeviceError,
    );

    assertEquals(
      error.message,
      "Cannot request a GPU device: no adapter is available (software adapters are forbidden)",
    );
    assertEquals(error.requirement, "adapter");
  },
});

Deno.test({
  name: "requestGpu() finds the software adapter when software is required",
  ignore: ignore || !theGpu().adapter.software,
  async fn() {
    using gpu = await requestGpu({ software: "required" });

    assertEquals(gpu.adapter.software, true);
  },
});

async function assertRoundTrip<T extends DType>(data: DataOf[T], shape: number[]): Promise<void> {
  using tensor: Tensor = theGpu().tensor(data, shape);

  assertEquals(tensor.shape, shape);
  assertEquals(tensor.size, data.length);
  assertEquals(tensor.bytes, data.byteLength);
  assertEquals(await tensor.read(), data);
}

Deno.test({
  name: "tensor() returns f32 as they were, signed zeros and infinities too",
  ignore,
  fn: () => assertRoundTrip(Float32Array.of(1.5, -0, Infinity, -Infinity, 1e-40, 3e38), [2, 3]),
});

Deno.test({
  name: "tensor() returns f16 of even and odd length",
  ignore,
  async fn() {
    await assertRoundTrip(Float16Array.of(1.5, -2, 65504, 6e-8), [4]);
    await assertRoundTrip(Float16Array.of(1.5), [1, 1]);
    await assertRoundTrip(Float16Array.of(1, 2, 3, 4, 5), [5, 1]);
  },
});

Deno.test({
  name: "tensor() returns i32 and u32",
  ignore,
  async fn() {
    await assertRoundTrip(Int32Array.of(-2147483648, -1, 2147483647), [3]);
    await assertRoundTrip(Uint32Array.of(0, 4294967295), [1, 2]);
  },
});

Deno.test({
  name: "tensor() takes arrays without elements",
  ignore,
  async fn() {
    await assertRoundTrip(new Float32Array(0), [2, 0, 3]);
    await assertRoundTrip(new Float16Array(0), [0]);
    await assertRoundTrip(new Int32Array(0), [0]);
    await assertRoundTrip(new Uint32Array(0), [0, 0]);
  },
});

Deno.test({
  name: "tensor() takes one element without axes",
  ignore,
  fn: () => assertRoundTrip(Float32Array.of(7), []),
});

Deno.test({
  name: "tensor() takes a view into a larger buffer",
  ignore,
  async fn() {
    await assertRoundTrip(new Float32Array([9, 1, 2, 9]).subarray(1, 3), [2]);
    await assertRoundTrip(new Float16Array([9, 1, 2, 3, 9]).subarray(1, 4), [3]);
  },
});

Deno.test({
  name: "tensor() copies the data at once",
  ignore,
  async fn() {
    const data = Float32Array.of(1, 2);
    using tensor = theGpu().tensor(data, [2]);
    data.fill(0);

    assertEquals(await tensor.read(), Float32Array.of(1, 2));
  },
});

Deno.test({
  name: "tensor() throws when the shape does not hold the data",
  ignore,
  fn() {
    const before = theGpu().memory();

    assertTypeError(
      () => theGpu().tensor(new Float32Array(5), [2, 3]),
      "Cannot make a tensor as its shape must hold all of data: shape [2,3] holds 6, data has 5",
    );
    assertTypeError(
      () => theGpu().tensor(new Float32Array(0), []),
      "Cannot make a tensor as its shape must hold all of data: shape [] holds 1, data has 0",
    );
    assertEquals(theGpu().memory(), before);
  },
});

Deno.test({
  name: "tensor() throws when the shape is not an array of sizes",
  ignore,
  fn() {
    const make = (shape: unknown): Tensor =>
      theGpu().tensor(new Float32Array(1), shape as readonly number[]);
    const rule = "Cannot make a tensor as its shape must be an array of integers >= 0: shape is";

    assertTypeError(() => make([-1]), `${rule} [-1]`);
    assertTypeError(() => make([0.5, 2]), `${rule} [0.5,2]`);
    assertTypeError(() => make([NaN]), `${rule} [NaN]`);
    assertTypeError(() => make([Infinity]), `${rule} [Infinity]`);
    assertTypeError(() => make(1), `${rule} 1`);
    assertTypeError(() => make("1"), `${rule} 1`);
    assertTypeError(() => make(undefined), `${rule} undefined`);
    assertTypeError(() => make({ length: 1 }), `${rule} Object`);
  },
});

Deno.test({
  name: "tensor() throws when the data is of another type",
  ignore,
  fn() {
    const make = (data: unknown): Tensor => theGpu().tensor(data as Float32Array, [1]);
    const rule =
      "Cannot make a tensor as data must be a Float32Array, Float16Array, Int32Array or Uint32Array: data is";

    assertTypeError(() => make(new Float64Array(1)), `${rule} Float64Array`);
    assertTypeError(() => make([1]), `${rule} Array`);
    assertTypeError(() => make(new ArrayBuffer(4)), `${rule} ArrayBuffer`);
    assertTypeError(() => make(null), `${rule} null`);
  },
});

Deno.test({
  name: "empty() is filled with NaN under poison",
  ignore,
  async fn() {
    using floats = theGpu().empty([3], "f32");
    using halves = theGpu().empty([3], "f16");
    using integers = theGpu().empty([2], "i32");

    assertEquals(await floats.read(), Float32Array.of(NaN, NaN, NaN));
    assertEquals(await halves.read(), Float16Array.of(NaN, NaN, NaN));
    assertEquals(await integers.read(), Int32Array.of(-1, -1));
  },
});

const STORAGE = 0x80;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;

Deno.test({
  name: "wrap() lends a buffer and leaves it alive",
  ignore,
  async fn() {
    const gpu = theGpu();
    const before = gpu.memory();
    const usage = STORAGE | COPY_SRC | COPY_DST;
    const buffer = gpu.device.createBuffer({ size: 32, usage });
    gpu.device.queue.writeBuffer(buffer, 0, Float32Array.of(1, 2, 3, 4));
    const first = gpu.wrap(buffer, [2, 2], "f32");

    assertEquals(gpu.memory(), { ...before, tensors: before.tensors + 1 });
    assertEquals(await first.read(), Float32Array.of(1, 2, 3, 4));
    first.dispose();
    assertEquals(gpu.memory(), before);
    using second = gpu.wrap(buffer, [2], "u32");
    assertEquals(await second.read(), Uint32Array.of(0x3f800000, 0x40000000));
    buffer.destroy();
  },
});

Deno.test({
  name: "wrap(), empty() and record() throw when a buffer, an element type or an encoder is none",
  ignore,
  fn() {
    const buffer = theGpu().device.createBuffer({ size: 16, usage: STORAGE });
    const dtypes = "dtype must be one of f32, f16, i32, u32: dtype is";

    assertTypeError(
      () => theGpu().wrap(null as never, [4], "f32"),
      "Cannot wrap a buffer as it must be a GPUBuffer: buffer is null",
    );
    assertTypeError(
      () => theGpu().wrap(buffer, [4], "bf16" as "f32"),
      `Cannot wrap a buffer as ${dtypes} bf16`,
    );
    assertTypeError(
      () => theGpu().empty([4], "f64" as "f32"),
      `Cannot make a tensor as ${dtypes} f64`,
    );
    assertTypeError(
      () => theGpu().record({} as never, () => 0),
      "Cannot record as encoder must be a GPUCommandEncoder: encoder is Object",
    );
    buffer.destroy();
  },
});

Deno.test({
  name: "wrap() throws when the buffer lacks STORAGE usage",
  ignore,
  fn() {
    const before = theGpu().memory();
    const buffer = theGpu().device.createBuffer({ size: 16, usage: COPY_SRC | COPY_DST });

    assertTypeError(
      () => theGpu().wrap(buffer, [4], "f32"),
      "Cannot wrap a buffer as it must have STORAGE usage: current usage is 0xc",
    );
    assertEquals(theGpu().memory(), before);
    buffer.destroy();
  },
});

Deno.test({
  name: "wrap() throws when the buffer is too small or the shape is none",
  ignore,
  fn() {
    const buffer = theGpu().device.createBuffer({ size: 16, usage: STORAGE });

    assertTypeError(
      () => theGpu().wrap(buffer, [1, 5], "f32"),
      "Cannot wrap a buffer as it must hold the shape: [1,5] of f32 takes 20 bytes, the buffer has 16",
    );
    assertTypeError(
      () => theGpu().wrap(buffer, [9], "f16"),
      "Cannot wrap a buffer as it must hold the shape: [9] of f16 takes 20 bytes, the buffer has 16",
    );
    assertTypeError(
      () => theGpu().wrap(buffer, [-4], "f32"),
      "Cannot wrap a buffer as its shape must be an array of integers >= 0: shape is [-4]",
    );
    buffer.destroy();
  },
});

Deno.test({
  name: "scope() keeps the tensor it returns and frees the rest",
  ignore,
  async fn() {
    const gpu = theGpu();
    const before = gpu.memory().tensors;
    const freed: Tensor[] = [];
    using kept = gpu.scope(() => {
      freed.push(gpu.tensor(Float32Array.of(1), [1]), gpu.empty([2], "i32"));
      return gpu.tensor(Float32Array.of(5), [1]);
    });

    assertEquals(freed.map(({ disposed }) => disposed), [true, true]);
    assertEquals(kept.disposed, false);
    assertEquals(await kept.read(), Float32Array.of(5));
    assertEquals(gpu.memory().tensors, before + 1);
  },
});

Deno.test({
  name: "scope() keeps tensors in arrays and objects",
  ignore,
  fn() {
    const gpu = theGpu();
    const one = () => gpu.tensor(Float32Array.of(1), [1]);
    const { list, deep, number } = gpu.scope(() => {
      one();
      return { list: [one(), one()], deep: { a: { b: [one()] }, none: null }, number: 3 };
    });
    const kept = [...list, ...deep.a.b];

    assertEquals(kept.map(({ disposed }) => disposed), [false, false, false]);
    assertEquals(number, 3);
    for (const tensor of kept) tensor.dispose();
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "scope() hands what it keeps to the scope around it",
  ignore,
  fn() {
    const gpu = theGpu();
    const made: Tensor[] = [];
    const one = () => {
      const tensor = gpu.tensor(Float32Array.of(1), [1]);
      made.push(tensor);
      return tensor;
    };
    using kept = gpu.scope(() => {
      const inner = gpu.scope(() => [one(), one()].slice(1));
      assertEquals(made.map(({ disposed }) => disposed), [true, false]);
      inner.push(one());
      return inner[1];
    });

    assertEquals(made.map(({ disposed }) => disposed), [true, true, false]);
    assertEquals(kept, made[2]);
  },
});

Deno.test({
  name: "scope() leaves tensors from outside alone",
  ignore,
  fn() {
    const gpu = theGpu();
    using outside = gpu.tensor(Float32Array.of(1), [1]);
    gpu.scope(() => assertEquals(outside.size, 1));

    assertEquals(outside.disposed, false);
  },
});

Deno.test({
  name: "scope() frees everything when its function throws",
  ignore,
  fn() {
    const gpu = theGpu();

    assertThrows(
      () =>
        gpu.scope(() => {
          gpu.tensor(Float32Array.of(1), [1]);
          throw new RangeError("Halt");
        }),
      RangeError,
      "Halt",
    );
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "scope() throws when its function is async",
  ignore,
  fn() {
    const gpu = theGpu();

    assertTypeError(
      () =>
        gpu.scope(() => {
          gpu.tensor(Float32Array.of(1), [1]);
          return Promise.resolve(1);
        }),
      "Cannot scope an async function as tensors are freed when it returns",
    );
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "memory() counts live and peak bytes and returns to zero",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    assertEquals(gpu.memory(), { bytes: 0, peakBytes: 0, tensors: 0 });
    const a = gpu.tensor(new Float32Array(256), [256]);
    const b = gpu.empty([3], "f16"); // 6 bytes, rounded up to 16

    assertEquals(gpu.memory(), { bytes: 1040, peakBytes: 1040, tensors: 2 });
    a.dispose();
    assertEquals(gpu.memory(), { bytes: 16, peakBytes: 1040, tensors: 1 });
    const c = gpu.empty([8], "u32");
    assertEquals(gpu.memory(), { bytes: 48, peakBytes: 1040, tensors: 2 });
    b.dispose();
    c.dispose();
    assertEquals(gpu.memory(), { bytes: 0, peakBytes: 1040, tensors: 0 });
  },
});

/** Attention over 300 keys of head dim 8, split into parts: it takes scratch. */
function splitCall(gpu: ReturnType<typeof theGpu>): Tensor {
  return gpu.scope(() => {
    const q = gpu.tensor(new Float32Array(8).fill(0.5), [1, 1, 1, 8]);
    const k = gpu.tensor(new Float32Array(2400).fill(0.5), [1, 300, 1, 8]);
    return attention(q, k, k, { schedule: "split" }).out;
  });
}

Deno.test({
  name: "memory() counts scratch until the work is submitted",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const out = splitCall(gpu);

    const recorded = gpu.memory();
    assert(recorded.bytes > out.buffer.size, "scratch must be counted");
    assertEquals(recorded.tensors, 1);
    assertEquals(await out.read(), new Float32Array(8).fill(0.5));
    assertEquals(gpu.memory().bytes, out.buffer.size);
    out.dispose();
    assertEquals(gpu.memory(), { bytes: 0, peakBytes: gpu.memory().peakBytes, tensors: 0 });
    assert(gpu.memory().peakBytes >= recorded.bytes);
  },
});

Deno.test({
  name: "memory() does not grow over calls, submitted one by one or together",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    splitCall(gpu).dispose();
    const { bytes } = gpu.memory();
    splitCall(gpu).dispose();

    assertEquals(gpu.memory().bytes, bytes, "the second call takes the scratch of the first");
    await gpu.submit();
    assertEquals(gpu.memory().bytes, 0);
    const { peakBytes } = gpu.memory();
    for (let call = 0; call < 3; call++) {
      splitCall(gpu).dispose();
      await gpu.submit();
    }
    assertEquals(gpu.memory(), { bytes: 0, peakBytes, tensors: 0 });
  },
});

Deno.test({
  name: "read() throws when the tensor was disposed",
  ignore,
  async fn() {
    const tensor = theGpu().tensor(Float32Array.of(1), [1]);
    tensor.dispose();

    const error = await assertRejects(() => tensor.read(), TypeError);
    assertEquals(error.message, "Cannot read a tensor as it was disposed");
  },
});

Deno.test({
  name: "dispose() twice counts once",
  ignore,
  fn() {
    const before = theGpu().memory();
    const tensor = theGpu().tensor(Float32Array.of(1), [1]);
    tensor.dispose();
    tensor.dispose();

    assertEquals(theGpu().memory().bytes, before.bytes);
    assertEquals(theGpu().memory().tensors, before.tensors);
  },
});

Deno.test({
  name: "dispose() of an input before the work is submitted does no harm",
  ignore,
  async fn() {
    const gpu = theGpu();
    const x = gpu.tensor(Float32Array.from({ length: 48 }, (_, i) => i % 8), [1, 6, 1, 8]);
    using out = attention(x, x, x, { window: { left: 0, right: 0 } }).out;
    x.dispose();

    assertEquals(await out.read(), Float32Array.from({ length: 48 }, (_, i) => i % 8));
  },
});

Deno.test({
  name: "record() gives the result of a direct call, when the caller submits",
  ignore,
  async fn() {
    const gpu = theGpu();
    const { device } = gpu;
    const data = Float32Array.from({ length: 48 }, (_, i) => Math.sin(i));
    using x = gpu.tensor(data, [1, 6, 1, 8]);
    using direct = attention(x, x, x, { window: { left: 2 } }).out;
    const expected = await direct.read();

    const encoder = device.createCommandEncoder();
    using out = gpu.record(encoder, () => attention(x, x, x, { window: { left: 2 } }).out);
    assertEquals(await out.read(), new Float32Array(48).fill(NaN), "nothing runs before");
    device.queue.submit([encoder.finish()]);
    assertEquals(await out.read(), expected);
  },
});

Deno.test({
  name: "record() comes after what was recorded before",
  ignore,
  async fn() {
    const gpu = theGpu();
    const { device } = gpu;
    const data = Float32Array.from({ length: 48 }, (_, i) => Math.sin(i));
    using x = gpu.tensor(data, [1, 6, 1, 8]);
    const own = { window: { left: 0, right: 0 } };
    using before = attention(x, x, x, own).out;
    const encoder = device.createCommandEncoder();
    using out = gpu.record(encoder, () => attention(x, x, before, own).out);
    device.queue.submit([encoder.finish()]);

    assertEquals(await out.read(), data);
  },
});

Deno.test({
  name: "record() frees its scratch from the books and works again after an error",
  ignore,
  async fn() {
    const gpu = theGpu();
    const { device } = gpu;
    const encoder = device.createCommandEncoder();
    const { bytes } = gpu.memory();
    const out = gpu.record(encoder, () => splitCall(gpu));

    assertEquals(gpu.memory().bytes, bytes + out.buffer.size);
    assertThrows(
      () =>
        gpu.record(encoder, () => {
          throw new RangeError("Halt");
        }),
      RangeError,
      "Halt",
    );
    device.queue.submit([encoder.finish()]);
    assertEquals(await out.read(), new Float32Array(8).fill(0.5));
    out.dispose();
    using direct = splitCall(gpu);
    assertEquals(await direct.read(), new Float32Array(8).fill(0.5));
  },
});

Deno.test({
  name: "dispose() of a Gpu makes every later use fail with one clear error",
  ignore,
  async fn() {
    const gpu = await requestGpu();
    const x = gpu.tensor(new Float32Array(48), [1, 6, 1, 8]);
    gpu.dispose();

    const messages = [
      assertThrows(() => attention(x, x, x), DeviceError),
      assertThrows(() => gpu.tensor(new Float32Array(1), [1]), DeviceError),
      assertThrows(() => gpu.empty([1], "f32"), DeviceError),
      await assertRejects(() => x.read(), DeviceError),
      await assertRejects(() => gpu.submit(), DeviceError),
    ].map(({ message }) => message);
    assertEquals(messages, [
      "Cannot finish attention: its Gpu was disposed",
      "Cannot finish an allocation: its Gpu was disposed",
      "Cannot finish an allocation: its Gpu was disposed",
      "Cannot finish a read: its Gpu was disposed",
      "Cannot finish the recorded work: its Gpu was disposed",
    ]);
    x.dispose();
    gpu.dispose();
    assertEquals(gpu.memory().bytes, 0);
  },
});

Deno.test({
  name: "memory() of the shared device is zero at the end of these tests",
  ignore,
  async fn() {
    await theGpu().submit();
    const { bytes, tensors } = theGpu().memory();

    assertEquals({ bytes, tensors }, { bytes: 0, tensors: 0 });
  },
});
