import type { Gpu } from "../../gpu/device.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  centroidRound,
  type CentroidRoundConfig,
  ROUND_THREADS,
} from "../../kernels/centroids/rounds.ts";
import { CENTROID_TILE, centroidScores } from "../../kernels/centroids/scores.ts";
import { boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { indexDigits } from "../select/launch.ts";
import type { CentroidProblem } from "./problem.ts";

const programs = { scores: once(centroidScores), round: once(centroidRound) };

/** The tensors of a call. */
export interface CentroidTensors {
  readonly x: Tensor;
  readonly centroids: Tensor;
  readonly cluster: Tensor<"i32">;
  readonly counts: Tensor<"i32">;
}

/** Some batch entries of a call on its way to the device. */
export interface CentroidCall {
  readonly gpu: Gpu;
  readonly problem: CentroidProblem;
  readonly tensors: CentroidTensors;
  readonly entries: readonly [number, number];
}

/** Records the assignment of some batch entries: all scores, then rounds. */
export function launchCentroids(operation: Operation, call: CentroidCall, rounds: number): void {
  const { problem, entries: [entry, end] } = call;
  const { length, heads, count } = problem;
  const lines = (end - entry) * heads;
  const scores = operation.scratch(Math.max(16, 4 * lines * length * count));
  launchScores(operation, call, scores);
  const pass = roundPass(operation, call, {
    scores,
    choices: operation.scratch(Math.max(16, 4 * lines * length)),
    asked: operation.scratch(Math.max(16, 4 * lines * count)),
  });
  pass("clear", lines * Math.max(length, count));
  for (let round = 0; round < rounds; round++) {
    pass("ask", lines * length);
    pass("take", lines * count);
  }
}

function launchScores(
  operation: Operation,
  { gpu, problem, tensors, entries: [entry, end] }: CentroidCall,
  scores: BufferRange,
): void {
  const { elem, centroidElem, dim, metric, length, heads, count } = problem;
  const { byBatch, centroidHeads } = problem;
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const perEntry = length * heads;
  const x = boundRows(tensors.x, [entry * perEntry, end * perEntry], dim, alignment);
  const own = count * centroidHeads;
  const rows = byBatch ? [entry * own, end * own] as const : [0, own] as const;
  const centers = boundRows(tensors.centroids, rows, dim, alignment);
  operation.launch({
    program: programs.scores({ elem, centroidElem, dim, metric }),
    resources: { x: x.resource, centers: centers.resource, scores },
    params: {
      ...{ line0: entry * heads, heads, length, centroids: count },
      ...{ centroidBatch: Number(byBatch), centroidHeads },
      ...{ xFirst: x.first, centersFirst: centers.first },
    },
    grid: [
      Math.ceil(length / CENTROID_TILE.tokens),
      Math.ceil(count / CENTROID_TILE.centroids),
      (end - entry) * heads,
    ],
  });
}

/** Records a pass of a round, of so many items: invocations, or workgroups of centroids. */
function roundPass(
  operation: Operation,
  { gpu, problem, tensors, entries: [entry, end] }: CentroidCall,
  scratch: Readonly<Record<"scores" | "choices" | "asked", BufferRange>>,
): (pass: CentroidRoundConfig["pass"], items: number) => void {
  const { length, heads, count, capacity } = problem;
  const alignment = { alignment: gpu.limits.minStorageBufferOffsetAlignment };
  const [tokens, centers] = [length * heads, count * heads];
  const cluster = boundRows(tensors.cluster, [entry * tokens, end * tokens], 1, alignment);
  const counts = boundRows(tensors.counts, [entry * centers, end * centers], 1, alignment);
  return (pass, items) =>
    launchItems(operation, gpu.limits, {
      ...{ first: 0, end: items, threads: pass === "take" ? 1 : ROUND_THREADS },
    }, {
      program: programs.round({ pass }),
      resources: { ...scratch, cluster: cluster.resource, counts: counts.resource },
      params: {
        ...{ lines: (end - entry) * heads, heads, width: length, centroids: count, capacity },
        ...indexDigits(length),
        before: entry * tokens - cluster.first,
        countsBefore: entry * centers - counts.first,
      },
    });
}
