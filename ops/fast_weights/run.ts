import { kindOf } from "../../gpu/dtype.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchFastWeights } from "./launch.ts";
import { planFastWeights } from "./plan.ts";
import { type CheckedFastWeights, type FastRule, type FastState, partShape } from "./problem.ts";

/** What a call returns; S is a record of the parts of a state. */
export interface FastResult<T extends "f32" | "f16", S> {
  out: Tensor<T>;
  finalState?: S;
}

/** Plans and records a call; in place the given state becomes the one behind the last token. */
export function runFastWeights<T extends "f32" | "f16", S>(
  rule: FastRule & { readonly name: string },
  { problem: given, inputs, initial, gpu }: CheckedFastWeights,
  { dtype, inPlace }: { readonly dtype: T; readonly inPlace: boolean },
): FastResult<T, S> {
  const problem = { ...given, final: inPlace || given.final };
  const plan = planFastWeights(problem, gpu);
  return record(gpu, rule.name, (operation) => {
    const { batch, length, qHeads, heads, valueDim } = problem;
    const parts = Object.keys(rule.parts);
    const out = gpu.empty([batch, length, Math.max(qHeads, heads), valueDim], dtype);
    const made: FastState | null = given.final
      ? Object.fromEntries(parts.map((part) => [part, gpu.empty(partShape(part, problem), "f32")]))
      : null;
    launchFastWeights(operation, {
      ...{ problem, plan, inputs, out, parts, device: gpu },
      initial: buffersOf(initial),
      final: buffersOf(inPlace ? initial : made),
    });
    if (made === null) return { out };
    const finalState = Object.fromEntries(parts.map((part) => [rule.parts[part], made[part]]));
    return { out, finalState: finalState as S };
  });
}

/** Refuses a step without a state: there would be none to go on from, and none to leave. */
export function checkStepState(action: string, state: unknown): void {
  if (state !== undefined) return;
  throw new TypeError(`Cannot ${action} as a step needs a state: state is ${kindOf(state)}`);
}

function buffersOf(state: FastState | null): Record<string, { buffer: GPUBuffer }> | null {
  return state &&
    Object.fromEntries(Object.entries(state).map(([part, { buffer }]) => [part, { buffer }]));
}
