import { arrange } from "./arrangement.ts";
import { PAPER } from "./palette.ts";
import type { Paint, Picture } from "./picture.ts";

/** The pixels of a picture, three bytes each. */
interface Raster {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/**
 * The picture as PNG: the cells of its panels in the colours for light ground.
 *
 * There is no text in the image, as nothing here draws letters; the title goes into a `Title`
 * chunk. The encoder is an npm package that nothing but this function loads.
 */
export async function renderPng(picture: Picture): Promise<Uint8Array> {
  const { encode } = await import("fast-png");
  // keywords of the PNG format, in Latin-1
  const text = { Title: picture.title, Software: "tessera" };
  return encode({ ...rasterOf(picture), channels: 3, text }, { zlib: { level: 9 } });
}

function rasterOf({ paints, panels }: Picture): Raster {
  const arranged = arrange(panels, { pitch: 16, width: 1024, between: { x: 16, y: 16 } });
  const { pitch, gap, places } = arranged;
  const margin = Math.max(8, pitch);
  const [width, height] = [arranged.width, arranged.height].map((size) => size + 2 * margin);
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < data.length; i += 3) data.set(PAPER.light, i);
  panels.forEach(({ columns, cells }, i) => {
    cells.forEach((cell, at) => {
      const x = margin + places[i].x + (at % columns) * pitch;
      const y = margin + places[i].y + Math.floor(at / columns) * pitch;
      fillCell({ width, height, data }, x, y, pitch - gap, paints[cell]);
    });
  });
  return { width, height, data };
}

/** Fills a square; several tones share it in bands between diagonals. */
function fillCell(
  { width, data }: Raster,
  x: number,
  y: number,
  size: number,
  { tones }: Paint,
): void {
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const band = Math.floor(tones.length * (u + v + 1) / (2 * size));
      data.set(tones[band].light, 3 * ((y + v) * width + x + u));
    }
  }
}
