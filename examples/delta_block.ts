// A block of Gated DeltaNet with random weights: short causal convolutions, the gated delta rule, a gated
// RMS norm. A prompt at once, then token by token: both give the same.
// deno run examples/delta_block.ts
import { Random } from "../cli/random.ts";
import {
  causalConv1d,
  causalConv1dStep,
  gatedDeltaRule,
  gatedDeltaRuleStep,
  requestGpu,
  type Tensor,
} from "../mod.ts";

const [heads, dim, taps] = [4, 64, 4];
const [prompt, tokens] = [120, 128];
const width = heads * dim;

const random = new Random(1);
const normal = (size: number) => Float32Array.from({ length: size }, () => random.normal());
// what linear layers make of the hidden states: q, k, v, the gates, betas, and the gates of the norm
const rows = { q: width, k: width, v: width, g: heads, beta: heads, z: width };
const layers = Object.fromEntries(
  Object.entries(rows).map(([name, size]) => [name, normal(tokens * size)]),
);

using gpu = await requestGpu();
const filters = ["q", "k", "v"].map((
  name,
) => [name, gpu.tensor(normal(width * taps), [width, taps])]);
const weights: Record<string, Tensor<"f32">> = Object.fromEntries(filters);
const aLog = gpu.tensor(new Float32Array(heads), [heads]);
const options = { qkL2norm: true, betaSigmoid: true, aLog } as const;

/** Rows of a layer, from one token to before another. */
const between = (name: string, first: number, end: number) =>
  layers[name].subarray(first * rows[name as "q"], end * rows[name as "q"]);
const input = (name: string, first: number, end: number) =>
  gpu.tensor(between(name, first, end), [1, end - first, rows[name as "q"]]);
/** The same buffer, channels as heads. */
const asHeads = (x: Tensor<"f32">) => gpu.wrap(x.buffer, [1, x.shape[1], heads, dim], "f32");

/** RMS norm of each head, times silu of its gate. */
function gatedNorm(out: Float32Array, first: number, end: number): Float32Array {
  const z = between("z", first, end);
  return out.map((x, i) => {
    const start = i - i % dim;
    const squares = out.subarray(start, start + dim).reduce((sum, y) => sum + y * y, 0);
    return x / Math.sqrt(squares / dim + 1e-5) * z[i] / (1 + Math.exp(-z[i]));
  });
}

/** One call over tokens from the first on; what convolutions and the rule leave is returned. */
function prefill(end: number) {
  return gpu.scope(() => {
    const convolved = ["q", "k", "v"].map((name) =>
      causalConv1d(input(name, 0, end), weights[name], { activation: "silu", finalState: true })
    );
    const [q, k, v] = convolved.map(({ out }) => asHeads(out));
    const [g, beta] = [input("g", 0, end), input("beta", 0, end)];
    const { out, finalState } = gatedDeltaRule(q, k, v, g, beta, { ...options, finalState: true });
    return { out, states: [...convolved.map(({ finalState }) => finalState!), finalState!] };
  });
}

const whole = prefill(tokens);
const expected = gatedNorm(await whole.out.read(), 0, tokens);

const { out, states } = prefill(prompt);
const outputs = [gatedNorm(await out.read(), 0, prompt)];
for (let t = prompt; t < tokens; t++) {
  const next = gpu.scope(() => {
    const [q, k, v] = ["q", "k", "v"].map((name, i) =>
      asHeads(
        causalConv1dStep(states[i], input(name, t, t + 1), weights[name], { activation: "silu" }),
      )
    );
    const [g, beta] = [input("g", t, t + 1), input("beta", t, t + 1)];
    return gatedDeltaRuleStep(states[3], q, k, v, g, beta, options);
  });
  outputs.push(gatedNorm(await next.read(), t, t + 1));
  next.dispose();
}

const stepped = outputs.flatMap((part) => [...part]);
const furthest = stepped.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i])), 0);
console.log(
  `${prompt} tokens at once, ${tokens - prompt} one by one: at most ${
    furthest.toExponential(1)
  } off ` +
    `one call over all, of outputs up to ${Math.max(...stepped.map(Math.abs)).toFixed(1)}`,
);
[whole.out, out, ...whole.states, ...states, aLog, ...Object.values(weights)]
  .forEach((tensor) => tensor.dispose());
