import { elementBytes } from "../../gpu/dtype.ts";
import type { GpuLimits } from "../../gpu/limits.ts";
import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import {
  NAIVE_THREADS,
  type NaiveNeighborhood,
  naiveNeighborhood,
} from "../../kernels/neighborhood/naive.ts";
import { type AttentionTensors, NO_FIRST_ROWS } from "../attention/bind.ts";
import { once } from "../once.ts";
import { windowVolume } from "./axes.ts";
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
  problem: NeighborhoodProblem,
  tensors: AttentionTensors,
): void {
  const { batch, heads, qLen, valueDim } = problem.attention;
  const columns = columnsOf(problem);
  const scores = operation.scratch(Math.max(16, 4 * batch * qLen * heads * columns));
  const { scores: first, values } = naivePrograms(problem);
  const params = paramsOf(problem);
  const { q, k, v, out, lse } = tensors;
  operation.launch({
    program: first,
    resources: { scores, ...bound({ q, k, additionalKeys: tensors.additional?.keys }) },
    params,
    grid: [groups(columns), qLen, batch * heads],
  });
  launchSoftmax(operation, problem, { scores, ...bound({ lse }) });
  operation.launch({
    program: values,
    resources: { scores, ...bound({ v, additionalValues: tensors.additional?.values, out }) },
    params,
    grid: [groups(valueDim), qLen, batch * heads],
  });
}

/** Records the softmax of every row of scores, in place; scores are in base 2. */
export function launchSoftmax(
  operation: Operation,
  problem: NeighborhoodProblem,
  resources: Readonly<Record<string, BufferRange>>,
): void {
  const { batch, heads, qLen } = problem.attention;
  operation.launch({
    program: naivePrograms(problem).softmax,
    resources,
    params: paramsOf(problem),
    grid: [groups(qLen), batch * heads, 1],
  });
}

function paramsOf(problem: NeighborhoodProblem): Record<string, number> {
  const { heads, kvHeads, qLen, scale, additional } = problem.attention;
  return {
    ...windowParams(problem.axes),
    ...NO_FIRST_ROWS,
    ...{ tokens: qLen, heads, kvHeads },
    volume: windowVolume(problem.axes),
    group: heads / kvHeads,
    additionalLen: additional?.count ?? 0,
    qScale: scale * Math.LOG2E,
    outFirst: 0,
  };
}

function bound(
  tensors: Readonly<Record<string, Tensor | null | undefined>>,
): Record<string, BufferRange> {
  const given = Object.entries(tensors).flatMap(([name, tensor]) =>
    tensor ? [[name, { buffer: tensor.buffer }] as const] : []
  );
  return Object.fromEntries(given);
}

function groups(threads: number): number {
  return Math.ceil(threads / NAIVE_THREADS);
}

/** Scores of a row. */
function columnsOf(problem: NeighborhoodProblem): number {
  return windowVolume(problem.axes) + (problem.attention.additional?.count ?? 0);
}

/** The baseline is not cut up: it measures, it does not serve. */
export function checkNaive(problem: NeighborhoodProblem, limits: GpuLimits): void {
  const { batch, qLen, heads, headDim, valueDim, elem, additional } = problem.attention;
  const columns = columnsOf(problem);
  const scores = 4 * batch * qLen * heads * columns;
  const rows = batch * Math.max(qLen, additional?.count ?? 0) * heads;
  const bytes = Math.max(scores, rows * Math.max(headDim, valueDim) * elementBytes(elem));
  const fits = bytes <= limits.maxStorageBufferBindingSize &&
    3 * (columns + 1) < limits.maxLoopIterations &&
    Math.max(qLen, batch * heads) <= limits.maxComputeWorkgroupsPerDimension;
  if (fits) return;
  throw new RangeError(
    `Cannot plan neighborhood attention as the naive schedule must run in one piece: it has ${qLen} tokens, ${columns} scores a row and ${bytes} bytes in a binding, the device allows ${limits.maxComputeWorkgroupsPerDimension}, ${limits.maxLoopIterations} iterations and ${limits.maxStorageBufferBindingSize} bytes`,
  );
}
