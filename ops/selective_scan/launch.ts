import type { GpuLimits } from "../../gpu/limits.ts";
import type { Program } from "../../gpu/program.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  SELECTIVE_CARRY_THREADS,
  selectiveCarry,
  type SelectiveCarryConfig,
} from "../../kernels/selective_scan/carry.ts";
import {
  SELECTIVE_INPUTS,
  SELECTIVE_NAMES,
  type SelectivePass,
  selectiveWidth,
} from "../../kernels/selective_scan/config.ts";
import { NAIVE_SELECTIVE_THREADS, naiveSelective } from "../../kernels/selective_scan/naive.ts";
import { PAIR_THREADS, selectivePairs } from "../../kernels/selective_scan/pairs.ts";
import { selectiveWalk } from "../../kernels/selective_scan/walk.ts";
import { aligned } from "../../kernels/shared/rows.ts";
import { bindsOf, boundRows, texture } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { groupsOf, hullOf, type Segment, tableOf } from "../segments.ts";
import { type SelectivePlan, tokensOfBinding } from "./plan.ts";
import type { SelectiveScanProblem, SelectiveTensors } from "./problem.ts";
import type { SelectiveSchedule } from "./schedule.ts";

/** One call on its way to the device. */
export interface SelectiveCall {
  readonly problem: SelectiveScanProblem;
  readonly plan: SelectivePlan;
  readonly inputs: SelectiveTensors;
  readonly out: Tensor;
  readonly initial: GPUBuffer | null;
  readonly final: GPUBuffer | null;
  readonly limits: GpuLimits;
}

/** Inputs that were copied into textures, by name. */
type Textures = Readonly<Record<string, GPUTextureView>>;

const programs = {
  walk: once(selectiveWalk),
  carry: once(selectiveCarry),
  naive: once(naiveSelective),
  pairs: once(selectivePairs),
};

/** Records a planned call: each round finds the states that the one before left. */
export function launchSelectiveScan(operation: Operation, call: SelectiveCall): void {
  const { problem, plan: { rounds }, initial, final } = call;
  const { bounds, channels, states } = problem;
  const bytesOf = (rows: number): number => Math.max(16, 4 * rows * channels * states);
  const sequences = bounds.length - 1;
  const textures = textureInputs(operation, call);
  const pairs = launchPairs(operation, call);
  const carried = final ??
    (rounds.length > 1 ? operation.scratch(bytesOf(sequences)).buffer : null);
  if (initial && carried && initial !== carried) {
    operation.copy(initial, carried, 4 * sequences * channels * states);
  }
  const buffer = carried ?? initial;
  const most = Math.max(...rounds.map(({ chunks }) => chunks?.length ?? 0));
  const local = operation.scratch(bytesOf(most));
  const steps = operation.scratch(Math.max(16, 4 * most * channels));
  const state: Record<string, BufferRange> = buffer ? { state: { buffer } } : {};
  rounds.forEach(({ pieces, chunks, chunkRanges }, i) => {
    const ends = { initial: i > 0 || problem.initial, final: carried !== null };
    const walk = (
      segments: readonly Segment[],
      pass: SelectivePass,
      resources: Readonly<Record<string, BufferRange>>,
    ): void =>
      launchWalk(operation, call, {
        ...{ textures, segments, pass },
        resources: { ...pairs, ...resources },
      });
    if (chunks === null) {
      walk(pieces, { ...ends, outputs: true }, state);
      return;
    }
    // what each chunk adds, what each finds, what each gives
    walk(chunks, { initial: false, final: true, outputs: false }, { state: local, steps });
    launchCarry(operation, call, chunkRanges, ends, { chunks: local, steps, ...state });
    walk(chunks, { initial: true, final: false, outputs: true }, { state: local });
  });
}

/** Copies rows of tokens into textures, where the schedule reads from there. */
function textureInputs(
  operation: Operation,
  { problem, plan: { schedule }, inputs }: SelectiveCall,
): Textures {
  if (schedule.kind === "naive" || schedule.source === "buffer") return {};
  return Object.fromEntries(SELECTIVE_NAMES.flatMap((name) => {
    const tensor = inputs[name];
    const { per, width } = SELECTIVE_INPUTS[name];
    const whole = aligned(selectiveWidth(name, problem)) &&
      (width === "states" || schedule.own === 4);
    return tensor && per === "token" && whole ? [[name, texture(operation, tensor)]] : [];
  }));
}

/** Records the packing of d and deltaBias, where both are there. */
function launchPairs(
  operation: Operation,
  { problem, inputs: { skip, deltaBias }, limits }: SelectiveCall,
): Record<string, BufferRange> {
  const { skip: skipElem, deltaBias: biasElem } = problem.inputs;
  if (!skip || !deltaBias || !skipElem || !biasElem) return {};
  const { channels } = problem;
  const pairs = operation.scratch(Math.max(16, 8 * channels));
  launchItems(operation, limits, { first: 0, end: channels, threads: PAIR_THREADS }, {
    program: programs.pairs({ skip: skipElem, deltaBias: biasElem, channels }),
    resources: { skip: { buffer: skip.buffer }, deltaBias: { buffer: deltaBias.buffer }, pairs },
    params: { skipFirst: 0, deltaBiasFirst: 0 },
  });
  return { pairs };
}

/** What a pass walks and what it finds there. */
interface Walk {
  readonly textures: Textures;
  readonly segments: readonly Segment[];
  readonly pass: SelectivePass;
  readonly resources: Readonly<Record<string, BufferRange>>;
}

/** Launches a pass over segments, as many of them at a time as bindings and grids hold. */
function launchWalk(
  operation: Operation,
  { problem, plan: { schedule }, inputs, out, limits }: SelectiveCall,
  { textures, segments, pass, resources }: Walk,
): void {
  const program = programOf(problem, schedule, pass);
  const table = operation.table(tableOf(segments));
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const step = limits.maxComputeWorkgroupsPerDimension;
  const most = { tokens: tokensOfBinding(problem, limits), segments: step };
  const tiles = Math.ceil(problem.channels / channelsOf(schedule));
  for (const [first, end] of groupsOf(segments, most)) {
    const tokens = hullOf(segments.slice(first, end));
    const bound = program.bindings.flatMap(({ name }) => {
      const input = SELECTIVE_NAMES.find((candidate) => candidate === name);
      const tensor = input ? inputs[input] : name === "out" ? out : undefined;
      if (!tensor || name in textures) return [];
      const { per } = SELECTIVE_INPUTS[input ?? "u"];
      const rows = { token: tokens, channel: [0, problem.channels], call: [0, 1] } as const;
      const width = selectiveWidth(input ?? "u", problem);
      return [[name, boundRows(tensor, rows[per], width, alignment)] as const];
    });
    const binds = bindsOf(Object.fromEntries(bound));
    for (let tile0 = 0; tile0 < tiles; tile0 += step) {
      operation.launch({
        program,
        resources: {
          ...{ segments: table, ...textures, ...resources },
          ...binds.resources,
        },
        params: {
          ...{ segment0: first, tile0 },
          ...Object.fromEntries(Object.keys(textures).map((name) => [`${name}First`, 0])),
          ...binds.params,
        },
        grid: [Math.min(step, tiles - tile0), 1, end - first],
      });
    }
  }
}

/** Channels of a workgroup. */
function channelsOf(schedule: SelectiveSchedule): number {
  return schedule.kind === "naive" ? NAIVE_SELECTIVE_THREADS : schedule.lanes * schedule.own;
}

function programOf(
  { elem, channels, states, inputs, softplus, reverse }: SelectiveScanProblem,
  schedule: SelectiveSchedule,
  pass: SelectivePass,
): Program {
  const config = { elem, channels, states, inputs, softplus, reverse };
  if (schedule.kind === "naive") {
    return programs.naive({ ...config, initial: pass.initial, final: pass.final });
  }
  const { exchange, lanes, own, tokens, source } = schedule;
  return programs.walk({ ...config, ...pass, ...{ exchange, lanes, own, tokens, source } });
}

/** Records the pass between chunks: what each adds becomes what each finds. */
function launchCarry(
  operation: Operation,
  { problem, inputs, limits }: SelectiveCall,
  ranges: readonly Segment[],
  ends: Pick<SelectiveCarryConfig, "initial" | "final">,
  resources: Readonly<Record<string, BufferRange>>,
): void {
  const { channels, states } = problem;
  const sequences = operation.table(tableOf(ranges));
  const program = programs.carry({
    elem: problem.inputs.rates ?? "f32",
    channels,
    states,
    ...ends,
  });
  const end = ranges.length * channels * states;
  launchItems(operation, limits, { first: 0, end, threads: SELECTIVE_CARRY_THREADS }, {
    program,
    resources: {
      sequences,
      ...(inputs.rates && { rates: { buffer: inputs.rates.buffer } }),
      ...resources,
    },
    params: { ratesFirst: 0 },
  });
}
