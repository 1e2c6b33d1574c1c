// A sequence that arrives in pieces, and then token by token: gated linear attention goes on from the
// state that the piece before left. That state is all that is kept of the past.
// deno run examples/stream.ts
import { Random } from "../cli/random.ts";
import { gla, glaStep, requestGpu, type Tensor } from "../mod.ts";

const [heads, dim] = [4, 64];
const pieces = [300, 17, 128, 1, 450];
const singleTokens = 4;
const tokens = pieces.reduce((sum, length) => sum + length, singleTokens);
const width = heads * dim;

const random = new Random(1);
const normal = () => Float32Array.from({ length: tokens * width }, () => random.normal());
// logsigmoid(x) / 16, as in the paper's layer: a channel forgets half in about 15 tokens
const gates = normal().map((x) => -Math.log1p(Math.exp(-x)) / 16);
const sequence = [normal(), normal(), normal(), gates];

using gpu = await requestGpu();
/** q, k, v and g from one token to before another. */
const between = (first: number, end: number) =>
  sequence.map((data) =>
    gpu.tensor(data.subarray(first * width, end * width), [1, end - first, heads, dim])
  );

const whole = gpu.scope(() => {
  const [q, k, v, g] = between(0, tokens);
  return gla(q, k, v, g).out;
});
const expected = await whole.read();
whole.dispose();
const furthest = (data: Float32Array, from: (i: number) => number) =>
  data.reduce((most, value, i) => Math.max(most, Math.abs(value - from(i))), 0);
console.log(
  `one call over ${tokens} tokens: outputs up to ${furthest(expected, () => 0).toFixed(1)}`,
);

/** Frees an output, and prints how far it is from that of the one call, and what is then held. */
async function compare(first: number, out: Tensor<"f32">): Promise<void> {
  const data = await out.read();
  out.dispose();
  const off = furthest(data, (i) => expected[first * width + i]);
  const { bytes, tensors } = gpu.memory();
  const last = first + out.shape[1] - 1;
  console.log(
    `tokens ${first} to ${last}: at most ${
      Number(off.toPrecision(2))
    } off; ${tensors} tensor, ${bytes} bytes held`,
  );
}

let state = gpu.tensor(new Float32Array(heads * dim * dim), [1, heads, dim, dim]);
let first = 0;
for (const length of pieces) {
  const { out, finalState } = gpu.scope(() => {
    const [q, k, v, g] = between(first, first + length);
    return gla(q, k, v, g, { initialState: state, finalState: true });
  });
  state.dispose();
  state = finalState!;
  await compare(first, out);
  first += length;
}
for (; first < tokens; first++) {
  const out = gpu.scope(() => {
    const [q, k, v, g] = between(first, first + 1);
    return glaStep(state, q, k, v, g); // leaves in `state` what is behind the token
  });
  await compare(first, out);
}
state.dispose();
