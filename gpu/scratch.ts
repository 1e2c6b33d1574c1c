import type { MemoryMeter } from "./memory.ts";
import type { TexelRun } from "./operation.ts";
import { type TexelFormat, TEXTURE_WIDTH } from "./program.ts";
import { Spare } from "./spare.ts";

/** A buffer or texture on loan. */
export interface Scratch {
  readonly key: string;
  readonly size: number;
  readonly resource: GPUBuffer | GPUTexture;
  destroy(): void;
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

/**
 * Lends memory to operators; what one gives back the next may take. What waits for a later submission does
 * not count as memory in use.
 */
export class ScratchPool {
  readonly #device: GPUDevice;
  readonly #meter: MemoryMeter;
  readonly #free: Spare<Scratch> = new Spare();
  readonly #counted: Set<Scratch> = new Set();

  /** Makes an empty pool. */
  constructor(device: GPUDevice, meter: MemoryMeter) {
    this.#device = device;
    this.#meter = meter;
  }

  /** Lends a storage buffer. */
  buffer(size: number): ScratchBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.#take(`buffer ${size}`, (key) => {
      const resource = this.#device.createBuffer({ label: "scratch", size, usage });
      return { key, size, resource, destroy: () => resource.destroy() };
    });
  }

  /** Lends a texture of at least so many texels. */
  texture(texels: number, format: TexelFormat): ScratchTexture {
    // llvmpipe compiles a shader anew for a height that is a power of two: no multiple of 3 is one
    const rows = 3 * Math.ceil(Math.max(1, texels) / (3 * TEXTURE_WIDTH));
    return this.#take(`${format} ${rows}`, (key) => {
      const usage = GPUTextureUsage.COPY_DST | GPUTextureUsage.STORAGE_BINDING;
      const extent = { width: TEXTURE_WIDTH, height: rows };
      const resource = this.#device.createTexture({
        label: "scratch",
        size: extent,
        format,
        usage,
      });
      const size = texelBytes(format) * TEXTURE_WIDTH * rows;
      return {
        key,
        size,
        resource,
        view: resource.createView(),
        destroy: () => resource.destroy(),
      };
    });
  }

  /** Takes loans back for reuse. */
  giveBack(loans: readonly Scratch[]): void {
    for (const loan of loans) this.#free.add(loan.key, loan);
  }

  /** Leaves loans to the garbage collector: commands of the caller's may still need them. */
  abandon(loans: readonly Scratch[]): void {
    for (const loan of loans) this.#discount(loan);
  }

  /** Ends a submission: destroys what no later one is likely to borrow. */
  age(): void {
    for (const loan of this.#free) this.#discount(loan);
    this.#free.age();
  }

  /** Destroys what nobody holds. */
  clear(): void {
    for (const loan of this.#free) this.#discount(loan);
    this.#free.clear();
  }

  #take<S extends Scratch>(key: string, make: (key: string) => S): S {
    const loan = this.#free.take(key) as S | undefined ?? make(key);
    if (!this.#counted.has(loan)) {
      this.#counted.add(loan);
      this.#meter.add(loan.size, 0);
    }
    return loan;
  }

  #discount(loan: Scratch): void {
    if (this.#counted.delete(loan)) this.#meter.remove(loan.size, 0);
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
