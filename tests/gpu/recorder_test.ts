import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceError, type Gpu, requestGpu, rope, type Tensor } from "../../mod.ts";
import type { Program } from "../../gpu/program.ts";
import { record } from "../../gpu/runtime.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Copies an element of a table into out. */
const COPY: Program = {
  label: "copy of an element",
  code: `@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
struct Params { at: u32, offset: u32 }
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(1) fn main() { out[params.offset + params.at] = words[params.at]; }`,
  bindings: [
    { name: "words", access: "read", type: "array<u32>" },
    { name: "out", access: "read_write", type: "array<u32>" },
  ],
  params: { at: "u32", offset: "u32" },
  subgroups: false,
};

/** Copies tables, with a launch for each element. */
function copied(gpu: Gpu, tables: readonly Uint32Array<ArrayBuffer>[]): Tensor<"u32"> {
  return record(gpu, "copies", (operation) => {
    const length = tables[0].length;
    const out = gpu.empty([tables.length, length], "u32");
    const ranges = tables.map((words) => operation.table(words));
    ranges.forEach((words, n) => {
      for (let at = 0; at < length; at++) {
        operation.launch({
          program: COPY,
          resources: { words, out: { buffer: out.buffer } },
          params: { at, offset: n * length },
          grid: [1, 1, 1],
        });
      }
    });
    return out;
  });
}

function table(length: number, seed: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length }, (_, i) => seed * 1000 + i);
}

Deno.test({
  name: "table() holds for all launches of an operator, however many there are",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    // small ones beside parameters, one with a buffer of its own, one that is used again
    for (const [tables, length] of [[1, 600], [3, 300], [1, 2000], [2, 5]]) {
      const words = Array.from({ length: tables }, (_, n) => table(length, n + 1));
      const all = [...words, words[0]];
      using out = copied(gpu, all);

      assertEquals([...await out.read()], all.flatMap((table) => [...table]));
    }
    assertEquals(gpu.memory().tensors, 0);
  },
});

Deno.test({
  name: "table() holds where there are more tables than fit with the parameters",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const words = Array.from({ length: 400 }, (_, n) => table(2, n));
    using out = copied(gpu, words);

    assertEquals([...await out.read()], words.flatMap((table) => [...table]));
  },
});

Deno.test({
  name: "launch() binds what it is given, however often the same memory is bound",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const [first, second] = [table(40, 1), table(40, 2)];
    const outs = Array.from({ length: 8 }, (_, n) => copied(gpu, n % 2 === 0 ? [first] : [second]));

    for (const [n, out] of outs.entries()) {
      assertEquals([...await out.read()], [...n % 2 === 0 ? first : second]);
      out.dispose();
    }
  },
});

Deno.test({
  name: "operation() is named by an error of work behind a submission in its midst",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const late = gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
    const launches = (outs: readonly GPUBuffer[]): void =>
      record(gpu, "many launches", (operation) => {
        const words = operation.table(table(1, 1));
        for (const buffer of outs) {
          const resources = { words, out: { buffer } };
          operation.launch({
            program: COPY,
            resources,
            params: { at: 0, offset: 0 },
            grid: [1, 1, 1],
          });
        }
      });
    using out = gpu.empty([4], "u32");
    launches([...Array.from({ length: 300 }, () => out.buffer), late]);
    late.destroy();

    await assertRejects(() => gpu.submit(), DeviceError, "Cannot finish many launches: ");
  },
});

/** Two turns of x. */
const turned = (x: Tensor<"f32">): Tensor<"f32"> => rope(rope(x, { offset: 1 }), { offset: 2 });

Deno.test({
  name: "record() inside of record() goes on in the outer encoder",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = gpu.tensor(Float32Array.from({ length: 64 }, (_, i) => i), [1, 4, 2, 8]);
    const expected = await turned(x).read();
    for (const same of [false, true]) {
      const outer = gpu.device.createCommandEncoder();
      const inner = same ? outer : gpu.device.createCommandEncoder();
      const parts = gpu.record(outer, () => {
        const first = rope(x, { offset: 1 });
        const other = gpu.record(inner, () => turned(x));
        return [other, rope(first, { offset: 2 })];
      });
      const encoders = [...new Set([inner, outer])];
      gpu.device.queue.submit(encoders.map((encoder) => encoder.finish()));
      for (const part of parts) assertEquals(await part.read(), expected);
    }
  },
});

Deno.test({
  name: "record() leaves an encoder usable when the body throws",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const x = gpu.tensor(Float32Array.from({ length: 64 }, (_, i) => i), [1, 4, 2, 8]);
    const encoder = gpu.device.createCommandEncoder();
    const failing = (): never => {
      rope(x);
      throw new RangeError("Mine");
    };
    assertThrows(() => gpu.record(encoder, failing), RangeError, "Mine");
    const out = gpu.record(encoder, () => turned(x));
    gpu.device.queue.submit([encoder.finish()]);

    assertEquals(await out.read(), await turned(x).read());
  },
});
