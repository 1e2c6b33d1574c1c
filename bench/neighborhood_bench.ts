// Wall time of one call and its wait, the naive kernel as each group's baseline: `deno task bench`.
// Times of the kernels alone, and of dense attention on the same tokens, come from
// `tessera profile neighborhoodAttention`.
import {
  loadNeighborhood,
  type NeighborhoodCase,
  neighborhoodCaseName,
} from "../cli/neighborhood_case.ts";
import { requestGpu } from "../mod.ts";
import { benchAgainstNaive } from "./_compare.ts";

const gpu = await requestGpu();

const sizes = { batch: 1, heads: 4, kvHeads: 4, headDim: 32, valueDim: 32 };
const common = { ...sizes, dtype: "f32", inputs: "normal", seed: 1, lse: false } as const;
const problems: readonly NeighborhoodCase[] = [
  { ...common, layout: [1024], pattern: { windowSize: 63 } },
  { ...common, layout: [1024], pattern: { windowSize: 64, causal: true } },
  { ...common, layout: [32, 32], pattern: { windowSize: 7 } },
  { ...common, layout: [32, 32], pattern: { windowSize: 7 }, dtype: "f16" },
  { ...common, layout: [32, 32], pattern: { windowSize: 7, dilation: 4 } }, // dilated
  { ...common, layout: [32, 32], pattern: { windowSize: 8, stride: 8 } }, // blocked
  { ...common, layout: [8, 12, 12], pattern: { windowSize: 5 } },
];

for (const problem of problems) {
  await benchAgainstNaive(
    gpu,
    neighborhoodCaseName(problem),
    (override) => loadNeighborhood(gpu, { ...problem, ...override }),
  );
}
