// What an operator call costs its caller, JavaScript and wgpu's own calls together, with warm caches:
// `deno task bench bench/latency_bench.ts`. Nothing is submitted or awaited inside of what is measured.
// Where results are freed at once, later calls take their buffers over, as from layer to layer of a
// model; where they are freed behind the wait, the calls of the next submission do. A call of another
// problem each time finds no cache.
import {
  appendToCache,
  attention,
  causalConv1d,
  causalConv1dStep,
  gatedDeltaRule,
  gatedDeltaRuleStep,
  mergeAttention,
  neighborhoodAttention,
  requestGpu,
  rope,
  simpleGla,
  simpleGlaStep,
  Tensor,
} from "../mod.ts";
import { wgpuCalls } from "./_wgpu_calls.ts";

const gpu = await requestGpu();

const [tokens, heads, dim] = [16, 2, 32];
const zeros = (...shape: number[]): Tensor<"f32"> =>
  gpu.tensor(new Float32Array(shape.reduce((product, size) => product * size, 1)), shape);
const [q, k, v] = [1, 2, 3].map(() => zeros(1, tokens, heads, dim));
const [q1, k1, v1] = [1, 2, 3].map(() => zeros(1, 1, heads, dim));
const [g, g1, beta, beta1] = [tokens, 1, tokens, 1].map((length) => zeros(1, length, heads));
const [sinks, slopes] = [zeros(heads), zeros(heads)];
const state = zeros(1, heads, dim, dim);
const cache = {
  ...{ k: zeros(1, tokens, heads, dim), v: zeros(1, tokens, heads, dim) },
  lengths: gpu.tensor(new Int32Array(1), [1]),
};
const part = attention(q, k, v, { lse: true });
const parts = [part, part].map(({ out, lse = zeros() }) => ({ out, lse }));
const [x, weight, window] = [zeros(1, tokens, 64), zeros(64, 4), zeros(1, 64, 3)];

/** What is called; each call returns its tensors. */
const calls: Readonly<Record<string, () => Tensor | object | void>> = {
  attention: () => attention(q, k, v),
  "attention, causal": () => attention(q, k, v, { causal: true }),
  "attention, window, softcap, sinks, lse": () =>
    attention(q, k, v, { causal: true, window: { left: 8 }, softcap: 20, sinks, lse: true }),
  "attention, a score hook": () =>
    attention(q, k, v, { score: "s - slopes(h) * f32(i - j)", inputs: { slopes } }),
  "attention, one token with a cache": () =>
    attention(q1, cache.k, cache.v, { causal: true, kvLengths: cache.lengths }),
  appendToCache: () => appendToCache(cache, k1, v1),
  neighborhoodAttention: () => neighborhoodAttention(q, k, v, { windowSize: 7 }),
  mergeAttention: () => mergeAttention(parts),
  simpleGla: () => simpleGla(q, k, v, g),
  simpleGlaStep: () => simpleGlaStep(state, q1, k1, v1, g1),
  gatedDeltaRule: () => gatedDeltaRule(q, k, v, g, beta),
  gatedDeltaRuleStep: () => gatedDeltaRuleStep(state, q1, k1, v1, g1, beta1),
  rope: () => rope(q),
  causalConv1d: () => causalConv1d(x, weight),
  causalConv1dStep: () => causalConv1dStep(window, x, weight),
};

let offset = 0;
/** What is another problem at each call. */
const changing: Readonly<Record<string, () => Tensor | object | void>> = {
  "attention, another scale each time": () => attention(q, k, v, { scale: 1 + offset++ / 1e6 }),
  "rope, another offset each time": () => rope(q, { offset: offset++ }),
};

/** Calls between two waits: fewer launches than a submission takes. */
const CALLS = 64;

/** Registers a call; its results are freed at once, or behind the wait. */
async function bench(
  group: string,
  [name, call]: readonly [string, () => Tensor | object | void],
  kept: boolean,
): Promise<void> {
  let results: (Tensor | object | void)[] = [];
  const one = kept ? () => void results.push(call()) : () => void gpu.scope(() => void call());
  const wait = async (): Promise<void> => {
    await gpu.submit();
    for (const result of results) {
      const tensors: unknown[] = result instanceof Tensor ? [result] : Object.values(result ?? {});
      tensors.forEach((tensor) => tensor instanceof Tensor && tensor.dispose());
    }
    results = [];
  };
  for (let i = 0; i < CALLS; i++) one(); // fills caches
  await wait();
  let recorded = 0;
  Deno.bench({
    ...{ name, group, n: 1000, warmup: 200 },
    fn: async (bench) => {
      bench.start();
      one();
      bench.end();
      if (++recorded % CALLS === 0) await wait();
    },
  });
}

for (const named of Object.entries(calls)) await bench("results freed at once", named, false);
for (const named of Object.entries(calls)) {
  await bench("results freed behind the wait", named, true);
}
for (const named of Object.entries(changing)) await bench("another problem", named, false);

for (const [name, fn] of Object.entries(wgpuCalls(gpu))) {
  Deno.bench({ name, group: "wgpu alone", n: 1000, warmup: 200, fn: () => void fn() });
}
