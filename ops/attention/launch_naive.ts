import type { Operation } from "../../gpu/recorder.ts";
import { NAIVE_THREADS, naiveAttention } from "../../kernels/attention/naive.ts";
import { once } from "../once.ts";
import { type AttentionCall, boundScores, NO_FIRST_ROWS } from "./bind.ts";
import { hookParams } from "./hooks.ts";
import { sharedParams, sliceParams } from "./params.ts";

/** The three programs of the baseline. */
export const naivePrograms: typeof naiveAttention = once(naiveAttention);

/** Records the baseline, which was planned to run in one piece. */
export function launchNaive(operation: Operation, call: AttentionCall): void {
  const { problem, plan, tensors } = call;
  const { batch, heads, qLen, kvLen, valueDim } = problem;
  const programs = naivePrograms(plan.config);
  const scores = operation.scratch(Math.max(16, 4 * batch * heads * qLen * kvLen));
  for (const { rows } of plan.rounds) {
    const { resources } = boundScores(rows, call);
    const [q, k, v, out] = [tensors.q, tensors.k, tensors.v, tensors.out].map(({ buffer }) => ({
      buffer,
    }));
    const params = {
      ...sharedParams(problem),
      ...sliceParams(rows, problem, plan),
      ...hookParams(tensors.hooks),
      partRows: 0,
      biasFirst: 0,
      ...NO_FIRST_ROWS,
      outFirst: 0,
      lseFirst: 0,
    };
    const groups = (threads: number): number => Math.ceil(threads / NAIVE_THREADS);
    const { sinks, gates, ...shape } = resources;
    operation.launch({
      program: programs.scores,
      resources: { q, k, scores, ...shape },
      params,
      grid: [groups(kvLen), qLen, batch * heads],
    });
    operation.launch({
      program: programs.softmax,
      resources: {
        scores,
        ...(sinks && { sinks }),
        ...(gates && { gates }),
        ...(tensors.lse && { lse: { buffer: tensors.lse.buffer } }),
      },
      params,
      grid: [groups(qLen), batch * heads, 1],
    });
    operation.launch({
      program: programs.values,
      resources: { scores, v, out },
      params,
      grid: [groups(valueDim), qLen, batch * heads],
    });
  }
}
