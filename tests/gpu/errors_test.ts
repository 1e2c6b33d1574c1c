import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  attention,
  DeviceError,
  requestGpu,
  ShaderError,
  UnsupportedDeviceError,
} from "../../mod.ts";
import type { Gpu, Tensor } from "../../mod.ts";
import type { Program } from "../../gpu/program.ts";
import { record } from "../../gpu/runtime.ts";
import { adapter } from "../adapter.ts";
import { program } from "./one_number.ts";

const ignore = adapter === null;

const GOOD = program("good", "out[0] = params.value;");
const BROKEN = program("broken", "out[0] = params.nothing;");

function launch(gpu: Gpu, name: string, run: Program, groups = 1): Tensor<"u32"> {
  return record(gpu, name, (operation) => {
    const out = gpu.empty([1], "u32");
    operation.launch({
      program: run,
      resources: { out: { buffer: out.buffer } },
      params: { value: 7 },
      grid: [groups, 1, 1],
    });
    return out;
  });
}

Deno.test("UnsupportedDeviceError carries what lacks", () => {
  const shortage = { requirement: "maxBufferSize", needed: 32, available: 16 };
  const error = new UnsupportedDeviceError("Cannot do it", shortage);

  assertEquals(error.name, "UnsupportedDeviceError");
  assertEquals(error.message, "Cannot do it");
  assertEquals([error.requirement, error.needed, error.available], ["maxBufferSize", 32, 16]);
});

Deno.test("ShaderError names the program and keeps its text", () => {
  const error = new ShaderError("attention", "expected ;", "fn main() {}");

  assertEquals(error.name, "ShaderError");
  assertEquals(error.message, "Cannot compile attention: expected ;");
  assertEquals([error.label, error.code], ["attention", "fn main() {}"]);
});

Deno.test("DeviceError names the operator", () => {
  const error = new DeviceError("attention", "out of memory");

  assertEquals(error.name, "DeviceError");
  assertEquals(error.message, "Cannot finish attention: out of memory");
  assertEquals(error.operator, "attention");
});

Deno.test({
  name:
    "read() throws a ShaderError when the driver refuses a shader, and never returns its output",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using out = launch(gpu, "a broken operator", BROKEN);

    const error = await assertRejects(() => out.read(), ShaderError);
    assert(error.message.startsWith("Cannot compile broken: "), error.message);
    assert(error.message.includes("nothing"), error.message);
    assertEquals([error.label, error.code], ["broken", BROKEN.code]);
    await assertRejects(() => out.read(), DeviceError, "Cannot finish a broken operator: ");
    using good = launch(gpu, "a good operator", GOOD);
    assertEquals(await good.read(), Uint32Array.of(7));
  },
});

Deno.test({
  name: "submit() throws the ShaderError, again at each new launch",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using first = launch(gpu, "a broken operator", BROKEN);
    await assertRejects(() => gpu.submit(), ShaderError, "Cannot compile broken: ");
    using second = launch(gpu, "a broken operator", BROKEN);
    await assertRejects(() => gpu.submit(), ShaderError, "Cannot compile broken: ");
    await gpu.submit();

    assertEquals([first.disposed, second.disposed], [false, false]);
  },
});

Deno.test({
  name: "read() throws a DeviceError that names the operator of a wrong dispatch",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const tooMany = gpu.device.limits.maxComputeWorkgroupsPerDimension + 1;
    using out = launch(gpu, "an endless operator", GOOD, tooMany);

    const error = await assertRejects(() => out.read(), DeviceError);
    assert(error.message.startsWith("Cannot finish an endless operator: "), error.message);
    assertEquals(error.operator, "an endless operator");
    using good = launch(gpu, "a good operator", GOOD);
    assertEquals(await good.read(), Uint32Array.of(7));
  },
});

Deno.test({
  name: "submit() throws a DeviceError that names the operator of too large a buffer",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    record(gpu, "a greedy operator", (operation) => operation.scratch(2 ** 40));

    const error = await assertRejects(() => gpu.submit(), DeviceError);
    assertEquals(error.operator, "a greedy operator");
    await gpu.submit();
    using good = launch(gpu, "a good operator", GOOD);
    assertEquals(await good.read(), Uint32Array.of(7));
    assertEquals(gpu.memory().bytes, good.buffer.size);
  },
});

Deno.test({
  name: "read() throws once when a wrapped buffer cannot be copied",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const buffer = gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
    using tensor = gpu.wrap(buffer, [4], "f32");

    await assertRejects(() => tensor.read(), DeviceError);
    using good = launch(gpu, "a good operator", GOOD);
    assertEquals(await good.read(), Uint32Array.of(7));
    buffer.destroy();
  },
});

Deno.test({
  name: "launch() throws when a parameter is missing and records nothing",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    using out = gpu.tensor(Uint32Array.of(1), [1]);
    const resources = { out: { buffer: out.buffer } };

    assertThrows(
      () =>
        record(
          gpu,
          "a forgetful operator",
          (operation) =>
            operation.launch({ program: GOOD, resources, params: {}, grid: [1, 1, 1] }),
        ),
      TypeError,
      "Cannot launch good as every parameter must be set: value is missing",
    );
    assertEquals(await out.read(), Uint32Array.of(1));
  },
});

const LOST = "the GPU device was lost (destroyed): device was lost";

/** The messages of everything that a lost device must refuse. */
async function refusals(gpu: Gpu, x: Tensor<"f32">): Promise<string[]> {
  const errors = [
    await assertRejects(() => x.read(), DeviceError),
    await assertRejects(() => gpu.submit(), DeviceError),
    assertThrows(() => attention(x, x, x), DeviceError),
    assertThrows(() => gpu.empty([1], "f32"), DeviceError),
  ];
  return errors.map(({ message }) => message);
}

Deno.test({
  name: "read() and operators throw one clear error once the device is lost",
  ignore,
  async fn() {
    const gpu = await requestGpu();
    const x = gpu.tensor(new Float32Array(48), [1, 6, 1, 8]);
    const pending = attention(x, x, x).out;
    gpu.device.destroy();

    const error = await assertRejects(() => pending.read(), DeviceError);
    assertEquals(error.message, `Cannot finish the recorded work: ${LOST}`);
    assertEquals(await refusals(gpu, x), [
      `Cannot finish a read: ${LOST}`,
      `Cannot finish the recorded work: ${LOST}`,
      `Cannot finish attention: ${LOST}`,
      `Cannot finish an allocation: ${LOST}`,
    ]);
  },
});

Deno.test({
  name: "read() throws the clear error when the device is lost at that moment",
  ignore,
  async fn() {
    const gpu = await requestGpu();
    const x = gpu.tensor(new Float32Array(48), [1, 6, 1, 8]);
    await x.read();
    gpu.device.destroy();

    const error = await assertRejects(() => x.read(), DeviceError);
    assertEquals(error.message, `Cannot finish the recorded work: ${LOST}`);
  },
});

Deno.test({
  name: "dispose() works on a lost device",
  ignore,
  async fn() {
    const gpu = await requestGpu();
    const x = gpu.tensor(new Float32Array(48), [1, 6, 1, 8]);
    gpu.device.destroy();
    await gpu.device.lost;
    x.dispose();
    gpu.dispose();

    assertEquals(gpu.memory().bytes, 0);
  },
});
