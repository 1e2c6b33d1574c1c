import type { Gpu } from "../../gpu/device.ts";
import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { GATHER_THREADS, gatherRows } from "../../kernels/select/gather.ts";
import { invertIndices } from "../../kernels/select/invert.ts";
import { type Bound, boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { rowsOfBinding } from "../rows_of_binding.ts";
import { tokenTextures } from "../token_textures.ts";
import { checkDType, checkRank } from "../tensors.ts";

/** What moves, validated; no tensors and no GPU. */
export interface MoveProblem {
  readonly elem: "f32" | "f16";
  readonly batch: number;
  /** Tokens of x. */
  readonly from: number;
  /** Tokens of the result. */
  readonly to: number;
  readonly heads: number;
  readonly dim: number;
  /** Heads that have indices of their own, or 1. */
  readonly inner: number;
}

const programs = { gather: once(gatherRows), invert: once(invertIndices) };

/** Validates the arguments that gathering and scattering share. */
export function moveProblem(action: string, x: Tensor, indices: Tensor, to: number): MoveProblem {
  const elem = checkDType(action, "x", x, ["f32", "f16"]);
  checkDType(action, "indices", indices, ["i32"]);
  checkRank(action, "x", x, ["B", "T", "H", "D"]);
  const [batch, from, heads, dim] = x.shape;
  const [entries, , own = heads, ...more] = indices.shape;
  const axes = indices.shape.length;
  if (axes < 2 || more.length > 0 || entries !== batch || own !== heads) {
    throw new TypeError(
      `Cannot ${action} as indices must be [B, M] or [B, M, H] with B = ${batch}, H = ${heads}: indices is [${indices.shape}]`,
    );
  }
  const inner = axes === 3 ? heads : 1;
  return { elem, batch, from, to, heads, dim, inner };
}

/** Batch entries that bindings hold. */
export function entriesOfLaunch(
  action: string,
  { elem, from, to, heads, dim, inner }: MoveProblem,
  limits: GpuLimits,
): number {
  const row = dim * elementBytes(elem);
  const bytes = Math.max(heads * row, 4 * inner) * Math.max(from, to);
  const most = rowsOfBinding(bytes, limits, Math.max(row, 4));
  if (most >= 1) return most;
  throw new RangeError(
    `Cannot ${action} as a batch entry must fit one binding: it takes ${bytes} bytes, the device allows ${limits.maxStorageBufferBindingSize}`,
  );
}

/** Copies x into a texture where that pays: it must not have more tokens than are read of it. */
export function moveTextures(
  operation: Operation,
  gpu: Gpu,
  { from, to, dim }: MoveProblem,
  x: Tensor,
): Record<string, GPUTextureView> {
  return tokenTextures(operation, gpu, to < from ? {} : { x: { tensor: x, width: dim } });
}

/** Some batch entries of a call. */
export interface Move {
  readonly problem: MoveProblem;
  readonly entries: readonly [number, number];
  /** For each token of the result one of x, and the number of the first that is bound. */
  readonly indices: BufferRange;
  readonly first: number;
  /** A copy of x, where that is read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
}

/** Records the copies of the tokens that indices name. */
export function launchMove(
  operation: Operation,
  { limits }: Gpu,
  { problem, entries: [entry, end], indices, first, textures }: Move,
  tensors: { readonly x: Tensor; readonly out: Tensor },
): void {
  const { elem, dim, heads, from, to, inner } = problem;
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const rows = (tokens: number) => [entry * tokens * heads, end * tokens * heads] as const;
  const x = boundRows(tensors.x, rows(from), dim, alignment);
  const out = boundRows(tensors.out, rows(to), dim, alignment);
  const columns = Math.ceil(dim / 4);
  const [firstRow, lastRow] = rows(to);
  const items = {
    ...{ first: firstRow * columns, end: lastRow * columns, threads: GATHER_THREADS },
  };
  launchItems(operation, limits, items, {
    program: programs.gather({
      ...{ elem, dim, byHead: inner > 1 },
      source: textures.x ? "texture" : "buffer",
    }),
    resources: { x: x.resource, indices, out: out.resource, ...textures },
    params: {
      ...{ heads, length: from, places: to },
      ...{ indicesFirst: first, xFirst: x.first, outFirst: out.first },
    },
  });
}

/** Records for each token of the result the place in x of what it becomes. */
export function launchInverse(
  operation: Operation,
  gpu: Gpu,
  { problem, entries, indices, inverse }: Pick<Move, "problem" | "entries"> & {
    readonly indices: Tensor;
    readonly inverse: BufferRange;
  },
): void {
  const { from, to, inner } = problem;
  const [entry, end] = entries;
  const bound = boundIndices(indices, from * inner, entries, gpu);
  const params = {
    ...{ inner, places: from, length: to },
    before: entry * from * inner - bound.first,
  };
  const items = (count: number) => ({
    first: 0,
    end: (end - entry) * count,
    threads: GATHER_THREADS,
  });
  launchItems(operation, gpu.limits, items(to * inner), {
    ...{ program: programs.invert({ pass: "clear" }), resources: { inverse }, params },
  });
  launchItems(operation, gpu.limits, items(from * inner), {
    program: programs.invert({ pass: "set" }),
    resources: { indices: bound.resource, inverse },
    params,
  });
}

/** Binds the indices of some batch entries. */
export function boundIndices(
  indices: Tensor,
  perEntry: number,
  [entry, end]: readonly [number, number],
  { limits }: Gpu,
): Bound {
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  return boundRows(indices, [entry * perEntry, end * perEntry], 1, alignment);
}
