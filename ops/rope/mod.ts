import { recall } from "../../gpu/recall.ts";
import { record } from "../../gpu/runtime.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { launchRope, tokensOfBinding } from "./launch.ts";
import type { RopeOptions } from "./options.ts";
import { ropeProblem } from "./problem.ts";

export type { RopeOptions } from "./options.ts";

/**
 * Rotary positions, for q and k before `attention`: pairs of channels turn by their token's position times
 * the frequency of the pair, (a, b) → (a cos θ − b sin θ, b cos θ + a sin θ), so that q · k depends on
 * distances alone.
 *
 * With several axes a section of the channels turns with each, by frequencies of its own. Angles are turns
 * in fixed point: sines and cosines are within 2e-7 of float64 at every position below 2^31, where f32 would
 * be off by 2e-3 at 32,768 and by 0.06 at a million. Legend: B batch, T tokens, or X, Y and Z tokens on
 * axes, H heads, D head dim.
 *
 * Definition: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), section
 * 3.2.2. `scaling` is position interpolation, Chen et al., "Extending Context Window of Large Language
 * Models via Positional Interpolation" (2023), section 2.3. Why angles need more than the precision of q:
 * Wang et al., "When Precision Meets Position: BFloat16 Breaks Down RoPE in Long-Context Training" (2024).
 *
 * @typeParam E storage of x
 * @param x q or k, `[B, T, H, D]`, `[B, X, Y, H, D]` or `[B, X, Y, Z, H, D]`, f32 or f16
 * @param options frequencies, pairs, positions
 * @returns a new tensor of that shape and dtype; the work is recorded and runs at the next `read()` or
 * `submit()`
 * @throws TypeError if a tensor, shape, dtype or option does not fit
 * @throws RangeError if a value is out of range, or a token does not fit a binding
 *
 * @example The second of two tokens turns by a radian
 * ```ts
 * import { requestGpu, rope } from "@tessera/kernels";
 * import { assertAlmostEquals } from "@std/assert";
 * using gpu = await requestGpu();
 * const q = gpu.tensor(Float32Array.of(1, 0, 1, 0), [1, 2, 1, 2]);
 * const [a, b, c, d] = await rope(q).read();
 * assertAlmostEquals(a, 1);
 * assertAlmostEquals(b, 0);
 * assertAlmostEquals(c, Math.cos(1), 1e-6);
 * assertAlmostEquals(d, Math.sin(1), 1e-6);
 * ```
 *
 * @example A token of a decoder, at position 7, and an image of 4 x 6
 * ```ts
 * import { requestGpu, rope } from "@tessera/kernels";
 * using gpu = await requestGpu();
 * const token = rope(gpu.empty([1, 1, 8, 64], "f32"), { offset: 7, base: 500000 });
 * const image = rope(gpu.empty([1, 4, 6, 8, 64], "f32"), { interleaved: true });
 * console.log(token.shape, image.shape);
 * ```
 */
export function rope<E extends "f32" | "f16">(
  x: Tensor<E>,
  options: RopeOptions = {},
): Tensor<E> {
  return recall(run<E>, x, options);
}

function run<E extends "f32" | "f16">(x: Tensor<E>, options: RopeOptions): Tensor<E> {
  const { problem, gpu } = ropeProblem(x, options);
  const tokens = tokensOfBinding(problem, gpu.limits);
  const { positions, frequencies } = options;
  return record(gpu, "rope", (operation) => {
    const out = gpu.empty(x.shape, x.dtype);
    const tensors = { x, out, positions, frequencies };
    launchRope(operation, { problem, tensors, device: gpu }, tokens);
    return out;
  });
}
