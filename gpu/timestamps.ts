import type { Gpu } from "./device.ts";
import { runtimeOf } from "./runtime.ts";

/** Timestamps that one query set holds at most. */
export const MAX_TIMESTAMPS = 4096;

/**
 * Records work, submits it and waits for its timestamps.
 *
 * @param count how often `record` stamps, at most {@linkcode MAX_TIMESTAMPS}
 * @param record calls its argument between what it records
 * @returns milliseconds since an arbitrary moment, in the order of the stamps
 */
export async function timestamps(
  gpu: Gpu,
  count: number,
  record: (stamp: () => void) => void,
): Promise<number[]> {
  const { device } = gpu;
  const runtime = runtimeOf(gpu);
  const bytes = count * 8;
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
  const resolved = device.createBuffer({ label: "timestamps", size: bytes, usage });
  try {
    let index = 0;
    record(() => runtime.recorder.stamp(querySet, index++));
    runtime.recorder.copies().resolveQuerySet(querySet, 0, count, resolved, 0);
    const stamps = new BigUint64Array(await runtime.download(resolved, bytes));
    // differences of nanoseconds are exact as numbers, the nanoseconds themselves are not
    return Array.from(stamps, (stamp) => Number(stamp - stamps[0]) / 1e6);
  } finally {
    querySet.destroy();
    resolved.destroy();
  }
}
