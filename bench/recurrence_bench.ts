// Wall time of one call and its wait, the naive kernel as the baseline of each group: `deno bench`.
// Times of the kernels alone come from `tessera profile simpleGla`.
import { Random } from "../cli/random.ts";
import { type RecurrenceProfile, recurrenceWorkload } from "../cli/recurrence_workload.ts";
import { callOnce } from "../cli/workload.ts";
import { volume } from "../gpu/dtype.ts";
import { requestGpu, simpleGlaStep } from "../mod.ts";
import { benchAgainstNaive } from "./_compare.ts";

const gpu = await requestGpu();

const sizes = { batch: 1, heads: 4, qHeads: 4, kHeads: 4, keyDim: 64, valueDim: 64 };
const common = { ...sizes, dtype: "f32", gates: "gentle", seed: 1 } as const;
const problems: readonly (readonly [string, RecurrenceProfile])[] = [
  ["simpleGla", { ...common, length: 1024, gate: "token" }],
  ["simpleGla", { ...common, length: 4096, gate: "token" }],
  ["gla", { ...common, length: 1024, gate: "channel" }],
  ["gla", { ...common, length: 4096, gate: "channel" }],
];

for (const [operator, problem] of problems) {
  const workload = recurrenceWorkload(problem, operator);
  const { naive, attention } = workload.rivals;
  // causal attention on the same shape is the toolkit's own
  const calls = { naive: naive(), tessera: workload, attention: attention() };
  for (const [name, { load }] of Object.entries(calls)) {
    const loaded = load(gpu);
    Deno.bench({
      name,
      group: `${operator} ${workload.name}`,
      baseline: name === "naive",
      n: 10,
      warmup: 2, // compiles
      fn: async () => {
        callOnce(loaded);
        await gpu.submit();
      },
    });
  }
}

// decoding: a token from a state and to it
const [heads, dim] = [32, 128];
const random = new Random(1);
const normal = (...shape: number[]) =>
  gpu.tensor(Float32Array.from({ length: volume(shape) }, () => random.normal()), shape);
const [q, k, v] = [1, 2, 3].map(() => normal(1, 1, heads, dim));
const g = gpu.tensor(new Float32Array(heads).fill(-0.01), [1, 1, heads]);
const state = normal(1, heads, dim, dim);
await benchAgainstNaive(
  gpu,
  `simpleGlaStep H${heads} K${dim} V${dim}`,
  (override) => ({ compute: () => ({ out: simpleGlaStep(state, q, k, v, g, override) }) }),
);
