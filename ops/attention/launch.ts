import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Program, TexelFormat } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { MERGE_THREADS, mergeParts } from "../../kernels/attention/merge.ts";
import { NAIVE_THREADS, naiveAttention } from "../../kernels/attention/naive.ts";
import { splitAttention } from "../../kernels/attention/split.ts";
import { subgroupAttention } from "../../kernels/attention/subgroup.ts";
import { workgroupAttention } from "../../kernels/attention/workgroup.ts";
import { aligned } from "../../kernels/shared/rows.ts";
import { once } from "../once.ts";
import { type AttentionPlan, biasRange, bytesOf, length, type Slice } from "./plan.ts";
import type { AttentionProblem } from "./problem.ts";

/** The tensors of one call. */
export interface AttentionTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly bias: Tensor | null;
  readonly sinks: Tensor | null;
  readonly out: Tensor;
  readonly lse: Tensor | null;
}

/** One call of attention on its way to the device. */
export interface AttentionCall {
  readonly problem: AttentionProblem;
  readonly plan: AttentionPlan;
  readonly tensors: AttentionTensors;
  /** Bytes to which the start of a binding is aligned. */
  readonly alignment: number;
}

/** Part of a buffer as a binding, and the number of the first row (or element) in it. */
interface Bound {
  readonly resource: BufferRange;
  readonly first: number;
}

/** Where the rows of a round are written: the outputs, or scratch for parts that are merged. */
interface Outputs {
  readonly out: Bound;
  readonly lse: Bound | null;
  /** Rows between two parts. */
  readonly partRows: number;
}

type Resources = Record<string, BufferRange | GPUTextureView>;

const naivePrograms = once(naiveAttention);
const mergeProgram = once(mergeParts);
const tiledPrograms = {
  subgroup: once(subgroupAttention),
  workgroup: once(workgroupAttention),
  split: once(splitAttention),
};

/** The programs that a plan runs, in order. */
export function attentionPrograms(problem: AttentionProblem, plan: AttentionPlan): Program[] {
  if (plan.schedule.kind === "naive") return Object.values(naivePrograms(plan.config));
  const tiled = tiledProgram(plan);
  return plan.parts > 1 ? [tiled, mergeProgram(mergeConfig(problem))] : [tiled];
}

/** Records a planned call. */
export function launchAttention(operation: Operation, call: AttentionCall): void {
  if (call.plan.schedule.kind === "naive") launchNaive(operation, call);
  else launchTiled(operation, call);
}

function tiledProgram({ schedule, config }: AttentionPlan): Program {
  if (schedule.kind === "subgroup") return tiledPrograms.subgroup({ ...config, ...schedule });
  if (schedule.kind === "workgroup") return tiledPrograms.workgroup({ ...config, ...schedule });
  if (schedule.kind === "split") return tiledPrograms.split({ ...config, ...schedule });
  throw new TypeError(`Cannot tile attention with the schedule "${schedule.kind}"`);
}

function mergeConfig({ elem, valueDim, lse }: AttentionProblem) {
  return { outElem: elem, valueDim, lse };
}

function launchTiled(operation: Operation, call: AttentionCall): void {
  const { problem, plan, tensors } = call;
  const { q, k, v } = tensors;
  const program = tiledProgram(plan);
  const textures = plan.config.source === "texture"
    ? { q: texture(operation, q), k: texture(operation, k), v: texture(operation, v) }
    : null;
  for (const { rows, launches } of plan.rounds) {
    const outputs = plan.parts > 1
      ? partialOutputs(operation, rows, call)
      : finalOutputs(rows, call);
    for (const slice of launches) {
      const inputs = textures
        ? { resources: textures, q: 0, k: 0, v: 0 }
        : boundInputs(slice, call);
      const scores = boundScores(slice, call);
      operation.launch({
        program,
        resources: {
          ...inputs.resources,
          ...scores.resources,
          out: outputs.out.resource,
          ...(outputs.lse && { lse: outputs.lse.resource }),
        },
        params: {
          ...sharedParams(problem, plan),
          ...sliceParams(slice, problem),
          part_rows: outputs.partRows,
          bias_first: scores.first,
          q_first: inputs.q,
          k_first: inputs.k,
          v_first: inputs.v,
          out_first: outputs.out.first,
          lse_first: outputs.lse?.first ?? 0,
        },
        grid: grid(slice, problem, plan),
      });
    }
    if (plan.parts > 1) merge(operation, rows, outputs, call);
  }
}

function grid(
  slice: Slice,
  problem: AttentionProblem,
  plan: AttentionPlan,
): [number, number, number] {
  const group = problem.heads / problem.kvHeads;
  const kvHeads = length(slice.kvHeads);
  const z = length(slice.batch) * length(slice.parts);
  const queries = length(slice.queries);
  // split packs the queries of a group of heads into one row of workgroups
  return plan.schedule.kind === "split"
    ? [Math.ceil(queries * group / plan.tile), kvHeads, z]
    : [Math.ceil(queries / plan.tile), kvHeads * group, z];
}

/** Parameters that all launches of a call share. */
function sharedParams(problem: AttentionProblem, plan: AttentionPlan): Record<string, number> {
  const { softcap, scale, band, bias } = problem;
  const [biasB, biasH, biasT] = bias?.strides ?? [0, 0, 0];
  return {
    q_len: problem.qLen,
    kv_len: problem.kvLen,
    heads: problem.heads,
    kv_heads: problem.kvHeads,
    group: problem.heads / problem.kvHeads,
    part_keys: plan.partKeys,
    band_lo: band?.lo ?? 0,
    band_hi: band?.hi ?? 0,
    q_scale: softcap === null ? scale * Math.LOG2E : scale / softcap,
    cap: softcap === null ? 0 : softcap * Math.LOG2E,
    bias_b: biasB,
    bias_h: biasH,
    bias_t: biasT,
  };
}

function sliceParams(slice: Slice, problem: AttentionProblem): Record<string, number> {
  return {
    b0: slice.batch[0],
    t0: slice.queries[0],
    t1: slice.queries[1],
    h0: slice.kvHeads[0] * (problem.heads / problem.kvHeads),
    part0: slice.parts[0],
    parts: length(slice.parts),
  };
}

/** Rows of q, out and lse that a slice covers, all heads of them. */
function queryRows({ batch, queries }: Slice, { qLen, heads }: AttentionProblem): [number, number] {
  const first = (batch[0] * qLen + queries[0]) * heads;
  return [first, ((batch[1] - 1) * qLen + queries[1]) * heads];
}

/** Binds the queries of a slice and the keys and values of its parts, and numbers their first rows. */
function boundInputs(
  slice: Slice,
  call: AttentionCall,
): { resources: Resources; q: number; k: number; v: number } {
  const { problem, plan, tensors } = call;
  const { kvLen, kvHeads, headDim, valueDim } = problem;
  const [partFirst, partEnd] = slice.parts.map((part) => Math.min(part * plan.partKeys, kvLen));
  const first = (slice.batch[0] * kvLen + partFirst) * kvHeads;
  const end = ((slice.batch[1] - 1) * kvLen + partEnd) * kvHeads;
  const q = boundRows(tensors.q, queryRows(slice, problem), headDim, call);
  const k = boundRows(tensors.k, [first, end], headDim, call);
  const v = boundRows(tensors.v, [first, end], valueDim, call);
  return {
    resources: { q: q.resource, k: k.resource, v: v.resource },
    q: q.first,
    k: k.first,
    v: v.first,
  };
}

/** Binds the bias of a slice and the sinks. */
function boundScores(slice: Slice, call: AttentionCall): { resources: Resources; first: number } {
  const { bias, sinks } = call.tensors;
  const bound = bias && boundRows(bias, biasRange(slice, call.problem), 1, call);
  return {
    resources: {
      ...(bound && { bias: bound.resource }),
      ...(sinks && { sinks: { buffer: sinks.buffer } }),
    },
    first: bound?.first ?? 0,
  };
}

/** Binds rows of a tensor, from an aligned byte on. */
function boundRows(
  tensor: Tensor,
  [first, end]: readonly [number, number],
  width: number,
  { alignment }: AttentionCall,
): Bound {
  const rowBytes = width * bytesOf(tensor.dtype === "f16" ? "f16" : "f32");
  const step = alignment / gcd(alignment, rowBytes);
  const alignedFirst = first - first % step;
  const offset = alignedFirst * rowBytes;
  const size = Math.min(
    Math.max(16, Math.ceil((end - alignedFirst) * rowBytes / 4) * 4),
    tensor.buffer.size - offset,
  );
  return { resource: { buffer: tensor.buffer, offset, size }, first: alignedFirst };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function finalOutputs(rows: Slice, call: AttentionCall): Outputs {
  const { problem, tensors } = call;
  const range = queryRows(rows, problem);
  return {
    out: boundRows(tensors.out, range, problem.valueDim, call),
    lse: tensors.lse && boundRows(tensors.lse, range, 1, call),
    partRows: 0,
  };
}

function partialOutputs(operation: Operation, rows: Slice, call: AttentionCall): Outputs {
  const { problem, plan } = call;
  const [first, end] = queryRows(rows, problem);
  const partRows = end - first;
  const columns = 4 * Math.ceil(problem.valueDim / 4);
  const out = operation.scratch(plan.parts * partRows * columns * 4);
  const lse = operation.scratch(Math.max(16, plan.parts * partRows * 4));
  return { out: { resource: out, first }, lse: { resource: lse, first }, partRows };
}

function merge(operation: Operation, rows: Slice, partial: Outputs, call: AttentionCall): void {
  const { problem, plan } = call;
  const final = finalOutputs(rows, call);
  const [first] = queryRows(rows, problem);
  if (partial.lse === null) {
    throw new TypeError("Cannot merge attention as every part needs its lse");
  }
  const threads = partial.partRows * Math.ceil(problem.valueDim / 4);
  operation.launch({
    program: mergeProgram(mergeConfig(problem)),
    resources: {
      partial: partial.out.resource,
      partial_lse: partial.lse.resource,
      out: final.out.resource,
      ...(final.lse && { lse: final.lse.resource }),
    },
    params: {
      rows: partial.partRows,
      parts: plan.parts,
      partial_first: 0,
      // rows of the round count from 0 in the kernel
      out_first: final.out.first - first,
      lse_first: (final.lse?.first ?? first) - first,
    },
    grid: [Math.ceil(threads / MERGE_THREADS), 1, 1],
  });
}

function texture(operation: Operation, tensor: Tensor): GPUTextureView {
  const format: TexelFormat = tensor.dtype === "f16" ? "rg32uint" : "rgba32float";
  return operation.texture(tensor.buffer, tensor.size / 4, format);
}

function launchNaive(operation: Operation, call: AttentionCall): void {
  const { problem, plan, tensors } = call;
  const { batch, heads, qLen, kvLen, valueDim } = problem;
  const programs = naivePrograms(plan.config);
  const scores = operation.scratch(Math.max(16, 4 * batch * heads * qLen * kvLen));
  for (const { rows } of plan.rounds) {
    const { resources } = boundScores(rows, call);
    const [q, k, v, out] = [tensors.q, tensors.k, tensors.v, tensors.out].map(({ buffer }) => ({
      buffer,
    }));
    const params = {
      ...sharedParams(problem, plan),
      ...sliceParams(rows, problem),
      part_rows: 0,
      bias_first: 0,
      q_first: 0,
      k_first: 0,
      v_first: 0,
      out_first: 0,
      lse_first: 0,
    };
    const groups = (threads: number): number => Math.ceil(threads / NAIVE_THREADS);
    const { sinks, ...shape } = resources;
    operation.launch({
      program: programs.scores,
      resources: { q, k, scores, ...shape },
      params,
      grid: [groups(kvLen), qLen, batch * heads],
    });
    operation.launch({
      program: programs.softmax,
      resources: {
        scores,
        ...(sinks && { sinks }),
        ...(tensors.lse && { lse: { buffer: tensors.lse.buffer } }),
      },
      params,
      grid: [groups(qLen), batch * heads, 1],
    });
    operation.launch({
      program: programs.values,
      resources: { scores, v, out },
      params,
      grid: [groups(valueDim), qLen, batch * heads],
    });
  }
}
