import type { Gpu, Tensor } from "../mod.ts";

/** A problem on the device, ready to be computed many times. */
export interface Loaded {
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
  await benchTogether(gpu, group, {
    naive: () => load({ schedule: "naive" }),
    tessera: () => load({}),
  });
}

/** Registers a group that times one call and its wait of several problems; the first is the baseline. */
export async function benchTogether(
  gpu: Gpu,
  group: string,
  loads: Readonly<Record<string, () => Loaded>>,
): Promise<void> {
  for (const [index, [name, load]] of Object.entries(loads).entries()) {
    const loaded = load();
    const call = async (): Promise<void> => {
      const { out, lse } = loaded.compute();
      await gpu.submit();
      out.dispose();
      lse?.dispose();
    };
    await call(); // compiles
    Deno.bench({ name, group, baseline: index === 0, n: 10, warmup: 2, fn: call });
  }
}
