import { assert, assertEquals, assertRejects } from "@std/assert";
import { attention, Gpu, requestGpu, ShaderError } from "../../mod.ts";
import { timeRuns } from "../../gpu/timing.ts";
import { record } from "../../gpu/runtime.ts";
import { adapter } from "../adapter.ts";

const ignore = adapter === null;

/** A call worth timing that leaves nothing behind. */
function work(gpu: Gpu): () => void {
  const x = gpu.tensor(new Float32Array(256 * 8).fill(0.5), [1, 256, 1, 8]);
  return () => attention(x, x, x, { schedule: "workgroup" }).out.dispose();
}

function assertTimes(times: number[], runs: number): void {
  assertEquals(times.length, runs);
  assert(times.every((time) => time > 0 && time < 60_000), `times are ${times}`);
  assertEquals(times, times.toSorted((a, b) => a - b));
}

Deno.test({
  name: "timeRuns() returns sorted positive times by timestamps",
  ignore: ignore || !adapter?.features.has("timestamp-query"),
  async fn() {
    using gpu = await requestGpu();
    const body = work(gpu);
    let calls = 0;

    assertTimes(await timeRuns(gpu, () => (calls++, body()), { runs: 5, warmups: 2 }), 5);
    assertEquals(calls, 7);
    assertEquals(gpu.memory().tensors, 1);
  },
});

Deno.test({
  name: "timeRuns() returns sorted positive times by wall clock without timestamps",
  ignore,
  async fn() {
    using own = await requestGpu();
    const features = { ...own.features, timestamps: false };
    const gpu = new Gpu(own.device, own.adapter, features, own.limits, false);
    const body = work(gpu);
    let calls = 0;

    assertTimes(await timeRuns(gpu, () => (calls++, body()), { runs: 3, warmups: 1 }), 3);
    assert(calls > 4, `calls are ${calls}: a batch must outlast a wait`);
    assertEquals(gpu.memory().tensors, 1);
  },
});

Deno.test({
  name: "timeRuns() throws what the device finds while warming up",
  ignore,
  async fn() {
    using gpu = await requestGpu();
    const params = {};
    const program = {
      label: "broken",
      code: "nonsense",
      bindings: [],
      params: { value: "u32" },
      subgroups: false,
    } as const;
    const body = () =>
      record(gpu, "broken", (operation) => {
        operation.launch({
          program,
          resources: {},
          params: { ...params, value: 1 },
          grid: [1, 1, 1],
        });
      });

    await assertRejects(() => timeRuns(gpu, body, { runs: 1, warmups: 1 }), ShaderError);
  },
});
