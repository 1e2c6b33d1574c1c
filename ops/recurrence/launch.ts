import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Program } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import { CARRY_THREADS, recurrenceCarry } from "../../kernels/recurrence/carry.ts";
import type { RecurrenceConfig } from "../../kernels/recurrence/config.ts";
import {
  columnsOfWorkgroup,
  type LoopPass,
  recurrenceLoop,
} from "../../kernels/recurrence/loop.ts";
import { NAIVE_THREADS, naiveRecurrence } from "../../kernels/recurrence/naive.ts";
import { type Bound, boundRows, texture } from "../attention/bind.ts";
import { once } from "../once.ts";
import { type RecurrencePlan, type Round, type Segment, tokensOfBinding } from "./plan.ts";
import type { RecurrenceProblem } from "./problem.ts";
import type { RecurrenceSchedule } from "./schedule.ts";

/** S and the running sum of the keys, where there is one. */
export interface StateBuffers {
  readonly s: GPUBuffer;
  readonly z: GPUBuffer | null;
}

/** The tensors of one call. */
export interface RecurrenceTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly g: Pick<Tensor, "buffer" | "dtype"> | null;
  readonly gv: Tensor | null;
  readonly u: Tensor | null;
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

const programs = {
  loop: once(recurrenceLoop),
  carry: once(recurrenceCarry),
  naive: once(naiveRecurrence),
};

/** Records a planned call: each round finds the states that the one before left. */
export function launchRecurrence(operation: Operation, call: RecurrenceCall): void {
  const { problem, plan, tensors } = call;
  const inputs = textureInputs(operation, call);
  const carried = tensors.final ??
    (plan.rounds.length > 1 ? scratchState(operation, problem) : null);
  if (tensors.initial && carried && tensors.initial.s !== carried.s) {
    copyState(operation, problem, tensors.initial, carried);
  }
  plan.rounds.forEach((round, i) => {
    const states: RoundStates = {
      buffers: carried ?? tensors.initial,
      initial: i > 0 || problem.initial,
      final: carried !== null,
    };
    if (round.chunks === null) launchWalk(operation, call, inputs, round.pieces, states);
    else launchChunks(operation, call, inputs, round, states);
  });
}

/** Where a round finds states and leaves them. */
interface RoundStates {
  readonly buffers: StateBuffers | null;
  readonly initial: boolean;
  readonly final: boolean;
}

type Textures = Readonly<Record<string, GPUTextureView>>;

/** The chunks of a round: what each adds, what each finds, what each gives. */
function launchChunks(
  operation: Operation,
  call: RecurrenceCall,
  inputs: Textures,
  { chunks, chunkRanges }: Round,
  states: RoundStates,
): void {
  const { problem } = call;
  const { heads, keyDim, valueDim, normalize } = problem;
  const segments = chunks ?? [];
  const rows = Math.max(1, segments.length * heads);
  const gated = problem.gate !== "none";
  const valueGated = problem.valueGate !== null;
  const [s, z, decays, products] = [
    operation.scratch(4 * rows * keyDim * valueDim + 16),
    operation.scratch(4 * rows * keyDim + 16),
    operation.scratch(4 * rows * keyDim + 16),
    operation.scratch(4 * rows * valueDim + 16),
  ];
  const own = { problem: { ...problem, valueFirst: false } };
  const local = {
    state: s,
    ...(normalize && { newSums: z }),
    ...(gated && { decays }),
    ...(valueGated && { products }),
  };
  const local3 = { state: s, ...(normalize && { sums: z }) };
  const first: LoopPass = { initial: false, final: true, outputs: false, decays: true };
  launchSegments(operation, { ...call, ...own }, inputs, segments, first, local);
  const table = operation.table(tableOf(chunkRanges));
  const { initial, final, buffers } = states;
  const carry = (config: { valueDim: number; valueFirst: boolean; valueGated: boolean }, into: {
    chunks: BufferRange;
    state: GPUBuffer | null | undefined;
  }): void => {
    const step = call.limits.maxComputeWorkgroupsPerDimension;
    for (let sequence0 = 0; sequence0 < chunkRanges.length; sequence0 += step) {
      operation.launch({
        program: programs.carry({ keyDim, gated, initial, final, ...config }),
        resources: {
          sequences: table,
          chunks: into.chunks,
          ...(gated && { decays }),
          ...(config.valueGated && { products }),
          ...(into.state && { state: { buffer: into.state } }),
        },
        params: { sequence0, heads },
        grid: [
          Math.ceil(keyDim * config.valueDim / CARRY_THREADS),
          heads,
          Math.min(step, chunkRanges.length - sequence0),
        ],
      });
    }
  };
  carry({ valueDim, valueFirst: problem.valueFirst, valueGated }, { chunks: s, state: buffers?.s });
  if (normalize) {
    carry({ valueDim: 1, valueFirst: false, valueGated: false }, { chunks: z, state: buffers?.z });
  }
  const last: LoopPass = { initial: true, final: false, outputs: true, decays: false };
  launchSegments(operation, { ...call, ...own }, inputs, segments, last, local3);
}

/** Pieces of sequences from their first token to their last. */
function launchWalk(
  operation: Operation,
  call: RecurrenceCall,
  inputs: Textures,
  segments: readonly Segment[],
  { buffers, initial, final }: RoundStates,
): void {
  const states: Record<string, BufferRange> = {};
  if (buffers && (initial || final)) states.state = { buffer: buffers.s };
  if (buffers?.z && initial) {
    states.sums = final ? copied(operation, call.problem, buffers.z) : { buffer: buffers.z };
  }
  if (buffers?.z && final) states.newSums = { buffer: buffers.z };
  const pass: LoopPass = { initial, final, outputs: true, decays: false };
  launchSegments(operation, call, inputs, segments, pass, states);
}

/** Launches a pass over segments, as many of them at a time as bindings and grids hold. */
function launchSegments(
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
  for (const [first, end] of groupsOf(segments, problem, limits, schedule)) {
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
  ...{ ratesFirst: 0, stepBiasFirst: 0, skipFirst: 0, outGateFirst: 0 },
};

function programOf(
  problem: RecurrenceProblem,
  schedule: RecurrenceSchedule,
  pass: LoopPass,
): Program {
  const { elem, keyDim, valueDim, gate, gateElem, valueGate, bonus, normalize } = problem;
  const { reverse, valueFirst, qHeads, heads, featureMap, step } = problem;
  const config: RecurrenceConfig = {
    ...{ elem, keyDim, valueDim, gate, gateElem, valueGate, bonus, normalize, reverse, valueFirst },
    ...{ featureMap, step },
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
  { qHeads, kHeads, heads, bonusHeads, keyDim, valueDim, gate, step }: RecurrenceProblem,
): Record<string, { heads: number; width: number; whole: boolean }> {
  return {
    q: { heads: qHeads, width: keyDim, whole: false },
    k: { heads: kHeads, width: keyDim, whole: false },
    v: { heads, width: valueDim, whole: false },
    g: { heads, width: gate === "channel" ? keyDim : 1, whole: gate === "head" },
    gv: { heads, width: valueDim, whole: false },
    u: { heads: bonusHeads, width: keyDim, whole: true },
    rates: { heads, width: 1, whole: true },
    stepBias: { heads, width: 1, whole: true },
    skip: { heads, width: step?.skipChannels ? valueDim : 1, whole: true },
    outGate: { heads, width: valueDim, whole: false },
    out: { heads: Math.max(qHeads, heads), width: valueDim, whole: false },
  };
}

/** The tokens of segments; one where they have none, since no binding may be empty. */
function hullOf(segments: readonly Segment[]): [number, number] {
  const full = segments.filter(({ first, end }) => end > first);
  if (full.length === 0) return [0, 1];
  return [Math.min(...full.map(({ first }) => first)), Math.max(...full.map(({ end }) => end))];
}

/** Runs of segments whose tokens one binding holds, and whose number one grid. */
function groupsOf(
  segments: readonly Segment[],
  problem: RecurrenceProblem,
  limits: GpuLimits,
  schedule: RecurrenceSchedule,
): [number, number][] {
  const largest = tokensOfBinding(problem, schedule, limits);
  const groups: [number, number][] = [];
  let [start, low, high] = [0, Infinity, 0];
  segments.forEach(({ first, end }, i) => {
    const [lower, upper] = [Math.min(low, first), Math.max(high, end)];
    const full = upper - lower > largest ||
      i - start >= limits.maxComputeWorkgroupsPerDimension;
    if (full && i > start) {
      groups.push([start, i]);
      [start, low, high] = [i, first, end];
    } else {
      [low, high] = [lower, upper];
    }
  });
  if (segments.length > start) groups.push([start, segments.length]);
  return groups;
}

/** Copies what is read often into textures, where the schedule reads from there. */
function textureInputs(operation: Operation, { problem, plan, tensors }: RecurrenceCall): Textures {
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

function tableOf(segments: readonly Segment[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(segments.flatMap(({ first, end, state }) => [first, end, state, 0]));
}

function stateBytes(
  { bounds, heads, keyDim, valueDim }: RecurrenceProblem,
): { s: number; z: number } {
  const rows = (bounds.length - 1) * heads * keyDim;
  return { s: 4 * rows * valueDim, z: 4 * rows };
}

function scratchState(operation: Operation, problem: RecurrenceProblem): StateBuffers {
  const bytes = stateBytes(problem);
  const buffer = (size: number): GPUBuffer => operation.scratch(Math.max(16, size)).buffer;
  return { s: buffer(bytes.s), z: problem.normalize ? buffer(bytes.z) : null };
}

/** A copy of running sums, for a pass that reads them in many workgroups and writes them in one. */
function copied(operation: Operation, problem: RecurrenceProblem, sums: GPUBuffer): BufferRange {
  const { z } = stateBytes(problem);
  const copy = operation.scratch(Math.max(16, z));
  operation.copy(sums, copy.buffer, z);
  return copy;
}

function copyState(
  operation: Operation,
  problem: RecurrenceProblem,
  from: StateBuffers,
  to: StateBuffers,
): void {
  const bytes = stateBytes(problem);
  operation.copy(from.s, to.s, bytes.s);
  if (from.z && to.z) operation.copy(from.z, to.z, bytes.z);
}
