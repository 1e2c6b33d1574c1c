import type { BufferRange } from "./operation.ts";
import { Spare } from "./spare.ts";

/** Buffers whose tensors were freed: later results take them over. */
export class Retired {
  readonly #free: Spare<GPUBuffer> = new Spare();
  /** Those that nobody takes over, while recorded commands still need them. */
  #others: GPUBuffer[] = [];
  readonly #shared: WeakSet<GPUBuffer> = new WeakSet();

  /** Notes what a caller may use beyond what is recorded here: it is destroyed, never taken out. */
  share(...resources: readonly (BufferRange | GPUTextureView)[]): void {
    for (const resource of resources) {
      if ("buffer" in resource) this.#shared.add(resource.buffer);
    }
  }

  /** Whether a caller may use a buffer beyond what is recorded here. */
  isShared(buffer: GPUBuffer): boolean {
    return this.#shared.has(buffer);
  }

  /** Adds the buffer of a tensor, which was freed in this submission or before it began. */
  addOfTensor(buffer: GPUBuffer, before: boolean): void {
    this.#free.add(buffer.size, buffer, before);
  }

  /** Adds another buffer. */
  add(buffer: GPUBuffer): void {
    this.#others.push(buffer);
  }

  /** Takes the buffer of a tensor out again: what is recorded from now on comes after all that needs it. */
  take(bytes: number): GPUBuffer | undefined {
    return this.#free.take(bytes);
  }

  /** Ends a submission: destroys what no later one is likely to take. */
  age(): void {
    this.#free.age();
    this.#others.forEach((buffer) => buffer.destroy());
    this.#others = [];
  }

  /** Destroys all of them. */
  clear(): void {
    this.#free.clear();
    this.age();
  }
}
