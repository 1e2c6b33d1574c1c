import type { Tuning } from "../gpu/tuning.ts";
import type { Arguments, Command } from "./command.ts";
import { readTuning } from "./tune/document.ts";

/** The flag of commands that compute with what `tune` saved. */
export const TUNED: Command["flags"] = {
  tuning: { value: "FILE", help: "compute with the schedules that `tune --save` wrote to FILE" },
};

/** What a device is opened with: the tuning that was named, if one was. */
export async function tunedOptions(args: Arguments): Promise<{ readonly tuning?: Tuning }> {
  const path = args.text("tuning");
  return path === undefined ? {} : { tuning: await readTuning(path) };
}
