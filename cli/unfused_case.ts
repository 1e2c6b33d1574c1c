import type { Gpu } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { neighborhoodScores, neighborhoodValues } from "../ops/neighborhood/mod.ts";
import {
  neighborhoodScores as referenceScores,
  neighborhoodValues as referenceValues,
} from "../reference/mod.ts";
import { compareHeads } from "./compare.ts";
import { hostTensor, TOLERANCE } from "./host_tensor.ts";
import {
  type NeighborhoodCase,
  neighborhoodCaseName,
  neighborhoodInputs,
} from "./neighborhood_case.ts";
import { type CheckItem, checkItem } from "./outcome.ts";
import { Random } from "./random.ts";

/** Both unfused halves of a case against float64; weights are random, not a softmax. */
export function unfusedItem(c: NeighborhoodCase): CheckItem {
  return checkItem(neighborhoodCaseName(c), TOLERANCE[c.dtype], (gpu) => errorOf(gpu, c));
}

async function errorOf(gpu: Gpu, c: NeighborhoodCase): Promise<number> {
  const { q, k, v } = neighborhoodInputs(c);
  const expectedScores = referenceScores(q, k, c.pattern);
  const random = new Random(c.seed);
  const weights = hostTensor(c.dtype, expectedScores.shape, () => random.normal());
  const expected = referenceValues(weights, v, c.pattern);
  using stack = new DisposableStack();
  const tensors = [q, k, v, weights].map(({ data, shape }) =>
    stack.use(gpu.tensor(data, shape) as Tensor<"f32">)
  );
  const scores = stack.use(neighborhoodScores(tensors[0], tensors[1], c.pattern));
  const out = stack.use(neighborhoodValues(tensors[3], tensors[2], c.pattern));
  const slots = expectedScores.shape[expectedScores.shape.length - 1];
  return Math.max(
    compareHeads(await scores.read(), expectedScores.data, c.heads, slots).ratio,
    compareHeads(await out.read(), expected.data, c.heads, c.valueDim).ratio,
  );
}
