import type { Program } from "../../gpu/program.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { RecurrenceConfig } from "../../kernels/recurrence/config.ts";
import {
  INPUT_NAMES,
  type InputKind,
  type InputName,
  INPUTS,
  type Inputs,
  inputWidth,
  isPerToken,
} from "../../kernels/recurrence/inputs.ts";
import { channelsOfWorkgroup, recurrenceLoop } from "../../kernels/recurrence/loop.ts";
import { NAIVE_THREADS, naiveRecurrence } from "../../kernels/recurrence/naive.ts";
import { recurrenceStep } from "../../kernels/recurrence/step.ts";
import type { LoopPass } from "../../kernels/recurrence/pass.ts";
import { seriesTile } from "../../kernels/recurrence/series.ts";
import { aligned } from "../../kernels/shared/rows.ts";
import { bindsOf, type Bound, boundRows, texture } from "../attention/bind.ts";
import { once } from "../once.ts";
import { groupsOf, hullOf, type Segment, tableOf } from "../segments.ts";
import { type RecurrencePlan, tokensOfBinding } from "./plan.ts";
import type { InputRows, RecurrenceProblem } from "./problem.ts";
import type { RecurrenceSchedule } from "./schedule.ts";
import type { StateBuffers } from "./states.ts";

/** The tensors of one call. */
export interface RecurrenceTensors {
  readonly inputs: Inputs<InputTensor>;
  readonly out: Tensor;
  readonly initial: StateBuffers | null;
  readonly final: StateBuffers | null;
}

/** A tensor, or what is bound as it is. */
export type InputTensor = Pick<Tensor, "buffer" | "dtype"> | BufferRange;

/** One call on its way to the device. */
export interface RecurrenceCall {
  readonly problem: RecurrenceProblem;
  readonly plan: RecurrencePlan;
  readonly tensors: RecurrenceTensors;
  readonly limits: GpuLimits;
}

const programs = {
  loop: once(recurrenceLoop),
  step: once(recurrenceStep),
  naive: once(naiveRecurrence),
};

/** Inputs that were copied into textures, by name. */
export type Textures = Readonly<Record<string, GPUTextureView>>;

/** Launches a pass over segments, as many of them at a time as bindings and grids hold. */
export function launchPass(
  operation: Operation,
  { problem, plan, tensors, limits }: RecurrenceCall,
  textures: Textures,
  segments: readonly Segment[],
  pass: LoopPass,
  states: Readonly<Record<string, BufferRange>>,
): void {
  const { schedule } = plan;
  const program = programOf(problem, schedule, pass);
  const names = new Set(program.bindings.map(({ name }) => name));
  const table = operation.table(tableOf(segments));
  const columns = columnsOf(schedule);
  const most = {
    tokens: tokensOfBinding(problem, schedule, limits),
    segments: limits.maxComputeWorkgroupsPerDimension,
  };
  for (const [first, end] of groupsOf(segments, most)) {
    const group = segments.slice(first, end);
    const tokens = hullOf(group);
    const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
    const bound: Record<string, Bound> = {
      ...(names.has("out") && { out: boundOutput(tensors.out, problem, tokens, alignment) }),
    };
    for (const name of INPUT_NAMES) {
      const [rows, tensor] = [problem.inputs[name], tensors.inputs[name]];
      if (!names.has(name) || name in textures || !rows || !tensor) continue;
      const range = rowRange(INPUTS[name], rows, problem, tokens);
      bound[name] = "dtype" in tensor
        ? boundRows(tensor, range, inputWidth(name, problem), alignment)
        : { resource: tensor, first: 0 };
    }
    const binds = bindsOf(bound);
    operation.launch({
      program,
      resources: {
        segments: table,
        ...Object.fromEntries(Object.entries(textures).filter(([name]) => names.has(name))),
        ...binds.resources,
        ...states,
      },
      params: {
        segment0: first,
        heads: problem.heads,
        scale: problem.scale,
        eps: problem.eps,
        featureScale: problem.featureScale,
        lowerBound: problem.lowerBound,
        keyCount: problem.keyCount,
        stepMin: problem.stepLimits[0],
        stepMax: problem.stepLimits[1],
        ...inputParams(problem),
        ...binds.params,
      },
      grid: [Math.ceil(problem.valueDim / columns), problem.heads, end - first],
    });
  }
}

/** Rows of the output of these tokens. */
function boundOutput(
  out: Tensor,
  { qHeads, heads, valueDim, substeps }: RecurrenceProblem,
  [first, end]: readonly [number, number],
  alignment: { readonly alignment: number },
): Bound {
  const perToken = Math.max(qHeads, heads);
  const rows = [
    Math.floor(first / substeps) * perToken,
    Math.ceil(end / substeps) * perToken,
  ] as const;
  return boundRows(out, rows, valueDim, alignment);
}

/** Rows of an input that these tokens read. */
function rowRange(
  { per }: InputKind,
  { heads }: InputRows,
  { bounds, substeps }: RecurrenceProblem,
  [first, end]: readonly [number, number],
): [number, number] {
  if (per === "write") return [first * heads, end * heads];
  if (per === "token") {
    return [Math.floor(first / substeps) * heads, Math.ceil(end / substeps) * heads];
  }
  return [0, per === "head" ? heads : heads * (bounds.length - 1)];
}

/** Heads of every input, and 0 as its first row, for those that are bound whole. */
function inputParams({ inputs }: RecurrenceProblem): Record<string, number> {
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([name, { heads }]) => [
      [`${name}First`, 0],
      [`${name}Heads`, heads],
    ]),
  );
}

/** Value channels of a workgroup. */
function columnsOf(schedule: RecurrenceSchedule): number {
  if (schedule.kind === "tiled") return channelsOfWorkgroup(schedule);
  return schedule.kind === "step" ? 4 * schedule.lanes : NAIVE_THREADS;
}

function programOf(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  pass: LoopPass,
): Program {
  const { elem, dim, keyDim, valueDim, qHeads, heads, gate, featureMap, softplus } = problem;
  const { normalize, divisor, reverse, valueFirst, gateForm, erase, betaForm, l2norm, substeps } =
    problem;
  const stored = Object.entries(problem.inputs).map(([name, { elem }]) => [name, elem]);
  const config: RecurrenceConfig = {
    ...{ elem, dim, keyDim, valueDim, gate, featureMap, softplus },
    ...{ normalize, divisor, reverse, valueFirst, gateForm, erase, betaForm, l2norm, substeps },
    inputs: Object.fromEntries(stored),
    group: Math.max(1, qHeads / heads),
    source: schedule.kind === "tiled" ? schedule.source : "buffer",
  };
  if (schedule.kind !== "tiled") {
    const { source: _source, ...rest } = config;
    const plain = { ...rest, initial: pass.initial, final: pass.final };
    if (schedule.kind === "naive") return programs.naive(plain);
    const { exchange, lanes, source: stateSource } = schedule;
    return programs.step({ ...plain, exchange, lanes, stateSource });
  }
  const tile = pass.series ? seriesTile(schedule, valueDim) : schedule;
  const { exchange, lanes, columns, own, tokens } = tile;
  return programs.loop({ ...config, ...pass, ...{ exchange, lanes, columns, own, tokens } });
}

/** Copies rows of tokens into textures, where the schedule reads from there. */
export function textureInputs(
  operation: Operation,
  { problem, plan, tensors }: RecurrenceCall,
  read: readonly InputName[] = INPUT_NAMES,
): Textures {
  if (plan.schedule.kind !== "tiled" || plan.schedule.source === "buffer") return {};
  const rows = read.filter((name) => INPUTS[name].read === "row" && isPerToken(INPUTS[name].per));
  return Object.fromEntries(rows.flatMap((name) => {
    const tensor = tensors.inputs[name];
    const width = inputWidth(name, problem);
    // rows that fill no vec4s are read from buffers
    return tensor && aligned(width) ? [[name, texture(operation, tensor as Tensor)]] : [];
  }));
}
