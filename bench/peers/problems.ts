// What all libraries compute: inputs from a seed, results in float64.
import {
  type AttentionCase,
  attentionInputs,
  caseName,
  referenceOf,
} from "../../cli/attention_case.ts";
import { type HostTensor, TOLERANCE } from "../../cli/host_tensor.ts";
import {
  RECURRENCE_TOLERANCE,
  type RecurrenceCase,
  recurrenceCaseName,
  recurrenceInputs,
} from "../../cli/recurrence_case.ts";
import { gatedDeltaRule as deltaReference } from "../../reference/mod.ts";

/** A problem of `attention`. */
export interface AttentionProblem {
  readonly operator: "attention";
  readonly case: AttentionCase;
}

/** A problem of `gatedDeltaRule`, a decay for each token and head. */
export interface DeltaProblem {
  readonly operator: "gatedDeltaRule";
  readonly case: RecurrenceCase;
}

/** A problem, with the operator that it is one of. */
export type Problem = AttentionProblem | DeltaProblem;

/** Inputs on the host by name: q, k, v `[B, T, H, D]`, and g, beta `[B, T, H]` of `gatedDeltaRule`. */
export type Inputs = Readonly<Record<string, HostTensor>>;

const attentionSizes = { batch: 1, heads: 4, kvHeads: 4, headDim: 64, valueDim: 64 };
const deltaSizes = { batch: 1, heads: 4, qHeads: 4, kHeads: 4, keyDim: 64, valueDim: 64 };

/** The problems by the names that select them. */
export const PROBLEMS: Readonly<Record<string, Problem>> = {
  "full-512": attention(512),
  "full-1024": attention(1024),
  "full-2048": attention(2048),
  "causal-1024": attention(1024, { causal: true }),
  "causal-2048": attention(2048, { causal: true }),
  "window-2048": attention(2048, { causal: true, window: { left: 127 } }), // 128 keys
  "d128-1024": attention(1024, { headDim: 128, valueDim: 128 }),
  "grouped-1024": attention(1024, { kvHeads: 2, causal: true }),
  "delta-512": delta(512),
  "delta-1024": delta(1024),
  "delta-4096": delta(4096),
};

function attention(tokens: number, changes: Partial<AttentionCase> = {}): Problem {
  const lengths = { qLen: tokens, kvLen: tokens };
  const drawn = { dtype: "f32", inputs: "normal", seed: 1, lse: false } as const;
  return {
    operator: "attention",
    case: { ...attentionSizes, ...lengths, ...drawn, ...changes },
  };
}

function delta(length: number): Problem {
  const drawn = { dtype: "f32", gate: "token", gates: "gentle", delta: true, seed: 1 } as const;
  return { operator: "gatedDeltaRule", case: { ...deltaSizes, length, ...drawn } };
}

/** One line that describes a problem. */
export function titleOf(problem: Problem): string {
  return problem.operator === "attention"
    ? caseName(problem.case)
    : recurrenceCaseName(problem.case);
}

/** Makes the inputs of a problem. */
export function inputsOf(problem: Problem): Inputs {
  return problem.operator === "attention"
    ? { ...attentionInputs(problem.case) }
    : recurrenceInputs(problem.case) as Inputs;
}

/** What `out` `[B, T, H, D]` must be, in float64. */
export function expectedOf(problem: Problem, inputs: Inputs): Float64Array {
  const { q, k, v, g, beta } = inputs;
  return problem.operator === "attention"
    ? referenceOf(problem.case, { q, k, v }).out.data
    : deltaReference(q, k, v, g, beta).out.data;
}

/** The largest error ratio with which a problem may be timed. */
export function toleranceOf(problem: Problem): number {
  return (problem.operator === "attention" ? TOLERANCE : RECURRENCE_TOLERANCE).f32;
}
