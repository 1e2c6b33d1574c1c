import type { Program } from "../../gpu/program.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { RecurrenceConfig } from "../../kernels/recurrence/config.ts";
import { columnsOfWorkgroup, recurrenceLoop } from "../../kernels/recurrence/loop.ts";
import { NAIVE_THREADS, naiveRecurrence } from "../../kernels/recurrence/naive.ts";
import type { LoopPass } from "../../kernels/recurrence/tensors.ts";
import { type Bound, boundRows, texture } from "../attention/bind.ts";
import { once } from "../once.ts";
import { groupsOf, hullOf, type Segment, tableOf } from "../segments.ts";
import { type RecurrencePlan, tokensOfBinding } from "./plan.ts";
import type { RecurrenceProblem } from "./problem.ts";
import type { RecurrenceSchedule } from "./schedule.ts";
import type { StateBuffers } from "./states.ts";

/** The tensors of one call. */
export interface RecurrenceTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly g: Pick<Tensor, "buffer" | "dtype"> | null;
  readonly gv: Tensor | null;
  readonly u: Tensor | null;
  readonly lowerBounds: Tensor | null;
  readonly keyWeights: Tensor | null;
  readonly rates: Tensor | null;
  readonly stepBias: Tensor | null;
  readonly skip: Tensor | null;
  readonly outGate: Tensor | null;
  readonly out: Tensor;
  readonly initial: StateBuffers | null;
  readonly final: StateBuffers | null;
}

/** One call on its way to the device. */
export interface RecurrenceCall {
  readonly problem: RecurrenceProblem;
  readonly plan: RecurrencePlan;
  readonly tensors: RecurrenceTensors;
  readonly limits: GpuLimits;
}

const programs = { loop: once(recurrenceLoop), naive: once(naiveRecurrence) };

/** Inputs that were copied into textures, by name. */
export type Textures = Readonly<Record<string, GPUTextureView>>;

/** Launches a pass over segments, as many of them at a time as bindings and grids hold. */
export function launchPass(
  operation: Operation,
  { problem, plan, tensors, limits }: RecurrenceCall,
  inputs: Textures,
  segments: readonly Segment[],
  pass: LoopPass,
  states: Readonly<Record<string, BufferRange>>,
): void {
  const { schedule } = plan;
  const program = programOf(problem, schedule, pass);
  const names = new Set(program.bindings.map(({ name }) => name));
  const table = operation.table(tableOf(segments));
  const columns = schedule.kind === "naive" ? NAIVE_THREADS : 4 * columnsOfWorkgroup(schedule);
  const widths = rowsOf(problem);
  const most = {
    tokens: tokensOfBinding(problem, schedule, limits),
    segments: limits.maxComputeWorkgroupsPerDimension,
  };
  for (const [first, end] of groupsOf(segments, most)) {
    const group = segments.slice(first, end);
    const tokens = hullOf(group);
    const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
    const bound: Record<string, Bound> = {};
    for (const [name, { heads, width, whole }] of Object.entries(widths)) {
      const tensor = tensors[name as "q"];
      if (!names.has(name) || name in inputs || tensor === null) continue;
      const range: [number, number] = whole ? [0, heads] : [tokens[0] * heads, tokens[1] * heads];
      bound[name] = boundRows(tensor, range, width, alignment);
    }
    const named = Object.entries(bound);
    operation.launch({
      program,
      resources: {
        segments: table,
        ...Object.fromEntries(Object.entries(inputs).filter(([name]) => names.has(name))),
        ...Object.fromEntries(named.map(([name, { resource }]) => [name, resource])),
        ...states,
      },
      params: {
        segment0: first,
        qHeads: problem.qHeads,
        kHeads: problem.kHeads,
        heads: problem.heads,
        bonusHeads: problem.bonusHeads,
        scale: problem.scale,
        eps: problem.eps,
        featureScale: problem.featureScale,
        lowerBound: problem.lowerBound,
        stepMin: problem.stepLimits[0],
        stepMax: problem.stepLimits[1],
        ...NO_FIRST,
        ...Object.fromEntries(named.map(([name, { first }]) => [`${name}First`, first])),
      },
      grid: [Math.ceil(problem.valueDim / columns), problem.heads, end - first],
    });
  }
}

const NO_FIRST = {
  ...{ qFirst: 0, kFirst: 0, vFirst: 0, gFirst: 0, gvFirst: 0, uFirst: 0, outFirst: 0 },
  ...{
    lowerBoundsFirst: 0,
    keyWeightsFirst: 0,
    ratesFirst: 0,
    stepBiasFirst: 0,
    skipFirst: 0,
    outGateFirst: 0,
  },
};

function programOf(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  pass: LoopPass,
): Program {
  const { elem, keyDim, valueDim, gate, gateElem, valueGate, bonus, normalize } = problem;
  const { reverse, valueFirst, qHeads, heads, dim, featureMap, step } = problem;
  const { lowerBounds, keyWeights } = problem;
  const config: RecurrenceConfig = {
    ...{ elem, keyDim, valueDim, gate, gateElem, valueGate, bonus, normalize, reverse, valueFirst },
    ...{ dim, featureMap, step, lowerBounds, keyWeights },
    group: Math.max(1, qHeads / heads),
    source: schedule.kind === "tiled" ? schedule.source : "buffer",
  };
  if (schedule.kind === "naive") {
    const { source: _source, ...plain } = config;
    return programs.naive({ ...plain, initial: pass.initial, final: pass.final });
  }
  const { exchange, lanes, columns, tokens } = schedule;
  return programs.loop({ ...config, ...pass, ...{ exchange, lanes, columns, tokens } });
}

/** Rows of each tensor: heads for each token (or in all), and elements. */
function rowsOf(
  { qHeads, kHeads, heads, bonusHeads, dim, keyDim, valueDim, gate, step }: RecurrenceProblem,
): Record<string, { heads: number; width: number; whole: boolean }> {
  return {
    q: { heads: qHeads, width: dim, whole: false },
    k: { heads: kHeads, width: dim, whole: false },
    v: { heads, width: valueDim, whole: false },
    g: { heads, width: gate === "channel" ? keyDim : 1, whole: gate === "head" },
    gv: { heads, width: valueDim, whole: false },
    u: { heads: bonusHeads, width: keyDim, whole: true },
    lowerBounds: { heads: kHeads, width: dim, whole: true },
    keyWeights: { heads: kHeads, width: 1, whole: false },
    rates: { heads, width: 1, whole: true },
    stepBias: { heads, width: 1, whole: true },
    skip: { heads, width: step?.skipChannels ? valueDim : 1, whole: true },
    outGate: { heads, width: valueDim, whole: false },
    out: { heads: Math.max(qHeads, heads), width: valueDim, whole: false },
  };
}

/** Copies what is read often into textures, where the schedule reads from there. */
export function textureInputs(
  operation: Operation,
  { problem, plan, tensors }: RecurrenceCall,
): Textures {
  if (plan.schedule.kind === "naive" || plan.schedule.source === "buffer") return {};
  const { q, k, v, g, gv, u, outGate } = tensors;
  const inputs = {
    ...{ q, k, v },
    ...(g && problem.gate === "channel" && { g: g as Tensor }),
    ...(gv && { gv }),
    ...(u && { u }),
    ...(outGate && { outGate }),
  };
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [name, texture(operation, tensor)]),
  );
}
