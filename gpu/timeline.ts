import type { Gpu } from "./device.ts";
import { runtimeOf } from "./runtime.ts";
import { MAX_TIMESTAMPS, timestamps } from "./timestamps.ts";

/** The dispatches, or copies, of one label. */
export interface TimedPass {
  /** Label of the program, or what is copied. */
  readonly label: string;
  /** How many of them a call records. */
  readonly count: number;
  /** Milliseconds that they take together, of each call. */
  readonly times: readonly number[];
}

/**
 * Times what a call consists of, by a timestamp behind each dispatch and each copy.
 *
 * @param body records one call and leaves no tensor behind; all calls must record the same
 * @param runs timed calls, after one that is not timed
 * @returns the passes in the order in which their labels first appear; none where the device has no
 * timestamps, or too few for a call
 */
export async function timePasses(gpu: Gpu, body: () => void, runs: number): Promise<TimedPass[]> {
  const { recorder } = runtimeOf(gpu);
  const labels: string[] = [];
  recorder.listen((label) => labels.push(label), body);
  await gpu.submit();
  if (!gpu.features.timestamps || labels.length + 1 > MAX_TIMESTAMPS) return [];
  const passes = [...new Set(labels)].map((label) => ({
    label,
    count: labels.filter((other) => other === label).length,
    times: Array.from({ length: runs }, () => 0),
  }));
  for (let run = 0; run < runs; run++) {
    const stamps = await timestamps(gpu, labels.length + 1, (stamp) => {
      stamp();
      recorder.listen(stamp, body);
    });
    for (const pass of passes) {
      labels.forEach((label, i) => {
        if (label === pass.label) pass.times[run] += stamps[i + 1] - stamps[i];
      });
    }
  }
  return passes;
}
