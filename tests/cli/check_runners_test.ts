import { assertEquals, assertRejects } from "@std/assert";
import type { Selection } from "../../cli/check_groups.ts";
import { WorkerRunner } from "../../cli/check_runners.ts";
import { adapter } from "../adapter.ts";

const PLATFORM: Selection = {
  ...{ operators: ["platform"], quick: true, dtype: undefined, cases: 0, seed: 1 },
};

Deno.test({
  name: "WorkerRunner runs groups by their index, tells its steps, and says what went wrong",
  ignore: adapter === null,
  async fn() {
    const steps: string[] = [];
    const start = { selection: PLATFORM, bail: false, device: { poison: true } };
    using runner = new WorkerRunner(start, (what) => steps.push(what));

    const name = "initialised variables start anew in each iteration";
    assertEquals(await runner.run(0), [{ name, ratio: 0, tolerance: 0, ok: true }]);
    assertEquals(steps, [`platform known traps: ${name}`]);
    await assertRejects(() => runner.run(1), Error, "undefined");
  },
});
