import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../cli/random.ts";
import { attention, mergeAttention, requestGpu, type Tensor } from "../../mod.ts";
import { mergeAttention as reference } from "../../reference/mod.ts";
import { adapter } from "../adapter.ts";
import { assertClose } from "../assert_close.ts";

const ignore = adapter === null;
const shared = ignore ? null : await requestGpu({ poison: true });

function theGpu() {
  assert(shared !== null);
  return shared;
}

interface HostPart {
  out: { data: Float32Array | Float16Array; shape: number[] };
  lse: { data: Float32Array; shape: number[] };
}

/** Random parts; each row's lse is -Infinity with a chance of one in four. */
function hostParts(count: number, shape: number[], dtype: "f32" | "f16", seed: number): HostPart[] {
  const random = new Random(seed);
  const rows = shape.slice(0, -1);
  const size = shape.reduce((product, axis) => product * axis, 1);
  const rowCount = rows.reduce((product, axis) => product * axis, 1);
  return Array.from({ length: count }, () => {
    const values = Float32Array.from({ length: size }, () => random.normal());
    const lse = Float32Array.from(
      { length: rowCount },
      () => random.next() < 0.25 ? -Infinity : 20 * random.normal(),
    );
    const data = dtype === "f16" ? new Float16Array(values) : values;
    return { out: { data, shape }, lse: { data: lse, shape: rows } };
  });
}

async function assertMerges(
  parts: readonly HostPart[],
  ratio: number,
  gpu = theGpu(),
): Promise<void> {
  const before = gpu.memory().tensors;
  const tensors = parts.map(({ out, lse }) => ({
    out: gpu.tensor(out.data, out.shape) as Tensor<"f32">,
    lse: gpu.tensor(lse.data, lse.shape),
  }));
  const merged = mergeAttention(tensors);
  const expected = reference(parts);
  assertEquals(merged.out.dtype, tensors[0].out.dtype);
  assertClose("out", await merged.out.read(), expected.out.data, { ratio });
  assertClose("lse", await merged.lse.read(), expected.lse.data, { ratio: 2e-5 });
  for (const { out, lse } of [...tensors, merged]) [out, lse].forEach((tensor) => tensor.dispose());
  assertEquals(gpu.memory().tensors, before);
}

Deno.test({
  name: "mergeAttention() matches the reference for 2 and 5 parts in f32, with rows without a key",
  ignore,
  async fn() {
    await assertMerges(hostParts(2, [2, 9, 3, 8], "f32", 1), 2e-5);
    await assertMerges(hostParts(5, [2, 9, 3, 8], "f32", 2), 2e-5);
  },
});

Deno.test({
  name: "mergeAttention() matches the reference in f16, folded in f32",
  ignore,
  async fn() {
    await assertMerges(hostParts(2, [1, 10, 3, 8], "f16", 3), 2e-3);
    await assertMerges(hostParts(4, [1, 10, 3, 8], "f16", 4), 2e-3);
  },
});

Deno.test({
  name: "mergeAttention() takes any number of token axes and ragged value dims",
  ignore,
  async fn() {
    await assertMerges(hostParts(3, [2, 3, 4, 2, 5], "f32", 5), 2e-5);
    await assertMerges(hostParts(2, [7, 5], "f16", 6), 2e-3);
  },
});

Deno.test({
  name: "mergeAttention() returns a single part as it is, in new tensors",
  ignore,
  async fn() {
    await assertMerges(hostParts(1, [1, 6, 2, 8], "f32", 7), 1e-6);
  },
});

Deno.test({
  name: "mergeAttention() splits rows that exceed a binding or a dispatch",
  ignore,
  async fn() {
    const limits = { maxStorageBufferBindingSize: 16384, maxComputeWorkgroupsPerDimension: 2 };
    using gpu = await requestGpu({ poison: true, limits });

    await assertMerges(hostParts(3, [1, 500, 3, 8], "f32", 8), 2e-5, gpu);
    await assertMerges(hostParts(2, [1, 301, 3, 5], "f32", 9), 2e-5, gpu);
  },
});

Deno.test({
  name: "mergeAttention() of two halves of the keys equals attention() over all of them",
  ignore,
  async fn() {
    const gpu = theGpu();
    const random = new Random(10);
    const tensor = (tokens: number) =>
      gpu.tensor(
        Float32Array.from({ length: tokens * 16 }, () => random.normal()),
        [1, tokens, 2, 8],
      );
    const [q, k, v] = [tensor(20), tensor(30), tensor(30)];
    const [kData, vData] = [await k.read(), await v.read()];
    const half = (data: Float32Array, first: number) =>
      gpu.tensor(data.slice(first * 16, (first + 15) * 16), [1, 15, 2, 8]);
    const parts = [0, 15].map((first) => {
      const { out, lse } = attention(q, half(kData, first), half(vData, first), { lse: true });
      assert(lse !== undefined);
      return { out, lse };
    });
    const whole = attention(q, k, v, { lse: true });

    const merged = mergeAttention(parts);
    assertClose("out", await merged.out.read(), await whole.out.read(), { ratio: 2e-5 });
    assert(whole.lse !== undefined);
    assertClose("lse", await merged.lse.read(), await whole.lse.read(), { ratio: 2e-5 });
  },
});

Deno.test({
  name: "mergeAttention() throws for parts that do not fit together",
  ignore,
  fn() {
    const gpu = theGpu();
    const out = gpu.empty([1, 4, 2, 8], "f32");
    const lse = gpu.empty([1, 4, 2], "f32");
    const refuse = (parts: unknown): string =>
      assertThrows(() => mergeAttention(parts as []), TypeError).message;

    assertEquals(
      refuse([]),
      "Cannot merge attention as parts must be an array of at least one: parts is Array",
    );
    assertEquals(
      refuse([{ out }]),
      "Cannot merge attention as parts[0].lse must be a Tensor: parts[0].lse is undefined",
    );
    assertEquals(
      refuse([{ out, lse }, { out: gpu.empty([1, 5, 2, 8], "f32"), lse }]),
      "Cannot merge attention as parts must share a shape: parts[1].out must be [1,4,2,8], it is [1,5,2,8]",
    );
    assertEquals(
      refuse([{ out, lse: out }]),
      "Cannot merge attention as parts must share a shape: parts[0].lse must be [1,4,2], it is [1,4,2,8]",
    );
    assertEquals(
      refuse([{ out, lse }, { out: gpu.empty([1, 4, 2, 8], "f16"), lse }]),
      "Cannot merge attention as parts[1].out must be f32: parts[1].out is f16",
    );
    assertEquals(
      refuse([{ out: gpu.empty([1, 4, 2, 8], "i32"), lse }]),
      "Cannot merge attention as parts[0].out must be f32 or f16: parts[0].out is i32",
    );
  },
});

Deno.test({
  name: "mergeAttention() of many parts outlives other work in an encoder of the caller's",
  ignore,
  async fn() {
    using gpu = await requestGpu({ poison: true });
    const parts = hostParts(4, [2, 5, 3, 8], "f32", 11);
    const tensors = parts.map(({ out, lse }) => ({
      out: gpu.tensor(out.data, out.shape) as Tensor<"f32">,
      lse: gpu.tensor(lse.data, lse.shape),
    }));
    const encoder = gpu.device.createCommandEncoder();

    const merged = gpu.record(encoder, () => mergeAttention(tensors));
    await assertMerges(hostParts(3, [2, 5, 3, 8], "f32", 12), 2e-5, gpu);
    gpu.device.queue.submit([encoder.finish()]);

    assertClose("out", await merged.out.read(), reference(parts).out.data, { ratio: 2e-5 });
  },
});

Deno.test({
  name: "mergeAttention() of many parts copies two of them at a time",
  ignore,
  async fn() {
    using own = await requestGpu();
    const part = () => ({
      out: own.tensor(new Float32Array(512 * 8 * 64), [1, 512, 8, 64]),
      lse: own.tensor(new Float32Array(512 * 8), [1, 512, 8]),
    });
    const parts = Array.from({ length: 8 }, part);
    const { bytes } = own.memory();

    mergeAttention(parts).out.dispose();

    // two copies and three results on the way, of a MiB each
    const lent = own.memory().peakBytes - bytes;
    assert(lent < 7 * 2 ** 20, `${lent} bytes`);
  },
});
