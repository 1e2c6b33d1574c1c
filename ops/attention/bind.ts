import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { TexelFormat } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type AttentionPlan, biasRange, bytesOf, type Slice } from "./plan.ts";
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
export interface Bound {
  readonly resource: BufferRange;
  readonly first: number;
}

/** What a launch binds, by name. */
export type Resources = Record<string, BufferRange | GPUTextureView>;

/** Rows of q, out and lse that a slice covers, all heads of them. */
export function queryRows(
  { batch, queries }: Slice,
  { qLen, heads }: AttentionProblem,
): [number, number] {
  const first = (batch[0] * qLen + queries[0]) * heads;
  return [first, ((batch[1] - 1) * qLen + queries[1]) * heads];
}

/** Binds the queries of a slice and the keys and values of its parts, and numbers their first rows. */
export function boundInputs(
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

/** Copies a tensor into a texture. */
export function texture(operation: Operation, tensor: Tensor): GPUTextureView {
  const format: TexelFormat = tensor.dtype === "f16" ? "rg32uint" : "rgba32float";
  return operation.texture(tensor.buffer, tensor.size / 4, format);
}

/** Binds the bias of a slice and the sinks. */
export function boundScores(
  slice: Slice,
  call: AttentionCall,
): { resources: Resources; first: number } {
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
export function boundRows(
  tensor: Tensor,
  [first, end]: readonly [number, number],
  width: number,
  { alignment }: Pick<AttentionCall, "alignment">,
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
