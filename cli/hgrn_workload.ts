import type { Gpu } from "../gpu/device.ts";
import { planScan } from "../ops/scan/plan.ts";
import { hgrnProblem } from "../ops/scan/problem.ts";
import {
  CHANNEL_FLAGS,
  channelCaseOf,
  type Walk,
  WALK_FLAGS,
  walkOf,
  walkWords,
} from "./channel_flags.ts";
import { type ChannelCase, type ChannelOperator, channelWorkload } from "./channel_workload.ts";
import type { Arguments, Flag } from "./command.ts";
import { RECURRENCE_TOLERANCE } from "./recurrence_case.ts";
import { scanChoices } from "./tune/channel_choices.ts";
import type { Workload } from "./workload.ts";

/** A problem of HGRN, with everything that determines its inputs. */
export type HgrnProfile = ChannelCase & Walk;

/** The flags that describe a problem of HGRN. */
export const HGRN_FLAGS: Readonly<Record<string, Flag>> = { ...CHANNEL_FLAGS, ...WALK_FLAGS };

/** The case that the flags describe. */
export function hgrnProfileOf(args: Arguments): HgrnProfile {
  return { ...channelCaseOf(args), ...walkOf(args) };
}

/** HGRN, as a workload needs it. */
export const HGRN: ChannelOperator<HgrnProfile> = {
  name: "hgrn",
  tolerance: RECURRENCE_TOLERANCE,
  wordsOf: walkWords,
  tensorsOf: ({ channels }) => ({
    x: { per: "token", axes: [channels] },
    g: { per: "token", axes: [channels], draw: (random) => -0.2 * random.next() },
  }),
  stateOf: ({ channels }) => ["initialState", [channels]],
  optionsOf: ({ mode, chunkSize }) => ({ ...(mode && { mode }), ...(chunkSize && { chunkSize }) }),
  flopsOf: ({ channels }) => 3 * channels, // e^g h + x
  choicesOn: (gpu, { x, g }, options, { bytes, workloadOf }) =>
    scanChoices(hgrnProblem(x, g, options).problem, bytes, gpu, workloadOf),
  schedulesOn(gpu, { x, g }, options) {
    const modeOf = (given: object): string => planned(gpu, hgrnProblem(x, g, given).problem);
    const chosen = modeOf(options);
    const other = { ...options, mode: chosen === "loop" ? "chunk" : "loop" };
    return [chosen, [chosen, modeOf(other)]];
  },
  rivalsOf: (c) => ({ loop: { ...c, mode: "loop" } }),
};

/** How the tokens of a problem will be walked. */
function planned(gpu: Gpu, problem: Parameters<typeof planScan>[0]): string {
  const { chunkSize } = planScan(problem, gpu);
  return chunkSize === null ? "loop" : `chunk-${chunkSize}`;
}

/** A case of HGRN as a workload. */
export function hgrnWorkload(c: HgrnProfile): Workload {
  return channelWorkload(HGRN, c);
}
