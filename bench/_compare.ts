import type { Gpu, Tensor } from "../mod.ts";

/** A problem on the device, ready to be computed many times. */
interface Loaded {
  compute(): { out: Tensor; lse?: Tensor };
}

/**
 * Registers a group that times one call and its wait: the naive kernels, which are the baseline, and
 * the default schedule.
 */
export async function benchAgainstNaive(
  gpu: Gpu,
  group: string,
  load: (override: { schedule?: string }) => Loaded,
): Promise<void> {
  for (const schedule of ["naive", undefined]) {
    const loaded = load({ ...(schedule && { schedule }) });
    const call = async (): Promise<void> => {
      const { out, lse } = loaded.compute();
      await gpu.submit();
      out.dispose();
      lse?.dispose();
    };
    await call(); // compiles
    Deno.bench({
      name: schedule ?? "tessera",
      group,
      baseline: schedule === "naive",
      n: 10,
      warmup: 2,
      fn: call,
    });
  }
}
