import type { Gpu } from "../../gpu/device.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  centroidRound,
  type CentroidRoundConfig,
  ROUND_THREADS,
} from "../../kernels/centroids/rounds.ts";
import { boundRows } from "../attention/bind.ts";
import { launchItems } from "../launch_items.ts";
import { once } from "../once.ts";
import { indexDigits } from "../select/launch.ts";
import type { CentroidProblem } from "./problem.ts";
import { launchScores } from "./scores.ts";

const programOf = once(centroidRound);

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
  /** Copies of tokens and centroids, where those are read faster. */
  readonly textures: Readonly<Record<string, GPUTextureView>>;
  readonly entries: readonly [number, number];
}

/** Records the assignment of some batch entries: all scores, then rounds, or the best at once. */
export function launchCentroids(operation: Operation, call: CentroidCall, rounds: number): void {
  const { problem, entries: [entry, end] } = call;
  const { length, heads, count } = problem;
  const lines = (end - entry) * heads;
  const scores = operation.scratch(Math.max(16, 4 * lines * length * count));
  launchScores(operation, { ...call, ...call.tensors }, scores);
  const pass = roundPass(operation, call, {
    scores,
    choices: operation.scratch(Math.max(16, 4 * lines * length)),
    asked: operation.scratch(Math.max(16, 4 * lines * count)),
  });
  pass("clear", lines * Math.max(length, count));
  if (rounds === 0) pass("assign", lines * length);
  for (let round = 0; round < rounds; round++) {
    pass("ask", lines * length);
    pass("take", lines * count);
  }
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
      program: programOf({ pass }),
      resources: { ...scratch, cluster: cluster.resource, counts: counts.resource },
      params: {
        ...{ lines: (end - entry) * heads, heads, width: length, centroids: count, capacity },
        ...indexDigits(length),
        before: entry * tokens - cluster.first,
        countsBefore: entry * centers - counts.first,
      },
    });
}
