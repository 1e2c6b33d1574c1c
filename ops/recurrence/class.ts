import { classOf, dimWords } from "../tuning.ts";
import type { GateShape } from "../../kernels/recurrence/config.ts";
import type { RecurrenceProblem } from "./problem.ts";

/** Workgroups that fill a GPU: with fewer sequences and heads, chunks in parallel are worth a pass. */
export const FULL = 512;

/** Whether sequences have at most a token each, so that states stream through. */
export function isStep({ mode, bounds }: RecurrenceProblem): boolean {
  return mode !== "chunk" &&
    bounds.every((bound, n) => n === 0 || bound - bounds[n - 1] <= 1);
}

/** What has a decay of its own; how a gate is written does not decide. */
const GATES: Readonly<Record<GateShape, string | null>> = {
  ...{ none: null, head: "head", token: "token", step: "token" },
  ...{ channel: "channel", forget: "channel" },
};

/** What tuning knows a problem by: everything but lengths that decides, under any operator's name. */
export function recurrenceClass(problem: RecurrenceProblem): string {
  const { elem, keyDim, valueDim, gate, erase, featureMap, inputs, qHeads, heads } = problem;
  const { bounds, substeps, normalize, valueFirst } = problem;
  const group = Math.max(1, qHeads / heads);
  return classOf(
    ...["recurrence", elem, dimWords("K", keyDim, "V", valueDim)],
    GATES[gate] && `gate by ${GATES[gate]}`,
    inputs.gv !== undefined && "value gate",
    erase !== "none" && `erase ${erase}`,
    inputs.p !== undefined && "own erase key",
    inputs.u !== undefined && "bonus",
    normalize && "normalized",
    featureMap !== "identity" && featureMap,
    group > 1 && `queries ${group}`,
    substeps > 1 && `writes ${substeps}`,
    valueFirst && "values first",
    isStep(problem) && "step",
    (bounds.length - 1) * heads >= FULL && "many heads",
  );
}
