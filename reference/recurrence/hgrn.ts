import type { ReferenceTensor } from "../tensor.ts";
import { scan, type ScanOptions, type ScanResult } from "./scan.ts";
import { mapTensor } from "./tensors.ts";

/**
 * The recurrence of HGRN (Qin et al., Hierarchically Gated Recurrent Neural Network for Sequence
 * Modeling, 2023), element by element: h_t = exp(g_t) h_{t-1} + x_t.
 *
 * g is the natural logarithm of the forget gate. x is all that a token adds, the input gate included:
 * the paper's (1 - exp(g_t)) i_t, i the input behind its SiLU; nothing is multiplied here. The output is
 * h itself, before the paper's output gate.
 *
 * @param x What is added, `[B, T, …]`, with any axes behind the time.
 * @param g The gates, of the same shape.
 * @param options Initial and final values, sequences and their direction.
 * @returns h, and its last value in each sequence where it is asked for.
 *
 * @example A moving average
 * ```ts
 * import { hgrn } from "@tessera/kernels/reference";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const shape = [1, 2, 1];
 * const g = { data: [-Math.LN2, -Math.LN2], shape };
 * const x = { data: [0.5 * 8, 0.5 * 6], shape };
 *
 * const { out } = hgrn(x, g);
 *
 * assertAlmostEquals(out.data[1], 0.5 * 4 + 0.5 * 6);
 * ```
 */
export function hgrn(
  x: ReferenceTensor,
  g: ReferenceTensor,
  options: ScanOptions = {},
): ScanResult {
  return scan(mapTensor(g, Math.exp), x, options);
}
