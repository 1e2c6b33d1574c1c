import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import type { AttentionCase } from "./attention_case.ts";
import { attentionWorkload } from "./attention_workload.ts";
import { type Command, EXIT } from "./command.ts";
import { neighborhoodWorkload } from "./neighborhood_workload.ts";
import { figure, print, printJson, table } from "./output.ts";
import { recurrenceWorkload } from "./recurrence_workload.ts";
import type { Workload } from "./workload.ts";

const SIZES = {
  ...{ batch: 1, heads: 8, kvHeads: 8, headDim: 64, valueDim: 64, seed: 1 },
  ...{ dtype: "f32", inputs: "normal" } as const,
};

/** Problems whose default schedules stand for the others. */
const TYPICAL: readonly Workload[] = [
  typical({}),
  typical({ causal: true, headDim: 128, valueDim: 128 }),
  typical({ qLen: 1, kvLen: 16_384 }),
  neighborhood([8192], 512),
  neighborhood([64, 64], 13),
  neighborhood([8, 32, 32], 5),
  recurrenceWorkload({
    ...{ batch: 1, length: 4096, heads: 4, qHeads: 4, kHeads: 4, keyDim: 64, valueDim: 64 },
    ...{ dtype: "f32", gate: "token", gates: "gentle", seed: 1 },
  }),
];

/** `devices`: what this machine has. */
export const devices: Command = {
  summary: "Shows the adapter, its limits and features, and the default schedules.",
  words: 0,
  flags: {},
  async run(args) {
    using gpu = await requestGpu();
    const schedules = TYPICAL.map(({ operator, name, schedulesOn }) => {
      const valid = schedulesOn(gpu);
      return { operator, problem: name, default: valid[0], valid };
    });
    const { adapter, limits, features } = gpu;
    if (args.has("json")) {
      printJson({ adapter, driverKind: driverKind(gpu), features, limits, schedules });
      return EXIT.fine;
    }
    const { subgroups, f16, timestamps } = features;
    print(table([
      ["adapter", adapter.description || "(no description)"],
      ["driver", `${adapter.driver}, ${driverKind(gpu)}`],
      ["f16 shaders", f16 ? "yes" : "no"],
      ["subgroups", subgroups ? `${subgroups.size} lanes` : "no"],
      ["timestamps", timestamps ? "yes" : "no"],
      ...Object.entries(limits).map(([name, value]) => [name, limitText(name, value)]),
    ]));
    print("\ndefault schedules");
    print(table(schedules.map(({ problem, default: name }) => [`  ${problem}`, name])));
    return EXIT.fine;
  },
};

function driverKind(gpu: Gpu): "hardware" | "software" {
  return gpu.adapter.software ? "software" : "hardware";
}

function limitText(name: string, value: number): string {
  if (value === Infinity) return "none";
  return /Size|Bytes/.test(name) && value >= 2 ** 20
    ? `${value} (${figure(value / 2 ** 20)} MiB)`
    : String(value);
}

function typical(part: Partial<AttentionCase>): Workload {
  return attentionWorkload({ ...SIZES, qLen: 1024, kvLen: 1024, ...part });
}

function neighborhood(layout: readonly number[], windowSize: number): Workload {
  return neighborhoodWorkload({ ...SIZES, layout, pattern: { windowSize } });
}
