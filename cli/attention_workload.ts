import type { Gpu } from "../gpu/device.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { attentionProblemOf } from "../ops/attention/problem.ts";
import { attentionSchedules, scheduleName } from "../ops/attention/schedule.ts";
import { type AttentionCase, caseName, loadCase } from "./attention_case.ts";
import { attentionBytes, attentionFlops } from "./attention_cost.ts";
import { TOLERANCE } from "./host_tensor.ts";
import { spotCheck } from "./spot_check.ts";
import type { SweepKeys } from "./sweep.ts";
import type { LoadedWorkload, Workload } from "./workload.ts";

/** Sizes that a sweep of attention may change. */
export const ATTENTION_SWEEPS: SweepKeys<AttentionCase> = {
  t: (size) => ({ qLen: size, kvLen: size }),
  "q-len": (size) => ({ qLen: size }),
  "kv-len": (size) => ({ kvLen: size }),
  batch: (size) => ({ batch: size }),
  heads: (size) => ({ heads: size, kvHeads: size }),
  "head-dim": (size) => ({ headDim: size, valueDim: size }),
};

/** A case of attention as a workload. */
export function attentionWorkload(c: AttentionCase): Workload {
  return {
    operator: "attention",
    problem: c,
    name: caseName(c),
    tolerance: TOLERANCE[c.dtype],
    flops: attentionFlops(c),
    bytes: attentionBytes(c),
    rivals: { naive: () => attentionWorkload({ ...c, schedule: "naive" }) },
    always: [],
    scheduleOn: (gpu) => scheduleName(planAttention(attentionProblemOf(c), gpu).schedule),
    schedulesOn: (gpu) => attentionSchedules(attentionProblemOf(c), gpu).map(scheduleName),
    load: (gpu) => loadAttention(gpu, c),
  };
}

function loadAttention(gpu: Gpu, c: AttentionCase): LoadedWorkload {
  const loaded = loadCase(gpu, c);
  return {
    compute: () => {
      const { out, lse } = loaded.compute();
      return lse ? [out, lse] : [out];
    },
    errorOf: (out) => spotCheck(c, loaded.inputs, out),
    [Symbol.dispose]: () => loaded[Symbol.dispose](),
  };
}
