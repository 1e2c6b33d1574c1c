import type { BufferRange, Operation } from "../../gpu/recorder.ts";
import type { RecurrenceProblem } from "./problem.ts";

/** S and the running sum of the keys, where there is one. */
export interface StateBuffers {
  readonly s: GPUBuffer;
  readonly z: GPUBuffer | null;
}

function stateBytes(
  { bounds, heads, keyDim, valueDim }: RecurrenceProblem,
): { s: number; z: number } {
  const rows = (bounds.length - 1) * heads * keyDim;
  return { s: 4 * rows * valueDim, z: 4 * rows };
}

/** A state of every sequence, lent. */
export function scratchState(operation: Operation, problem: RecurrenceProblem): StateBuffers {
  const bytes = stateBytes(problem);
  const buffer = (size: number): GPUBuffer => operation.scratch(Math.max(16, size)).buffer;
  return { s: buffer(bytes.s), z: problem.normalize ? buffer(bytes.z) : null };
}

/** A copy of running sums, for a pass that reads them in many workgroups and writes them in one. */
export function copied(
  operation: Operation,
  problem: RecurrenceProblem,
  sums: GPUBuffer,
): BufferRange {
  const { z } = stateBytes(problem);
  const copy = operation.scratch(Math.max(16, z));
  operation.copy(sums, copy.buffer, z);
  return copy;
}

/** Copies the state of every sequence. */
export function copyState(
  operation: Operation,
  problem: RecurrenceProblem,
  from: StateBuffers,
  to: StateBuffers,
): void {
  const bytes = stateBytes(problem);
  operation.copy(from.s, to.s, bytes.s);
  if (from.z && to.z) operation.copy(from.z, to.z, bytes.z);
}
