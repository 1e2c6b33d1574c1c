import type { Gpu } from "../gpu/device.ts";
import { requestGpu } from "../gpu/request.ts";
import { scheduleName } from "../ops/attention/schedule.ts";
import { type AttentionCase, caseName } from "./attention_case.ts";
import { schedulesOf } from "./attention_flags.ts";
import { type Command, EXIT } from "./command.ts";
import { figure, print, printJson, table } from "./output.ts";

/** Problems whose default schedules stand for the others. */
const TYPICAL: readonly AttentionCase[] = [
  typical({}),
  typical({ causal: true, headDim: 128, valueDim: 128 }),
  typical({ qLen: 1, kvLen: 16_384 }),
];

/** `devices`: what this machine has. */
export const devices: Command = {
  summary: "Shows the adapter, its limits and features, and the default schedules.",
  flags: {},
  async run(args) {
    using gpu = await requestGpu();
    const schedules = TYPICAL.map((c) => {
      const names = schedulesOf(gpu, c).map(scheduleName);
      return { problem: caseName(c), default: names[0], valid: names };
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
    print("\ndefault schedules of attention");
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

function typical(part: Partial<AttentionCase>): AttentionCase {
  return {
    ...{ batch: 1, qLen: 1024, kvLen: 1024, heads: 8, kvHeads: 8, headDim: 64, valueDim: 64 },
    ...{ dtype: "f32", inputs: "normal", seed: 1 },
    ...part,
  };
}
