import type { ReferenceTensor } from "../tensor.ts";
import { recurrence, type RecurrenceOptions } from "./engine.ts";
import type { StateResult } from "./options.ts";

/** The engine without normalisation, whose state is one tensor. */
export function plain(
  q: ReferenceTensor,
  k: ReferenceTensor,
  v: ReferenceTensor,
  options: Omit<RecurrenceOptions, "normalize" | "eps">,
): StateResult {
  const { out, finalState } = recurrence(q, k, v, { ...options, normalize: false });
  return finalState && "data" in finalState ? { out, finalState } : { out };
}
