// Wall time of one call and its wait, the naive kernel as the baseline of each group: `deno bench`.
// Kernel times alone, and shares of the adapter's ceilings, come from `tessera profile`.
import { type AttentionCase, caseName, loadCase } from "../cli/attention_case.ts";
import { requestGpu } from "../mod.ts";
import { benchAgainstNaive } from "./_compare.ts";

const gpu = await requestGpu();

const sizes = { batch: 1, heads: 4, kvHeads: 4, headDim: 64, valueDim: 64 };
const common = { ...sizes, inputs: "normal", seed: 1, lse: false } as const;
const problems: readonly AttentionCase[] = [
  { ...common, qLen: 256, kvLen: 256, dtype: "f32" },
  { ...common, qLen: 256, kvLen: 256, dtype: "f16" },
  { ...common, qLen: 256, kvLen: 256, dtype: "f32", causal: true },
  { ...common, qLen: 512, kvLen: 512, dtype: "f32", causal: true, window: { left: 31 } },
  { ...common, qLen: 1, kvLen: 4096, dtype: "f32" },
];

for (const problem of problems) {
  await benchAgainstNaive(
    gpu,
    caseName(problem),
    (override) => loadCase(gpu, { ...problem, ...override }),
  );
}
