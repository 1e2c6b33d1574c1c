import type { Tensor } from "../gpu/tensor.ts";
import { planSelectiveScan } from "../ops/selective_scan/plan.ts";
import { type SelectiveScanProblem, selectiveScanProblem } from "../ops/selective_scan/problem.ts";
import { selectiveScheduleName, selectiveSchedules } from "../ops/selective_scan/schedule.ts";
import {
  CHANNEL_FLAGS,
  CHANNEL_SWEEPS,
  channelCaseOf,
  type Walk,
  WALK_FLAGS,
  walkOf,
  walkWords,
} from "./channel_flags.ts";
import {
  type ChannelCase,
  type ChannelOperator,
  type ChannelTensor,
  channelWorkload,
} from "./channel_workload.ts";
import type { Arguments, Flag } from "./command.ts";
import { RECURRENCE_TOLERANCE } from "./recurrence_case.ts";
import { SIZE_FLAGS } from "./size_flags.ts";
import type { SweepKeys } from "./sweep.ts";
import { selectiveChoices } from "./tune/channel_choices.ts";
import type { Workload } from "./workload.ts";

/** A problem of the selective scan, with everything that determines its inputs. */
export interface SelectiveProfile extends ChannelCase, Walk {
  /** N. */
  readonly states: number;
  /** Whether there are d, z, deltaBias and the softplus, as in Mamba's layer. */
  readonly layer?: boolean;
  readonly schedule?: string;
}

/** The flags that describe a problem of the selective scan. */
export const SELECTIVE_FLAGS: Readonly<Record<string, Flag>> = {
  ...CHANNEL_FLAGS,
  states: { value: "N", help: "states of a channel, 16 by default" },
  layer: { help: "with d, z, deltaBias and softplus, as Mamba's layer has them" },
  ...WALK_FLAGS,
  schedule: SIZE_FLAGS.schedule,
};

/** Sizes that a sweep of the selective scan may change. */
export const SELECTIVE_SWEEPS: SweepKeys<SelectiveProfile> = {
  ...CHANNEL_SWEEPS,
  states: (size) => ({ states: size }),
};

/** The case that the flags describe. */
export function selectiveProfileOf(args: Arguments): SelectiveProfile {
  const schedule = args.text("schedule");
  return {
    ...{ ...channelCaseOf(args), ...walkOf(args), states: args.integer("states", 16, 1) },
    ...(args.has("layer") && { layer: true }),
    ...(schedule !== undefined && { schedule }),
  };
}

/** The selective scan, as a workload needs it. */
export const SELECTIVE: ChannelOperator<SelectiveProfile> = {
  name: "selectiveScan",
  tolerance: RECURRENCE_TOLERANCE,
  wordsOf: ({ states, layer, schedule, ...walk }) => [
    ...[`N${states}`, ...(layer ? ["layer"] : []), ...walkWords(walk)],
    ...(schedule === undefined ? [] : [schedule]),
  ],
  tensorsOf: ({ channels, states, layer }) => {
    const token = (width: number, draw?: ChannelTensor["draw"]): ChannelTensor => ({
      ...{ per: "token", axes: [width], ...(draw && { draw }) },
    });
    const channel: ChannelTensor = { axes: [channels], dtype: "f32" };
    return {
      u: token(channels),
      // steps of about 0.1 as models take them, of either sign before their softplus
      delta: token(channels, (random) => layer ? random.normal() - 3 : 0.2 * random.next()),
      a: { axes: [channels, states], dtype: "f32", draw: (random) => -1 - 15 * random.next() },
      ...{ b: token(states), c: token(states) },
      ...(layer && { d: channel, z: token(channels), deltaBias: channel }),
    };
  },
  stateOf: ({ channels, states }) => ["initialState", [channels, states]],
  optionsOf: ({ layer, mode, chunkSize, schedule }) => ({
    ...(layer && { deltaSoftplus: true }),
    ...(mode && { mode }),
    ...(chunkSize && { chunkSize }),
    ...(schedule !== undefined && { schedule }),
  }),
  // e^(Δ a) h + b (Δ u) and its part of c · h for each state; Δ u, and of a layer the rest, for a channel
  flopsOf: ({ channels, states, layer }) => channels * (7 * states + (layer ? 7 : 1)),
  choicesOn: (gpu, tensors, options, { bytes, workloadOf }) =>
    selectiveChoices(problemOf(tensors, options), bytes, gpu, workloadOf),
  schedulesOn(gpu, tensors, options) {
    const problem = problemOf(tensors, options);
    const names = selectiveSchedules(problem, gpu).map(selectiveScheduleName);
    return [selectiveScheduleName(planSelectiveScan(problem, gpu).schedule), names];
  },
  rivalsOf: (c) => ({ naive: { ...c, schedule: "naive" } }),
};

function problemOf(
  { u, delta, a, b, c }: Readonly<Record<string, Tensor>>,
  options: object,
): SelectiveScanProblem {
  return selectiveScanProblem({ u, delta, a, b, c }, options).problem;
}

/** A case of the selective scan as a workload. */
export function selectiveWorkload(c: SelectiveProfile): Workload {
  return channelWorkload(SELECTIVE, c);
}
