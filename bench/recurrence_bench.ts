// Wall time of one call and its wait, the naive kernel as each group's baseline: `deno task bench`.
// Times of the kernels alone come from `tessera profile simpleGla`.
import { convWorkload } from "../cli/conv_workload.ts";
import { hgrnWorkload } from "../cli/hgrn_workload.ts";
import { Random } from "../cli/random.ts";
import { type RecurrenceProfile, recurrenceWorkload } from "../cli/recurrence_workload.ts";
import { selectiveWorkload } from "../cli/selective_scan_workload.ts";
import { callOnce, type Workload } from "../cli/workload.ts";
import { volume } from "../gpu/dtype.ts";
import { requestGpu, simpleGlaStep } from "../mod.ts";
import { benchAgainstNaive } from "./_compare.ts";

const gpu = await requestGpu();

const sizes = { batch: 1, heads: 4, qHeads: 4, kHeads: 4, keyDim: 64, valueDim: 64 };
const common = { ...sizes, dtype: "f32", gates: "gentle", seed: 1 } as const;
const token = { ...common, gate: "token" } as const;
const channel = { ...common, gate: "channel" } as const;
const problems: readonly (readonly [string, RecurrenceProfile])[] = [
  ["simpleGla", { ...token, length: 1024 }],
  ["simpleGla", { ...token, length: 4096 }],
  ["gla", { ...channel, length: 1024 }],
  ["gla", { ...channel, length: 4096 }],
  ["gatedDeltaRule", { ...token, length: 1024, delta: true }],
  ["gatedDeltaRule", { ...token, length: 4096, delta: true }],
  ["kda", { ...channel, length: 1024, delta: true }],
  ["kda", { ...channel, length: 4096, delta: true }],
];
const channels = { batch: 1, length: 4096, channels: 256, dtype: "f32", seed: 1 } as const;
const workloads: readonly Workload[] = [
  ...problems.map(([operator, problem]) => recurrenceWorkload(problem, operator)),
  selectiveWorkload({ ...channels, states: 16 }),
  hgrnWorkload(channels),
  convWorkload({ ...channels, width: 4, activation: "silu" }),
];

for (const workload of workloads) {
  // of engine and families also causal attention on the same shape, the toolkit's own
  const rivals = Object.entries(workload.rivals).map(([name, rival]) => [name, rival()] as const);
  const calls = [...rivals, ["tessera", workload] as const];
  for (const [name, { load }] of calls) {
    const loaded = load(gpu);
    Deno.bench({
      name,
      group: `${workload.operator} ${workload.name}`,
      baseline: name === calls[0][0],
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
