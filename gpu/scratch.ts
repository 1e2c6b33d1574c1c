import type { MemoryMeter } from "./memory.ts";
import type { TexelRun } from "./operation.ts";
import { type TexelFormat, TEXTURE_WIDTH } from "./program.ts";

/** A buffer or texture on loan. */
export interface Scratch {
  readonly key: string;
  readonly bytes: number;
  readonly resource: GPUBuffer | GPUTexture;
}

/** A buffer on loan. */
export interface ScratchBuffer extends Scratch {
  readonly resource: GPUBuffer;
}

/** A texture on loan. */
export interface ScratchTexture extends Scratch {
  readonly resource: GPUTexture;
  /** All of it. */
  readonly view: GPUTextureView;
}

/** Lends memory to operators; what one gives back the next may take, until `clear()` destroys it. */
export class ScratchPool {
  readonly #device: GPUDevice;
  readonly #meter: MemoryMeter;
  readonly #free: Map<string, Scratch[]> = new Map();

  /** Makes an empty pool. */
  constructor(device: GPUDevice, meter: MemoryMeter) {
    this.#device = device;
    this.#meter = meter;
  }

  /** Lends a storage buffer. */
  buffer(size: number): ScratchBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const key = `buffer ${size}`;
    return this.#take(key, size, () => ({
      ...{ key, bytes: size },
      resource: this.#device.createBuffer({ label: "scratch", size, usage }),
    }));
  }

  /** Lends a texture of at least so many texels. */
  texture(texels: number, format: TexelFormat): ScratchTexture {
    // llvmpipe compiles a shader anew for a height that is a power of two: no multiple of 3 is one
    const rows = 3 * Math.ceil(Math.max(1, texels) / (3 * TEXTURE_WIDTH));
    const bytes = texelBytes(format) * TEXTURE_WIDTH * rows;
    const usage = GPUTextureUsage.COPY_DST | GPUTextureUsage.STORAGE_BINDING;
    const size = [TEXTURE_WIDTH, rows];
    const key = `${format} ${rows}`;
    return this.#take(key, bytes, () => {
      const resource = this.#device.createTexture({ label: "scratch", size, format, usage });
      return { key, bytes, resource, view: resource.createView() };
    });
  }

  /** Takes loans back for reuse. */
  giveBack(loans: readonly Scratch[]): void {
    for (const loan of loans) {
      const free = this.#free.get(loan.key);
      if (free === undefined) this.#free.set(loan.key, [loan]);
      else free.push(loan);
    }
  }

  /** Leaves loans to the garbage collector: commands of the caller's may still need them. */
  abandon(loans: readonly Scratch[]): void {
    for (const { bytes } of loans) this.#meter.remove(bytes, 0);
  }

  /** Destroys what nobody holds. */
  clear(): void {
    for (const { bytes, resource } of [...this.#free.values()].flat()) {
      resource.destroy();
      this.#meter.remove(bytes, 0);
    }
    this.#free.clear();
  }

  #take<S extends Scratch>(key: string, bytes: number, make: () => S): S {
    const free = this.#free.get(key)?.pop();
    if (free !== undefined) return free as S;
    this.#meter.add(bytes, 0);
    return make();
  }
}

function texelBytes(format: TexelFormat): number {
  return format === "rg32uint" ? 8 : 16;
}

/** Copies runs of texels, one behind the other, from the start of a texture on. */
export function fillTexture(
  encoder: GPUCommandEncoder,
  buffer: GPUBuffer,
  texture: GPUTexture,
  runs: readonly TexelRun[],
): void {
  const texel = texelBytes(texture.format as TexelFormat);
  const bytesPerRow = TEXTURE_WIDTH * texel;
  let at = 0;
  for (const [first, count] of runs) {
    // as many whole rows at once as there are, and parts of a row
    for (let done = 0; done < count;) {
      const x = at % TEXTURE_WIDTH;
      const rows = x > 0 ? 0 : Math.floor((count - done) / TEXTURE_WIDTH);
      const [width, height] = rows > 0
        ? [TEXTURE_WIDTH, rows]
        : [Math.min(TEXTURE_WIDTH - x, count - done), 1];
      const source = { buffer, offset: (first + done) * texel, bytesPerRow };
      // Deno reads records twice as fast as lists
      const target = at === 0
        ? { texture }
        : { texture, origin: { x, y: (at - x) / TEXTURE_WIDTH } };
      encoder.copyBufferToTexture(source, target, { width, height });
      at += width * height;
      done += width * height;
    }
  }
}
