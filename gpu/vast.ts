import type { Program } from "./program.ts";

/** Longer than any loop that is unrolled; no power of two, by which division is another instruction. */
const [FIRST, STEP] = [1_000_003, 1002];

/**
 * Parameters by which no loop over them is short and no condition on them is likely to hold, for a dispatch
 * of no workgroups ahead of the first one.
 *
 * Mesa's lavapipe (seen in 22.3) puts the values of parameters that decide loops and conditions into a copy
 * of the shader and compiles that, at each dispatch anew, until it meets values by which the copy is about
 * as long as the shader: from then on it keeps the shader. Where short loops are unrolled, it would meet
 * none, and each dispatch takes 10 to 30 ms (docs/performance.md).
 */
export function vastParams({ params }: Program): Record<string, number> {
  return Object.fromEntries(
    Object.entries(params).map(([name, type], n) => [name, type === "f32" ? 1 : FIRST + n * STEP]),
  );
}
