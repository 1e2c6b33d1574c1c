import type { Gpu } from "../gpu/device.ts";
import { planAttention } from "../ops/attention/plan.ts";
import { attentionSchedules, scheduleName } from "../ops/attention/schedule.ts";
import { type AttentionCase, caseName, loadCase } from "./attention_case.ts";
import { attentionPicture, isDrawn } from "./attention_picture.ts";
import { attentionBytes, attentionFlops, visiblePairs } from "./attention_cost.ts";
import { problemOf } from "./attention_problem.ts";
import { denseCase, isSparse, sparsityOf } from "./attention_sparsity.ts";
import { TOLERANCE } from "./host_tensor.ts";
import { mapWorkload } from "./map_workload.ts";
import { spotCheck } from "./spot_check.ts";
import { attentionChoices } from "./tune/attention_choices.ts";
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
  const problem = problemOf(c);
  let pairs: number | undefined;
  const counted = (): number => pairs ??= visiblePairs(c); // asking a mask takes a while
  return {
    operator: "attention",
    problem: c,
    name: caseName(c),
    tolerance: TOLERANCE[c.dtype],
    get flops() {
      return attentionFlops(c, counted());
    },
    bytes: attentionBytes(c),
    rivals: rivalsOf(c),
    always: [
      ...(isSparse(c) ? ["dense"] : []),
      ...(c.map === undefined ? [] : ["map"]),
    ],
    scheduleOn: (gpu) => scheduleName(planAttention(problem, gpu).schedule),
    schedulesOn: (gpu) => attentionSchedules(problem, gpu).map(scheduleName),
    choices: (gpu) =>
      attentionChoices(
        problem,
        { pairs: counted(), bytes: attentionBytes(c) },
        gpu,
        (schedule) => attentionWorkload({ ...c, schedule }),
      ),
    load: (gpu) => loadAttention(gpu, c),
    ...(isDrawn(c) && { picture: () => attentionPicture(c) }),
    ...(isSparse(c) && {
      model: (gpu, medianMs, { dense }) =>
        sparsityOf(gpu, c, { pairs: counted(), speedupOverDense: dense / medianMs }),
    }),
  };
}

function rivalsOf(c: AttentionCase): Workload["rivals"] {
  const { map, ...unmapped } = c;
  const { score, mask, weight, ...plain } = unmapped;
  const hooked = (score ?? mask ?? weight) !== undefined;
  return {
    // the baseline walks keys in a row
    ...(c.packed === undefined && c.pages === undefined && {
      naive: () => attentionWorkload({ ...unmapped, schedule: "naive" }),
    }),
    ...(hooked && { plain: () => attentionWorkload(plain) }),
    ...(isSparse(c) && { dense: () => attentionWorkload(denseCase(c)) }),
    ...(map !== undefined && mask !== undefined && { map: () => mapWorkload({ ...c, map, mask }) }),
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
