import { assertEquals, assertRejects } from "@std/assert";
import { attention, DeviceError, poolTokens, requestGpu, rope } from "../../mod.ts";
import { Spare } from "../../gpu/spare.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** Pieces of memory, and the names of those that were destroyed. */
function pieces(): {
  piece: (name: string, size?: number) => { name: string; size: number; destroy(): void };
  destroyed: string[];
} {
  const destroyed: string[] = [];
  return {
    destroyed,
    piece: (name, size = 16) => ({ name, size, destroy: () => void destroyed.push(name) }),
  };
}

Deno.test("take() prefers the last piece of this submission, then the first of those before", () => {
  const { piece, destroyed } = pieces();
  const spare = new Spare<ReturnType<typeof piece>>();
  ["a", "b", "c"].forEach((name) => spare.add("kind", piece(name)));
  spare.age();
  spare.add("kind", piece("d"), true);
  ["e", "f"].forEach((name) => spare.add("kind", piece(name)));

  const taken = Array.from({ length: 7 }, () => spare.take("kind")?.name);

  assertEquals(taken, ["f", "e", "a", "b", "c", "d", undefined]);
  assertEquals(spare.take("another kind"), undefined);
  assertEquals(destroyed, []);
});

Deno.test("age() destroys what is large, what waits for long, and what is too much together", () => {
  const { piece, destroyed } = pieces();
  const spare = new Spare<ReturnType<typeof piece>>();
  spare.add(1, piece("large", 2 ** 22 + 1));
  spare.add(2, piece("small"));
  spare.age();
  assertEquals(destroyed.splice(0), ["large"]);

  for (let n = 0; n < 3; n++) spare.age();
  assertEquals(destroyed, []);
  spare.age();
  assertEquals(destroyed.splice(0), ["small"]);

  for (let n = 0; n < 17; n++) spare.add(3, piece(`${n}`, 2 ** 22));
  spare.age();
  assertEquals(destroyed.splice(0), ["16"]);
  spare.clear();
  assertEquals(destroyed.length, 16);
  assertEquals([...spare], []);
});

Deno.test("add() destroys at once what no command needs and is too much to keep", () => {
  const { piece, destroyed } = pieces();
  const spare = new Spare<ReturnType<typeof piece>>();
  spare.add(1, piece("large", 2 ** 22 + 1), true);
  assertEquals(destroyed.splice(0), ["large"]);
  for (let n = 0; n < 17; n++) spare.add(3, piece(`${n}`, 2 ** 22), true);
  assertEquals(destroyed.splice(0), ["16"]);

  spare.take(3);
  spare.add(3, piece("again", 2 ** 22), true);
  assertEquals(destroyed, []);
});

/** How often a device is asked for memory and bind groups while something runs. */
async function creations(run: () => Promise<void>): Promise<Record<string, number>> {
  const names = ["createBuffer", "createTexture", "createBindGroup"] as const;
  const counts = Object.fromEntries(names.map((name) => [name, 0]));
  const { prototype } = GPUDevice;
  const originals = names.map((name) => prototype[name]);
  names.forEach((name, n) => {
    // deno-lint-ignore no-explicit-any -- three signatures
    prototype[name] = function (this: GPUDevice, descriptor: any): any {
      counts[name]++;
      return (originals[n] as (given: unknown) => unknown).call(this, descriptor);
    };
  });
  try {
    await run();
  } finally {
    names.forEach((name, n) => Object.assign(prototype, { [name]: originals[n] }));
  }
  return counts;
}

Deno.test({
  name: "steps that recur make nothing but what a read maps, from the second one on",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const [q, k] = [1, 2].map(() =>
      gpu.tensor(new Float32Array(2 * 8 * 16).fill(1), [1, 8, 2, 16])
    );
    const step = async () => {
      const out = gpu.scope(() => {
        const turned = rope(q);
        return attention(rope(turned), k, rope(k)).out;
      });
      await out.read();
      out.dispose();
    };
    await step();

    for (let n = 0; n < 3; n++) {
      assertEquals(await creations(step), {
        createBuffer: 1,
        createTexture: 0,
        createBindGroup: 0,
      });
    }
    assertEquals(gpu.memory().bytes, q.buffer.size + k.buffer.size);
  },
});

Deno.test({
  name: "a failure is named at each call, and leaves nothing behind that is not valid",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.STORAGE;
    const buffer = gpu.device.createBuffer({ size: 1024, usage });
    buffer.destroy();
    const x = gpu.wrap(buffer, [1, 8, 2, 16], "f32");
    using good = gpu.tensor(new Float32Array(256).fill(1), [1, 8, 2, 16]);

    for (let n = 0; n < 2; n++) {
      rope(x).dispose();
      poolTokens(good, { block: 4, kind: "mean" }).dispose(); // in the same submission
      const error = await assertRejects(() => gpu.submit(), DeviceError);
      assertEquals(error.operator, "rope");
      using out = rope(good, { base: 1e9 });
      assertEquals((await out.read()).length, 256);
    }
  },
});
