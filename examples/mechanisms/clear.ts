/**
 * CLEAR: tokens of an image see those within a circle around them, and those of the text; the text sees all.
 *
 * allow(i, j) = i ∈ text ∨ j ∈ text ∨ Δy² + Δx² < r², tokens of the text first. Optionally keys that are
 * averages of f x f tokens with learned weights follow those of the image; only its queries see them. Liu et
 * al., "CLEAR: Conv-Like Linearization Revs Pre-Trained Diffusion Transformers Up" (2024); catalogue N04. The
 * kernel's part is the block map, made once for all layers and steps. The official code has rows of the image
 * one after another; here tokens may come in square tiles, whose blocks meet fewer circles.
 *
 * deno run examples/mechanisms/clear.ts
 *
 * @module
 */
import { attention, type BlockMap, compileBlockMap, type Gpu, requestGpu } from "@tessera/kernels";
import { attention as reference } from "@tessera/kernels/reference";
import { errorOf, randomTensors } from "./inputs.ts";

/** Options of {@linkcode clear}. */
export interface ClearOptions {
  /** Rows of the image. */
  height: number;
  /** Columns of the image. */
  width: number;
  /** r: keys nearer than it are seen. */
  radius: number;
  /** Tokens of the text, which come first. */
  text?: number;
  /** Keys behind those of the image that all its queries see. */
  pooled?: number;
  /** Tokens come in tiles of tile x tile, a divisor of height and width; row by row by default. */
  tile?: number;
}

/** Who sees whom of T = text + height · width queries and S = T + pooled keys: `attention(…, { blockMap })`. */
export function clear(gpu: Gpu, options: ClearOptions): BlockMap {
  const { height, width, radius, text = 0, pooled = 0, tile = 1 } = options;
  const qLen = text + height * width;
  const area = tile ** 2;
  const y = (p: string) =>
    `(${p} / ${area} / ${width / tile} * ${tile} + ${p} % ${area} / ${tile})`;
  const x = (p: string) => `(${p} / ${area} % ${width / tile} * ${tile} + ${p} % ${tile})`;
  const mask = `let p = i - ${text};
    let r = j - ${text};
    let dy = ${y("p")} - ${y("r")};
    let dx = ${x("p")} - ${x("r")};
    let near = dy * dy + dx * dx < ${radius ** 2};
    select(j < ${text} || j >= ${qLen} || near, j < ${qLen}, i < ${text})`;
  return compileBlockMap(gpu, mask, { qLen, kvLen: qLen + pooled });
}

if (import.meta.main) {
  using gpu = await requestGpu();
  const [side, radius, tile] = [32, 8, 8];
  const shape = [1, side ** 2, 2, 64];
  const [q, k, v] = randomTensors(gpu, shape, shape, shape);
  const place = (token: number) => {
    const [nth, within] = [Math.floor(token / tile ** 2), token % tile ** 2];
    const [row, column] = [Math.floor(nth / (side / tile)), nth % (side / tile)];
    return [row * tile + Math.floor(within / tile), column * tile + within % tile];
  };
  const places = Array.from({ length: side ** 2 }, (_, token) => place(token));
  const expected = reference(q, k, v, {
    mask: ({ i, j }) =>
      (places[i][0] - places[j][0]) ** 2 + (places[i][1] - places[j][1]) ** 2 < radius ** 2,
  });
  using blockMap = clear(gpu, { height: side, width: side, radius, tile });
  const { out } = attention(q.tensor, k.tensor, v.tensor, { blockMap });
  const density = (await blockMap.density()).toFixed(2);
  console.log(
    `CLEAR, radius ${radius}, ${side} x ${side} tokens: density ${density}, ${await errorOf(
      out,
      expected.out,
    )}`,
  );
}
