import type { AttentionCase } from "./attention_case.ts";
import { compileMap } from "./attention_keys.ts";
import { onlyChoice } from "./tune/channel_choices.ts";
import type { Workload } from "./workload.ts";

/** Compiling the map of a case, beside which its use is timed. */
export function mapWorkload(c: Parameters<typeof compileMap>[1] & AttentionCase): Workload {
  return {
    operator: "compileBlockMap",
    problem: c,
    name: "block map",
    tolerance: 0,
    ...{ flops: 0, bytes: 0, rivals: {}, always: [] },
    scheduleOn: () => "map",
    schedulesOn: () => ["map"],
    choices: () => onlyChoice("map", { bytes: 0, workloadOf: () => mapWorkload(c) }),
    load: (gpu) => ({
      compute() {
        const { counts, list } = compileMap(gpu, c);
        return [counts, list];
      },
      errorOf: () => 0,
      [Symbol.dispose]: () => {},
    }),
  };
}
