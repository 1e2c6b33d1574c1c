// Follows two spots through a video: 3-D neighborhood attention, causal in time, with grouped heads
// and registers (additional keys). Every head answers "where was this spot some frames ago?".
// deno run examples/video.ts
import { neighborhoodAttention, requestGpu } from "../mod.ts";

const [frames, height, width, registers] = [8, 24, 24, 8];
const framesAgo = [0, 2, 0, 2]; // of each query head; heads 0 and 1 follow the first spot
const spots = [
  (t: number) => [6 + t, 5 + 0.5 * t],
  (t: number) => [17 - 0.7 * t, 18 - t],
];

// logit = 12 · brightness - 3 · (key's frame - (query's frame - frames ago))², written as q · k;
// a register has logit 6 and value 0, so it takes the weight of queries that see no spot
const [q, k, v]: number[][] = [[], [], []];
for (let i = 0; i < frames * height * width; i++) {
  const t = Math.floor(i / (height * width));
  const [y, x] = [Math.floor(i / width) % height, i % width];
  for (const ago of framesAgo) q.push(12, 6 * (t - ago), 1, -3 * (t - ago) ** 2);
  for (const spot of spots) {
    const [spotY, spotX] = spot(t);
    k.push(Math.exp(-((y - spotY) ** 2 + (x - spotX) ** 2) / 4), t, -3 * t * t, 1);
    v.push(y, x, 1);
  }
}
const [heads, kvHeads] = [framesAgo.length, spots.length];
const registerKeys = Array(registers * kvHeads).fill([0, 0, 6, 0]).flat();

using gpu = await requestGpu();
const tensor = (data: number[], shape: number[]) => gpu.tensor(Float32Array.from(data), shape);
using out = gpu.scope(() => {
  const queries = tensor(q, [1, frames, height, width, heads, 4]);
  const keys = tensor(k, [1, frames, height, width, kvHeads, 4]);
  const values = tensor(v, [1, frames, height, width, kvHeads, 3]);
  return neighborhoodAttention(queries, keys, values, {
    windowSize: [4, 7, 7],
    causal: [true, false, false],
    additionalKeys: tensor(registerKeys, [1, registers, kvHeads, 4]),
    additionalValues: tensor(Array(registers * kvHeads * 3).fill(0), [1, registers, kvHeads, 3]),
    scale: 1,
  }).out;
});
const data = await out.read();
console.log(`out [${out.shape}]; where each head saw its spot, and how many pixels it is off`);
for (let t = 2; t < frames; t++) {
  const seen = framesAgo.map((ago, head) => {
    const spot = spots[Math.floor(head / 2)];
    const [y, x] = spot(t).map(Math.round);
    const [sumY, sumX, weight] = data.subarray(3 * (((t * height + y) * width + x) * heads + head));
    const place = [sumY / weight, sumX / weight];
    const off = Math.hypot(place[0] - spot(t - ago)[0], place[1] - spot(t - ago)[1]);
    return `${ago} ago: ${place.map((c) => c.toFixed(1))} (${off.toFixed(2)})`;
  });
  console.log(`frame ${t}  ${seen.join("  ")}`);
}
const corner = (width - 1) * heads; // the first row of the top right corner, far from both spots
console.log(`weight on spots where there is none: ${data[3 * corner + 2].toFixed(3)}`);
