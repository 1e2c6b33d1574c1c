import type { Gpu } from "../../gpu/device.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { Operation } from "../../gpu/recorder.ts";
import {
  NAIVE_THREADS,
  type NaiveNeighborhood,
  naiveNeighborhood,
} from "../../kernels/neighborhood/naive.ts";
import { type AttentionTensors, NO_FIRST_ROWS } from "../attention/bind.ts";
import { once } from "../once.ts";
import type { NeighborhoodProblem } from "./problem.ts";
import { windowConfig, windowParams } from "./tokens.ts";

const programs = once(naiveNeighborhood);

/** The three programs of the baseline. */
export function naivePrograms({ axes, attention }: NeighborhoodProblem): NaiveNeighborhood {
  const { elem, headDim, valueDim, additional, lse } = attention;
  return programs({
    ...windowConfig(axes),
    ...{ elem, headDim, valueDim, lse },
    additional: additional !== null,
  });
}

/** Records the baseline, which runs in one piece. */
export function launchNaive(
  operation: Operation,
  gpu: Gpu,
  problem: NeighborhoodProblem,
  tensors: AttentionTensors,
): void {
  const { batch, heads, kvHeads, qLen, valueDim, scale, additional } = problem.attention;
  const volume = windowVolume(problem);
  const columns = volume + (additional?.count ?? 0);
  checkPiece(problem, columns, gpu.limits);
  const scores = operation.scratch(Math.max(16, 4 * batch * qLen * heads * columns));
  const { scores: first, softmax, values } = naivePrograms(problem);
  const params = {
    ...windowParams(problem.axes),
    ...NO_FIRST_ROWS,
    ...{ tokens: qLen, heads, kvHeads, volume },
    group: heads / kvHeads,
    additionalLen: additional?.count ?? 0,
    qScale: scale * Math.LOG2E,
    outFirst: 0,
  };
  const bound = (names: Record<string, { buffer: GPUBuffer } | null | undefined>) =>
    Object.fromEntries(
      Object.entries(names).flatMap(([name, tensor]) =>
        tensor ? [[name, { buffer: tensor.buffer }]] : []
      ),
    );
  const { q, k, v, out, lse } = tensors;
  const groups = (threads: number): number => Math.ceil(threads / NAIVE_THREADS);
  operation.launch({
    program: first,
    resources: { scores, ...bound({ q, k, additionalKeys: tensors.additional?.keys }) },
    params,
    grid: [groups(columns), qLen * heads, batch],
  });
  operation.launch({
    program: softmax,
    resources: { scores, ...bound({ lse }) },
    params,
    grid: [groups(qLen * heads), batch, 1],
  });
  operation.launch({
    program: values,
    resources: { scores, ...bound({ v, additionalValues: tensors.additional?.values, out }) },
    params,
    grid: [groups(valueDim), qLen * heads, batch],
  });
}

/** Keys of a window. */
export function windowVolume({ axes }: Pick<NeighborhoodProblem, "axes">): number {
  return axes.reduce((product, { windowSize }) => product * windowSize, 1);
}

/** The baseline is not cut up: it measures, it does not serve. */
function checkPiece({ attention }: NeighborhoodProblem, columns: number, limits: GpuLimits): void {
  const { batch, qLen, heads } = attention;
  const bytes = 4 * batch * qLen * heads * columns;
  const fits = bytes <= limits.maxStorageBufferBindingSize && columns < limits.maxLoopIterations &&
    Math.max(qLen * heads, batch) <= limits.maxComputeWorkgroupsPerDimension;
  if (fits) return;
  throw new RangeError(
    `Cannot plan neighborhood attention as the naive schedule must run in one piece: it has ${
      qLen * heads
    } rows and ${bytes} bytes of scores, the device allows ${limits.maxComputeWorkgroupsPerDimension} and ${limits.maxStorageBufferBindingSize}`,
  );
}
