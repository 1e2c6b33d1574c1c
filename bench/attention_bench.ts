// Wall time of one call and its wait, the naive kernel as each group's baseline: `deno task bench`.
// Kernel times alone, and shares of the adapter's ceilings, come from `tessera profile`.
import { type AttentionCase, caseName, loadCase } from "../cli/attention_case.ts";
import { requestGpu } from "../mod.ts";
import { benchAgainstNaive, benchTogether } from "./_compare.ts";

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

const plain: AttentionCase = { ...common, qLen: 1024, kvLen: 1024, dtype: "f32" };
/** Beside plain attention on as many tokens. */
const programmable: Readonly<Record<string, AttentionCase>> = {
  plain,
  "ALiBi, a score hook": { ...plain, score: "s - exp2(-2.0 * f32(h + 1)) * f32(abs(i - j))" },
  "sigmoid weights": { ...plain, weight: "sigmoid" },
  "a block map of density 1/8": {
    ...plain,
    mask: "i / 64 % 8 == j / 64 % 8",
    map: { queryBlock: 64, keyBlock: 64 },
  },
  "packed sequences": { ...plain, packed: [30, 400, 128, 466] },
};
const loads = Object.entries(programmable).map(([name, c]) => [name, () => loadCase(gpu, c)]);

await benchTogether(gpu, `${caseName(plain)} programmable`, Object.fromEntries(loads));
