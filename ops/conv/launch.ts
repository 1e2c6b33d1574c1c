import type { Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { causalConv, CONV_THREADS } from "../../kernels/conv/causal.ts";
import { bindsOf, type Bound, boundRows } from "../attention/bind.ts";
import type { PlanDevice } from "../attention/schedule.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { hullOf } from "../segments.ts";
import { tokenTextures } from "../token_textures.ts";
import { type ConvPlan, reachOf } from "./plan.ts";
import type { ConvProblem, ConvTensors } from "./problem.ts";

/** One call on its way to the device. */
export interface ConvLaunch {
  readonly problem: ConvProblem;
  readonly plan: ConvPlan;
  readonly tensors: ConvTensors & { readonly out: Tensor; readonly newState: Tensor | undefined };
  readonly device: Pick<PlanDevice, "adapter" | "limits">;
}

const programOf = once(causalConv);

/** Records a planned call: an invocation for each run and four channels. */
export function launchConv(operation: Operation, call: ConvLaunch): void {
  const { problem, plan, tensors, device } = call;
  const { elem, weightElem, biasElem, channels, width, inPlace } = problem;
  const stateful = width > 1; // filters of one tap have states of nothing
  const textures = tokenTextures(operation, device, { x: { tensor: tensors.x, width: channels } });
  const program = programOf({
    ...{ elem, weightElem, biasElem, channels, width, inPlace },
    silu: problem.activation === "silu",
    initial: stateful && problem.initial,
    final: stateful && problem.final,
    source: textures.x ? "texture" : "buffer",
  });
  const words = plan.runs.flatMap(({ first, end, origin, state, last }) => [
    ...[first, end, origin, 2 * state + Number(last)],
  ]);
  const runs = operation.table(Uint32Array.from(words));
  const items = Math.ceil(channels / 4);
  for (const [first, end] of plan.groups) {
    const { resources, params } = bindsOf(boundTo(call, first, end));
    const channels4 = { first: first * items, end: end * items, threads: CONV_THREADS };
    launchItems(operation, device.limits, channels4, {
      program,
      resources: { runs, ...resources, ...textures },
      params,
    });
  }
}

/** What a group of runs binds: the rows that it reads, those that it writes, and its states. */
function boundTo(
  { problem, plan, tensors, device: { limits } }: ConvLaunch,
  first: number,
  end: number,
): Record<string, Bound> {
  const { channels, width } = problem;
  const { x, weight, bias, state, out, newState } = tensors;
  const group = plan.runs.slice(first, end);
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const reads = hullOf(group.map((run) => ({ ...run, first: reachOf(run, width) })));
  const rows = [group[0].state * channels, (group[group.length - 1].state + 1) * channels] as const;
  const states = (tensor: Tensor): Bound => boundRows(tensor, rows, width - 1, alignment);
  return {
    x: boundRows(x, reads, channels, alignment),
    out: boundRows(out, hullOf(group), channels, alignment),
    weight: { resource: { buffer: weight.buffer }, first: 0 },
    ...(bias && { bias: { resource: { buffer: bias.buffer }, first: 0 } }),
    ...(state && width > 1 && { state: states(state) }),
    ...(newState && width > 1 && { newState: states(newState) }),
  };
}
