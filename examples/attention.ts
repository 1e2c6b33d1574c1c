// Typed arrays in, typed arrays out: causal attention over 512 tokens, 8 query heads on 2 kv heads.
// deno run examples/attention.ts
import { attention, requestGpu } from "../mod.ts";

const [tokens, heads, kvHeads, dim] = [512, 8, 2, 64];
const random = (length: number) => Float32Array.from({ length }, () => Math.random() - 0.5);

using gpu = await requestGpu();
using q = gpu.tensor(random(tokens * heads * dim), [1, tokens, heads, dim]);
using k = gpu.tensor(random(tokens * kvHeads * dim), [1, tokens, kvHeads, dim]);
using v = gpu.tensor(random(tokens * kvHeads * dim), [1, tokens, kvHeads, dim]);

const { out, lse } = attention(q, k, v, { causal: true, window: { left: 127 }, lse: true });
const data = await out.read();
console.log(`out [${out.shape}] on ${gpu.adapter.description}`);
console.log("first token, first head:", data.slice(0, 4));
console.log("lse of the last token:", (await lse?.read())?.slice(-heads));
