// Removes noise from a picture: one layer of neighborhood attention makes every pixel a mean of the
// pixels in its window, above all of those in similar patches (non-local means).
// deno run examples/image.ts
import { Random } from "../cli/random.ts";
import { neighborhoodAttention, requestGpu } from "../mod.ts";

const [side, heads, noise] = [64, 4, 0.1];
const spheres = [
  { x: 22, y: 24, radius: 16, colour: [1, 0.4, 0.2] },
  { x: 45, y: 42, radius: 13, colour: [0.2, 0.6, 1] },
];

/** Two lit spheres on a chequered floor. */
function colourAt(x: number, y: number): number[] {
  const hit = spheres.find((sphere) => Math.hypot(x - sphere.x, y - sphere.y) < sphere.radius);
  if (!hit) return (x >> 3) + (y >> 3) & 1 ? [0.8, 0.8, 0.7] : [0.3, 0.35, 0.4];
  const [nx, ny] = [(x - hit.x) / hit.radius, (y - hit.y) / hit.radius];
  const light = 0.7 * Math.sqrt(1 - nx * nx - ny * ny) - 0.5 * (nx + ny);
  return hit.colour.map((channel) => channel * (0.15 + 0.85 * Math.max(0, light)));
}

const all = Array.from({ length: side * side }, (_, i) => [i % side, Math.floor(i / side)]);
const clean = Float32Array.from(all.flatMap(([x, y]) => colourAt(x, y)));
const random = new Random(1);
const noisy = clean.map((value) => value + noise * random.normal());

/** Red, green and blue of a pixel and of its four neighbours. */
function patchAt(x: number, y: number): number[] {
  const inside = (place: number) => Math.min(Math.max(place, 0), side - 1);
  return [[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]].flatMap(([dx, dy]) => {
    const pixel = inside(y + dy) * side + inside(x + dx);
    return [...noisy.subarray(3 * pixel, 3 * pixel + 3)];
  });
}

// softmax does not see what all keys share: with q = (f, 1) and k = (f', -f'·f' / 2), D = 16, the
// weights are those of exp(-|f - f'|² / 2). The heads differ in how near two patches must be.
const [q, k, v]: number[][] = [[], [], []];
for (const [x, y] of all) {
  const patch = patchAt(x, y);
  for (let head = 0; head < heads; head++) {
    const near = noise * Math.sqrt(patch.length) * (0.8 + 0.15 * head);
    const features = patch.map((value) => value / near);
    q.push(...features, 1);
    k.push(...features, -0.5 * features.reduce((sum, f) => sum + f * f, 0));
    v.push(...patch.slice(0, 3));
  }
}

using gpu = await requestGpu();
const tensor = (data: number[]) =>
  gpu.tensor(Float32Array.from(data), [1, side, side, heads, data.length / (side * side * heads)]);
// 13 x 13 keys, every second pixel of 25 x 25; 2 x 2 queries of a dilation group share a window
const options = { windowSize: 13, stride: 2, dilation: 2, scale: 1 };
using out = gpu.scope(() => neighborhoodAttention(tensor(q), tensor(k), tensor(v), options).out);
const byHead = await out.read();
const restored = clean.map((_, i) => {
  const first = Math.floor(i / 3) * heads * 3;
  const ofHeads = byHead.slice(first, first + heads * 3).filter((_, j) => j % 3 === i % 3);
  return ofHeads.reduce((sum, value) => sum + value / heads, 0);
});

/** Peak signal-to-noise ratio in dB: more is nearer to the clean picture. */
function psnr(picture: Float32Array): number {
  const squares = picture.reduce((sum, value, i) => sum + (value - clean[i]) ** 2, 0);
  return -10 * Math.log10(squares / clean.length);
}

/** Two rows of pixels a line: half blocks in colour, or letters for the green channel. */
function show(picture: Float32Array): void {
  const colour = Deno.stdout.isTerminal() && !Deno.noColor;
  const byte = (value: number) => Math.round(255 * Math.min(Math.max(value, 0), 1));
  for (let y = 0; y < side; y += 2) {
    let line = "";
    for (let x = 0; x < side; x++) {
      const [upper, lower] = [y * side + x, (y + 1) * side + x].map((pixel) =>
        [...picture.subarray(3 * pixel, 3 * pixel + 3)].map(byte)
      );
      line += colour
        ? `\x1b[38;2;${upper.join(";")}m\x1b[48;2;${lower.join(";")}m▀\x1b[0m`
        : " .:-=+*#%@"[Math.floor((upper[1] + lower[1]) / 51.2)];
    }
    console.log(line);
  }
}

show(noisy);
show(restored);
console.log(`${psnr(noisy).toFixed(1)} dB before, ${psnr(restored).toFixed(1)} dB after`);
