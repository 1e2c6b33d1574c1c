import type { Gpu } from "../../gpu/device.ts";
import type { Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { NODE_THREADS, treeNodes } from "../../kernels/tree/nodes.ts";
import { TREE_THREADS, treeScores } from "../../kernels/tree/scores.ts";
import { bindsOf, boundRows } from "../attention/bind.ts";
import { lanesOf } from "../lanes.ts";
import { launchItems } from "../launch_items.ts";
import { lent } from "../lent.ts";
import { once } from "../once.ts";
import { launchPool } from "../pool/launch.ts";
import { launchSelection } from "../select/launch.ts";
import { tokenTextures } from "../token_textures.ts";
import type { TreePlan } from "./plan.ts";
import type { TreeProblem } from "./problem.ts";

const programs = { scores: once(treeScores), nodes: once(treeNodes) };

/** The tensors of a call. */
export interface TreeTensors {
  readonly q: Tensor;
  readonly k: Tensor;
  /** The leaves that are kept, `[B, Hq, blocks, keep]`, and how many, `[B, Hq, blocks]`. */
  readonly indices: Tensor<"i32">;
  readonly counts: Tensor<"i32">;
}

/** One call on its way to the device. */
export interface TreeCall {
  readonly gpu: Gpu;
  readonly problem: TreeProblem;
  readonly plan: TreePlan;
  readonly tensors: TreeTensors;
}

/** A level of the tree: what stands for the keys of its nodes, `[B, nodes, Hkv, D]`. */
interface Level {
  readonly span: number;
  readonly nodes: Tensor;
  readonly texture: GPUTextureView | undefined;
}

/** The levels of a call, and a copy of q where that is read faster. */
interface Tree {
  readonly levels: readonly Level[];
  readonly q: GPUTextureView | undefined;
}

/** Records a planned call: the nodes of all levels, then the descent of all blocks of queries. */
export function launchTree(operation: Operation, call: TreeCall): void {
  const { gpu, problem: { batch, heads, keep }, plan, tensors } = call;
  const { blocks, candidates, choice } = plan;
  const rows = batch * heads * blocks;
  using own = new DisposableStack();
  const { q, levels } = launchLevels(operation, call, own);
  const lend = <T extends "f32" | "i32">(shape: readonly number[], dtype: T): Tensor<T> =>
    own.use(lent(operation, gpu, shape, dtype));
  const scores = lend([rows, candidates], "f32");
  const chosen = lend([rows, keep], "i32");
  const found = lend([rows], "i32");
  const spares = Math.min(2, levels.length - 1); // the last level's nodes are the result
  const spare = Array.from({ length: spares }, () => lend([rows, keep], "i32"));
  let kept: Tensor<"i32"> | null = null;
  levels.forEach((level, n) => {
    const nodes = n === levels.length - 1 ? tensors.indices : spare[n % 2];
    launchScores(operation, call, { q, level, kept, scores });
    // the first level's candidates are its nodes
    const indices = kept === null ? nodes : chosen;
    const selected = { scores, indices, counts: tensors.counts, found };
    launchSelection(operation, { gpu, ...choice, tensors: selected });
    if (kept !== null) launchNodes(operation, call, { kept, chosen, nodes });
    kept = nodes;
  });
}

/** Records what stands for the keys of all nodes, in tensors that `own` takes out of the books. */
function launchLevels(
  operation: Operation,
  { gpu, problem, plan: { pools }, tensors: { q, k } }: TreeCall,
  own: DisposableStack,
): Tree {
  const { batch, kvLen, kvHeads, dim, keyBlock } = problem;
  const pooled = problem.levels.map(({ span, pool }, n) => {
    const shape = [batch, Math.ceil(kvLen / (keyBlock * span)), kvHeads, dim];
    const out = own.use(lent(operation, gpu, shape, problem.elem));
    launchPool(operation, gpu, { problem: pool, plan: pools[n] }, { x: k, out });
    return out;
  });
  const read = pooled.map((tensor, n) => [`level${n}`, { tensor, width: dim }] as const);
  const textures = tokenTextures(operation, gpu, {
    q: { tensor: q, width: dim },
    ...Object.fromEntries(read),
  });
  const levels = problem.levels.map(({ span }, n) => ({
    ...{ span, nodes: pooled[n], texture: textures[`level${n}`] },
  }));
  return { levels, q: textures.q };
}

/** What scoring a level reads and writes. */
interface LevelScores {
  /** A copy of q, where that is read faster. */
  readonly q: GPUTextureView | undefined;
  readonly level: Level;
  /** The nodes of the level before that were kept, `[rows, keep]`, or null for the first level. */
  readonly kept: Tensor<"i32"> | null;
  readonly scores: Tensor<"f32">;
}

/** Records the scores of a level. */
function launchScores(
  operation: Operation,
  { gpu, problem, plan, tensors }: TreeCall,
  { q, level, kept, scores }: LevelScores,
): void {
  const { elem, dim, heads, kvHeads, qLen, queryBlock, keyBlock } = problem;
  const { keep, branches, causal, diagonal, sinks, near } = problem;
  const { blocks, candidates } = plan;
  const nodes = level.nodes.shape[1];
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const lanes = lanesOf(gpu.features, TREE_THREADS);
  const source = q && level.texture ? "texture" : "buffer";
  const program = programs.scores({ elem, dim, source, root: kept === null, lanes });
  for (const { rows: [row0, row1], entries: [entry, end] } of plan.slices) {
    const rowsOf = (length: number): [number, number] => [entry * length, end * length];
    const binds = bindsOf({
      q: boundRows(tensors.q, rowsOf(qLen * heads), dim, alignment),
      k: boundRows(level.nodes, rowsOf(nodes * kvHeads), dim, alignment),
      ...(kept && { kept: boundRows(kept, [row0 * keep, row1 * keep], 1, alignment) }),
      scores: boundRows(scores, [row0 * candidates, row1 * candidates], 1, alignment),
    });
    operation.launch({
      program,
      resources: {
        ...binds.resources,
        ...(q && level.texture && { q, k: level.texture }),
      },
      params: {
        ...{ row0, blocks, heads, kvHeads, group: heads / kvHeads, qLen, queryBlock, keyBlock },
        ...{ nodes, span: level.span, candidates, keep, branches },
        ...{ causal: Number(causal), diagonal, sinks, near, keptFirst: 0 },
        ...binds.params,
      },
      grid: [Math.ceil(candidates / TREE_THREADS), row1 - row0, 1],
    });
  }
}

/** Records the numbers of the nodes that were chosen among the children of those that were kept. */
function launchNodes(
  operation: Operation,
  { gpu, problem: { keep, branches }, plan }: TreeCall,
  tensors: Readonly<Record<"kept" | "chosen" | "nodes", Tensor<"i32">>>,
): void {
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  for (const { rows } of plan.slices) {
    const [start, end] = rows.map((row) => row * keep);
    const bound = Object.entries(tensors).map(([name, tensor]) =>
      [name, boundRows(tensor, [start, end], 1, alignment)] as const
    );
    const { resources } = bindsOf(Object.fromEntries(bound));
    launchItems(operation, gpu.limits, { first: start, end, threads: NODE_THREADS }, {
      program: programs.nodes({}),
      resources,
      params: { keep, branches, first: bound[0][1].first },
    });
  }
}
