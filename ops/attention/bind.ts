import { elementBytes } from "../../gpu/dtype.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { texelsOf } from "../../kernels/shared/rows.ts";
import { type AttentionPlan, biasRange } from "./plan.ts";
import { type CheckedHooks, hookResources } from "./hooks.ts";
import type { AttentionProblem } from "./problem.ts";
import type { Range, Slice } from "./tokens.ts";

/** The tensors of one call. */
export interface AttentionTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Keys and values that every query sees. */
  readonly additional: { readonly keys: Tensor; readonly values: Tensor } | null;
  readonly bias: Tensor | null;
  readonly sinks: Tensor | null;
  readonly gates: Tensor | null;
  readonly out: Tensor;
  /** lse, or what the weights have in its place. */
  readonly lse: Tensor | null;
  /** What says where keys are, by the names of its bindings. */
  readonly keys: Readonly<Record<string, Tensor>>;
  /** What hooks read. */
  readonly hooks: Pick<CheckedHooks, "tensors" | "numbers">;
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

/** Rows of k and v that hold so many keys of a batch entry, of which a slice sees a range. */
function keyRows(
  { batch }: Slice,
  { kvHeads }: AttentionProblem,
  perEntry: number,
  [first, end]: Range,
): Range {
  return [
    (batch[0] * perEntry + first) * kvHeads,
    ((batch[1] - 1) * perEntry + end) * kvHeads,
  ];
}

/** What a launch binds as inputs, and the parameters that number their first rows. */
export interface BoundInputs {
  readonly resources: Resources;
  readonly params: Record<string, number>;
}

/** Binds the queries of a slice and the keys and values that they see. */
export function boundInputs(slice: Slice, call: AttentionCall): BoundInputs {
  const { problem, plan, tensors } = call;
  const seen = plan.tokens.rows ??
    keyRows(slice, problem, problem.kvLen, plan.tokens.keys(slice));
  const { additional } = tensors;
  const extraKeys = plan.tokens.additional(slice);
  const extra = keyRows(slice, problem, problem.additional?.count ?? 0, extraKeys);
  const bound = {
    q: boundRows(tensors.q, queryRows(slice, problem), problem.headDim, call),
    k: boundRows(tensors.k, seen, problem.headDim, call),
    v: boundRows(tensors.v, seen, problem.valueDim, call),
    ...(additional && {
      additionalKeys: boundRows(additional.keys, extra, problem.headDim, call),
      additionalValues: boundRows(additional.values, extra, problem.valueDim, call),
    }),
  };
  const { resources, params } = bindsOf(bound);
  return { resources, params: { ...NO_FIRST_ROWS, ...params } };
}

/** What a launch binds of tensors, by name, and the parameters that number their first rows. */
export function bindsOf(bound: Readonly<Record<string, Bound>>): BoundInputs {
  const named = Object.entries(bound);
  return {
    resources: Object.fromEntries(named.map(([name, { resource }]) => [name, resource])),
    params: Object.fromEntries(named.map(([name, { first }]) => [`${name}First`, first])),
  };
}

/** Copies the queries, and what every launch sees, into textures. */
export function textureInputs(operation: Operation, { plan, tensors }: AttentionCall): BoundInputs {
  const { q, k, v, additional } = tensors;
  const ranges = plan.tokens.copied;
  const resources = {
    q: texture(operation, q),
    ...(plan.tokens.pieceBytes === undefined && {
      k: texture(operation, k, { ranges }),
      v: texture(operation, v, { ranges }),
    }),
    ...(additional && {
      additionalKeys: texture(operation, additional.keys),
      additionalValues: texture(operation, additional.values),
    }),
  };
  return { resources, params: NO_FIRST_ROWS };
}

/** Copies the keys and values of a slice into textures, where launches do not share those of all. */
export function texturePiece(
  operation: Operation,
  slice: Slice,
  { problem, plan, tensors }: AttentionCall,
): { resources: Record<"k" | "v", GPUTextureView>; params: Record<string, number> } | null {
  if (plan.tokens.pieceBytes === undefined) return null;
  const ranges = [keyRows(slice, problem, problem.kvLen, plan.tokens.keys(slice))];
  const [[first]] = ranges;
  return {
    resources: {
      k: texture(operation, tensors.k, { ranges }),
      v: texture(operation, tensors.v, { ranges }),
    },
    params: { kFirst: first, vFirst: first },
  };
}

/** Parameters of inputs that are bound from their first row on. */
export const NO_FIRST_ROWS = {
  qFirst: 0,
  kFirst: 0,
  vFirst: 0,
  additionalKeysFirst: 0,
  additionalValuesFirst: 0,
};

/** Copies a tensor, or ranges of its rows one behind the other, into a texture; its last axis by default. */
export function texture(
  operation: Operation,
  tensor: Tensor,
  { width = tensor.shape[tensor.shape.length - 1], ranges }: {
    readonly width?: number;
    readonly ranges?: readonly Range[] | undefined;
  } = {},
): GPUTextureView {
  const { format, elements } = texelsOf(tensor.dtype === "f16" ? "f16" : "f32", width);
  const texels = width / elements;
  const rows = joined(ranges ?? [[0, tensor.size / width]]);
  const runs = rows.map(([first, end]) => [first * texels, (end - first) * texels] as const);
  return operation.texture(tensor.buffer, runs, format);
}

/** Ranges, with those that follow one another as one. */
function joined(ranges: readonly Range[]): Range[] {
  const starts = ranges.filter(([first], i) => i === 0 || ranges[i - 1][1] !== first);
  const ends = ranges.filter(([, end], i) => ranges[i + 1]?.[0] !== end);
  return starts.map(([first], i) => [first, ends[i][1]]);
}

/** Binds the bias of a slice and the sinks. */
export function boundScores(
  slice: Slice,
  call: AttentionCall,
): { resources: Resources; first: number } {
  const { bias, sinks, gates, keys, hooks } = call.tensors;
  const bound = bias && boundRows(bias, biasRange(slice, call.problem), 1, call);
  return {
    resources: {
      ...(bound && { bias: bound.resource }),
      ...(sinks && { sinks: { buffer: sinks.buffer } }),
      ...(gates && { gates: { buffer: gates.buffer } }),
      ...Object.fromEntries(Object.entries(keys).map(([name, { buffer }]) => [name, { buffer }])),
      ...hookResources(hooks),
    },
    first: bound?.first ?? 0,
  };
}

/** Binds rows of a tensor, from an aligned byte on. */
export function boundRows(
  tensor: Pick<Tensor, "buffer" | "dtype">,
  [first, end]: readonly [number, number],
  width: number,
  { alignment }: Pick<AttentionCall, "alignment">,
): Bound {
  const rowBytes = width * elementBytes(tensor.dtype);
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
