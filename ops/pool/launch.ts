import type { Gpu } from "../../gpu/device.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { POOL_THREADS, readsAll } from "../../kernels/pool/config.ts";
import { poolBlocks } from "../../kernels/pool/tokens.ts";
import { bindsOf, boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { hullOf, tableOf } from "../segments.ts";
import { type TokenRows, tokenTextures } from "../token_textures.ts";
import type { PoolPlan } from "./plan.ts";
import type { PoolProblem } from "./problem.ts";

const programOf = once(poolBlocks);

/** The tensors of a call. */
export interface PoolTensors {
  readonly x: Tensor;
  readonly out: Tensor;
  readonly weights?: Tensor;
}

/** Some of the blocks of a call, and the table of all. */
interface BlockGroup {
  readonly problem: PoolProblem;
  readonly slices: number;
  readonly group: readonly [number, number];
  readonly table: BufferRange;
  /** A copy of x, where that is read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
}

/** Records a planned call. */
export function launchPool(
  operation: Operation,
  gpu: Gpu,
  { problem, plan }: { readonly problem: PoolProblem; readonly plan: PoolPlan },
  tensors: PoolTensors,
): void {
  const { blocks, kind, dim } = problem;
  const table = operation.table(tableOf(blocks));
  const read: Record<string, TokenRows> = readsAll(kind)
    ? { x: { tensor: tensors.x, width: dim } }
    : {};
  const textures = tokenTextures(operation, gpu, read);
  for (const group of plan.groups) {
    const some = { problem, slices: plan.slices, group, table, textures };
    launchGroup(operation, gpu, some, tensors);
  }
}

/** Records a group of blocks. */
function launchGroup(
  operation: Operation,
  { limits }: Gpu,
  { problem, slices, group: [first, end], table, textures }: BlockGroup,
  { x, out, weights }: PoolTensors,
): void {
  const { kind, elem, weightElem, heads, dim } = problem;
  const [from, to] = hullOf(problem.blocks.slice(first, end));
  const alignment = { alignment: limits.minStorageBufferOffsetAlignment };
  const tokens = [from * heads, to * heads] as const;
  const binds = bindsOf({
    x: boundRows(x, tokens, dim, alignment),
    ...(weights && { weights: boundRows(weights, tokens, 1, alignment) }),
    out: boundRows(out, [first * heads, end * heads], dim, alignment),
  });
  const columns = heads * Math.ceil(dim / 4);
  const items = { first: first * columns, end: end * columns, threads: POOL_THREADS / slices };
  launchItems(operation, limits, items, {
    program: programOf({
      ...{ kind, elem, weightElem, dim, slices },
      source: textures.x ? "texture" : "buffer",
    }),
    resources: {
      blocks: table,
      ...binds.resources,
      ...textures,
    },
    params: { heads, ...binds.params },
  });
}
