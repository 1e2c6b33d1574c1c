import { convProblem } from "../ops/conv/problem.ts";
import { planConv } from "../ops/conv/plan.ts";
import { CHANNEL_FLAGS, CHANNEL_SWEEPS, channelCaseOf } from "./channel_flags.ts";
import { type ChannelCase, type ChannelOperator, channelWorkload } from "./channel_workload.ts";
import type { Arguments, Flag } from "./command.ts";
import { TOLERANCE } from "./host_tensor.ts";
import type { SweepKeys } from "./sweep.ts";
import { onlyChoice } from "./tune/channel_choices.ts";
import type { Workload } from "./workload.ts";

/** A problem of the causal convolution, with everything that determines its inputs. */
export interface ConvProfile extends ChannelCase {
  /** W. */
  readonly width: number;
  readonly activation: "none" | "silu";
}

/** The flags that describe a problem of the causal convolution. */
export const CONV_FLAGS: Readonly<Record<string, Flag>> = {
  ...CHANNEL_FLAGS,
  width: { value: "N", help: "taps of a filter, 4 by default" },
  activation: { value: "none|silu", help: "what sums go through, none by default" },
};

/** Sizes that a sweep of the causal convolution may change. */
export const CONV_SWEEPS: SweepKeys<ConvProfile> = {
  ...CHANNEL_SWEEPS,
  width: (size) => ({ width: size }),
};

/** The case that the flags describe. */
export function convProfileOf(args: Arguments): ConvProfile {
  return {
    ...channelCaseOf(args),
    width: args.integer("width", 4, 1),
    activation: args.choice("activation", ["none", "silu"]) ?? "none",
  };
}

/** The causal convolution, as a workload needs it. */
export const CONV: ChannelOperator<ConvProfile> = {
  name: "causalConv1d",
  tolerance: TOLERANCE,
  wordsOf: ({ width, activation }) => [`W${width}`, ...(activation === "silu" ? ["silu"] : [])],
  tensorsOf: ({ channels, width }) => ({
    x: { per: "token", axes: [channels] },
    weight: { axes: [channels, width] },
  }),
  stateOf: ({ channels, width }) => ["state", [channels, width - 1]],
  optionsOf: ({ activation }) => ({ activation }),
  flopsOf: ({ channels, width, activation }) =>
    channels * (2 * width + (activation === "silu" ? 2 : 0)),
  choicesOn: (_gpu, _tensors, _options, choice) => onlyChoice("runs", choice),
  schedulesOn({ limits }, { x, weight }, options) {
    planConv(convProblem(x, weight, options).problem, limits);
    return ["runs", ["runs"]];
  },
  rivalsOf: () => ({}),
};

/** A case of the causal convolution as a workload. */
export function convWorkload(c: ConvProfile): Workload {
  return channelWorkload(CONV, c);
}
