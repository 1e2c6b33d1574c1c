import { assert, assertEquals } from "@std/assert";
import { attention, Gpu, requestGpu } from "../../mod.ts";
import { timePasses } from "../../gpu/timeline.ts";
import { record } from "../../gpu/runtime.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null || !adapter.features.has("timestamp-query");

/** A call of three passes. */
function naive(gpu: Gpu): () => void {
  const x = gpu.tensor(new Float32Array(64 * 8).fill(0.5), [1, 64, 1, 8]);
  return () => attention(x, x, x, { schedule: "naive" }).out.dispose();
}

Deno.test({
  name: "timePasses() names the passes of a call in their order and times each run",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const body = naive(gpu);
    let calls = 0;

    const passes = await timePasses(gpu, () => (calls++, body()), 3);

    assertEquals(calls, 4);
    assertEquals(passes.map(({ label, count }) => [label, count]), [
      ["attention (naive scores)", 1],
      ["attention (naive softmax)", 1],
      ["attention (naive values)", 1],
    ]);
    for (const { times } of passes) {
      assertEquals(times.length, 3);
      assert(times.every((time) => time > 0 && time < 60_000), `times are ${times}`);
    }
    assertEquals(gpu.memory().tensors, 1);
  },
});

Deno.test({
  name: "timePasses() takes passes and copies of one label together",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const [a, b] = [1, 2].map(() => gpu.tensor(new Float32Array(64), [64]));
    const twice = naive(gpu);

    const passes = await timePasses(gpu, () => {
      twice();
      record(gpu, "copies", (operation) => {
        operation.copy(a.buffer, b.buffer, 256);
        operation.copy(a.buffer, b.buffer, 0); // nothing, and no pass
        operation.copy(b.buffer, a.buffer, 256);
      });
      twice();
    }, 1);

    assertEquals(passes.map(({ label, count, times }) => [label, count, times.length]), [
      ["attention (naive scores)", 2, 1],
      ["attention (naive softmax)", 2, 1],
      ["attention (naive values)", 2, 1],
      ["copy", 2, 1],
    ]);
  },
});

Deno.test({
  name: "timePasses() finds none without timestamps",
  ignore,
  async fn() {
    using own = await requestGpu();
    const features = { ...own.features, timestamps: false };
    const gpu = new Gpu(own.device, own.adapter, features, own.limits, false);

    assertEquals(await timePasses(gpu, naive(gpu), 2), []);
  },
});
